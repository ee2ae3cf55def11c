"""Small traces, and a strategy for many of them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsam.scheduling.placement import GROUP_LABEL
from sparsam.simulation.trace import Trace, UsageSeries


def pod(cpu: str = "", memory: str = "", group: str = "", **requests: str) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory} | requests
    labels = {GROUP_LABEL: group} if group else {}
    container = {"name": "main", "resources": {"requests": {name: text for name, text in amounts.items() if text}}}
    return {"metadata": {"namespace": "default", "labels": labels}, "spec": {"containers": [container]}}


def trace(*rows: tuple[dict[str, Any], float, float], horizon: float = 100.0, **columns: Any) -> Trace:
    templates: list[dict[str, Any]] = []
    for template, _, _ in rows:
        if template not in templates:
            templates.append(template)
    given = {
        "name": "small",
        "templates": tuple(templates),
        "template": np.array([templates.index(template) for template, _, _ in rows], np.int64),
        "arrival_seconds": np.array([arrival for _, arrival, _ in rows], np.float64),
        "duration_seconds": np.array([stay for _, _, stay in rows], np.float64),
        "batch": np.zeros(len(rows), np.bool_),
        "usage": np.full(len(rows), np.nan),
        "series": np.full(len(rows), -1, np.int64),
        "usage_series": None,
        "horizon_seconds": horizon,
    }
    return Trace(**(given | columns))


def exported_pod(
    name: str = "web-1",
    created: str = "2026-11-23T10:00:00Z",
    owner: tuple[str, str] = ("ReplicaSet", "web"),
    **status: Any,
) -> dict[str, Any]:
    started = status.pop("startTime", created)
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "labels": {"app": "web"},
            "creationTimestamp": created,
            "ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True, "uid": "x"}],
        },
        "spec": {
            "nodeName": "node-7",
            "containers": [
                {
                    "name": "main",
                    "image": "web:1",
                    "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}},
                    "volumeMounts": [{"name": "token"}],
                }
            ],
            "nodeSelector": {"disk": "ssd"},
            "priority": 7,
            "restartPolicy": "Always",
            "serviceAccountName": "default",
            "volumes": [{"name": "token"}],
        },
        "status": {"phase": "Running", "startTime": started, **status},
    }


def swf_job(number: Any = 1, submit: Any = 0, run: Any = 60, processors: Any = 1, **fields: Any) -> str:
    named = {"number": number, "submit": submit, "wait": 5, "run": run, "allocated": processors, "used": -1}
    named |= {"used_memory": -1, "processors": processors, "time": -1, "memory": -1, "status": 1} | fields
    return "  ".join(map(str, [*named.values(), *[-1] * 7]))


SECONDS = st.floats(0.0, 1000.0, allow_subnormal=False)


@st.composite
def traces(draw: st.DrawFn, step_seconds: float = 10.0) -> Trace:
    templates = [pod(), *(pod(f"{draw(st.integers(1, 4000))}m", group=group) for group in ("", "", "a", "b"))]
    pods = draw(st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS | st.just(np.inf), st.booleans()), max_size=30))
    pods.sort(key=lambda each: each[1])
    lines, steps = draw(st.tuples(st.integers(0, 2), st.integers(1, 4)))
    values = np.array(draw(st.lists(st.floats(0.0, 2.0, width=16), min_size=lines * steps, max_size=lines * steps)))
    return trace(
        *((templates[number], arrival, stay) for number, arrival, stay, _ in pods),
        horizon=1000.0 + draw(SECONDS),
        batch=np.array([batch for *_, batch in pods], np.bool_),
        usage=np.array(draw(st.lists(SECONDS | st.just(np.nan), min_size=len(pods), max_size=len(pods))), np.float64),
        series=np.array(draw(st.lists(st.integers(-1, lines - 1), min_size=len(pods), max_size=len(pods))), np.int64),
        usage_series=UsageSeries(step_seconds, values.astype(np.float32).reshape(lines, steps)) if lines else None,
    )
