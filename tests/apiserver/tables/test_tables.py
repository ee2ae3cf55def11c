"""Rows of tables, and every recorded table of a real API server."""

import gzip
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.apiserver.tables import PRINTERS, render
from sparsam.apiserver.tables.columns import human_duration, selector_text
from sparsam.apiserver.tables.pods import pod_reason
from sparsam.objects.kinds import PODS, RESOURCES, find

DATA = Path(os.environ.get("SPARSAM_DATA", Path(__file__).parents[4] / "shared" / "data"))
AGE = re.compile(r"(\d+[smhdy])+|<unknown>|\d{4}-\d\d-\d\dT[\d:]+Z")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (3600, "60m")),
        *((3 * 3600, "3h"), (3 * 3600 + 300, "3h5m"), (9 * 3600, "9h"), (47 * 3600, "47h"), (50 * 3600, "2d2h")),
        *((10 * 86400, "10d"), (800 * 86400, "2y70d"), (9 * 365 * 86400, "9y")),
    ],
)
def test_durations_read_as_kubectl_prints_them(seconds, text):
    assert human_duration(seconds) == text


@given(st.integers(0, 10**10))
def test_durations_are_short(seconds):
    assert len(human_duration(seconds)) <= 6


def test_selectors_read_as_kubectl_prints_them():
    expressions = [{"key": "b", "operator": "In", "values": ["2", "1"]}, {"key": "a", "operator": "DoesNotExist"}]
    assert selector_text({"matchLabels": {"x": "y"}, "matchExpressions": expressions}) == "x=y,!a,b in (1,2)"
    assert selector_text({}) == "<none>"


def container(name="c", **state):
    extra = {"ready": "running" in state, "started": "running" in state, "restartCount": 0}
    return {"name": name, "state": state, **extra}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ({"status": {"phase": "Pending"}}, "Pending"),
        ({"status": {"phase": "Running", "containerStatuses": [container(running={})]}}, "Running"),
        (
            {"status": {"phase": "Pending", "containerStatuses": [container(waiting={"reason": "ErrImagePull"})]}},
            "ErrImagePull",
        ),
        (
            {"status": {"phase": "Failed", "containerStatuses": [container(terminated={"reason": "OOMKilled"})]}},
            "OOMKilled",
        ),
        ({"status": {"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 3})]}}, "ExitCode:3"),
        ({"status": {"phase": "Failed", "containerStatuses": [container(terminated={"signal": 9})]}}, "Signal:9"),
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, "Evicted"),
        (
            {"deleted": True, "status": {"phase": "Running", "containerStatuses": [container(running={})]}},
            "Terminating",
        ),
        ({"deleted": True, "status": {"phase": "Running", "reason": "NodeLost"}}, "Unknown"),
        (
            {"init": 2, "status": {"phase": "Pending", "initContainerStatuses": [container("i0", running={})]}},
            "Init:0/2",
        ),
        (
            {
                "init": 1,
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [container("i0", terminated={"exitCode": 1, "reason": "Error"})],
                },
            },
            "Init:Error",
        ),
        (
            {
                "init": 1,
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [container("i0", waiting={"reason": "CrashLoopBackOff"})],
                },
            },
            "Init:CrashLoopBackOff",
        ),
    ],
)
def test_the_status_column_of_a_pod(pod, reason):
    metadata = {"name": "p", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if pod.get("deleted") else {})}
    inits = [{"name": f"i{number}"} for number in range(pod.get("init", 0))]
    spec = {"containers": [{"name": "c"}], "initContainers": inits}
    assert pod_reason({"metadata": metadata, "spec": spec, "status": pod["status"]}) == reason


def test_restarts_say_when_the_last_one_was():
    ended = (datetime.now(UTC) - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = container(running={}) | {"restartCount": 4, "lastState": {"terminated": {"finishedAt": ended}}}
    pod = {
        "metadata": {"name": "p", "creationTimestamp": ended},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }
    [row] = render(PODS, [pod], {})["rows"]
    assert row["cells"][1:5] == ["1/1", "Running", "4 (30m ago)", "30m"]


def test_every_printer_belongs_to_a_served_kind():
    served = {(resource.group, resource.kind) for resource in RESOURCES}
    assert set(PRINTERS) <= served


def recorded_tables():
    path = DATA / "api_transcripts.jsonl.gz"
    if not path.exists():
        return [pytest.param(None, None, None, marks=pytest.mark.skip(reason=f"no recordings in {DATA}"))]
    cases = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            scenario = json.loads(line)
            objects = {}
            for step in scenario["steps"]:
                body = step["response"]["body"]
                if step["case"] == "create" and step["response"]["code"] == 201:
                    objects[body["metadata"]["name"]] = body
                if step["case"].startswith("table") and isinstance(body, dict) and body.get("kind") == "Table":
                    cases.append(pytest.param(scenario, objects, body, id=scenario["scenario"]))
    return cases


def comparable(cell):
    if not isinstance(cell, str):
        return cell
    if AGE.fullmatch(cell):
        return "<age>"
    return (
        "<clusterIP>"
        if re.fullmatch(r"10\.\d+\.\d+\.\d+", cell)
        else re.sub(r":(3\d{4}|<nodePort>)/", ":<nodePort>/", cell)
    )


@pytest.mark.needs_data
@pytest.mark.parametrize(("scenario", "objects", "table"), recorded_tables())
def test_recorded_tables_are_printed_alike(scenario, objects, table):
    if "path" not in scenario:
        pytest.skip("not about one resource")
    _, group, version, *_ = (
        ["", "", *scenario["path"].split("/")[2:]]
        if scenario["path"].startswith("/api/")
        else scenario["path"].split("/")[1:]
    )
    resource = find(group, version, scenario["resource"])
    ours = render(resource, [], {})["columnDefinitions"]
    keep = ("name", "type", "format", "priority")
    assert [[c[k] for k in keep] for c in ours] == [
        [c.get(k, 0 if k == "priority" else "") for k in keep] for c in table["columnDefinitions"]
    ]
    names = [column["name"] for column in table["columnDefinitions"]].index("Name")
    for row in table["rows"]:
        obj = objects.get(row["cells"][names])
        if obj is None:
            continue
        obj["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for key in (
            "eventTime",
            "firstTimestamp",
            "lastTimestamp",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
        ):
            if str(obj.get(key, "")).startswith("<"):
                del obj[key]
        [mine] = render(resource, [obj], {})["rows"]
        assert [comparable(cell) for cell in mine["cells"]] == [comparable(cell) for cell in row["cells"]]
