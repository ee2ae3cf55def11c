"""What keeps pods where they are, kind by kind, and traces without one of these kinds: what a constraint costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sparsam.scheduling.columns import Bools, Floats
from sparsam.scheduling.demand import compile_pod, effective_requests
from sparsam.simulation.reach import VOLUME_LABEL
from sparsam.simulation.trace import Trace

Obj = Mapping[str, Any]

FAR_ABOVE = 2.0
"""Requests so many times the use are far above it."""
MARGIN = 1.2
"""Requests that are cut keep this much above the highest use that was seen."""
AFFINITY, SPREAD, SELECTORS, VOLUMES, REQUESTS = (
    "pod affinity",
    "topology spread",
    "node selectors",
    "volumes",
    "requests",
)
TEXTS = {
    AFFINITY: "required affinity and anti-affinity between pods",
    SPREAD: "required topology spread",
    SELECTORS: "node selectors and required node affinity",
    VOLUMES: "volumes on one node's disks or in one zone",
    REQUESTS: f"requests of more than {FAR_ABOVE:g} times the highest use that was seen",
}


def carriers(trace: Trace, memory_bytes: Floats) -> dict[str, int]:
    """How many pods carry each kind of constraint; kinds that none carries are left out."""
    counts = {}
    for kind, relax in _RELAX.items():
        carried = np.array([relax(each["spec"]) != each["spec"] for each in trace.templates], dtype=np.bool_)
        counts[kind] = int(carried[trace.template].sum())
    cut = np.asarray((_factors(trace, memory_bytes) < 1.0).any(axis=1), dtype=np.bool_)
    counts[REQUESTS] = int(cut[trace.template].sum())
    return {kind: count for kind, count in counts.items() if count}


def relaxed(trace: Trace, kind: str, memory_bytes: Floats) -> Trace:
    """The trace without constraints of a kind; `memory_bytes` that pods use has shape (pods,), NaN where unknown."""
    if kind == REQUESTS:
        return _with_less(trace, _factors(trace, memory_bytes))
    relax = _RELAX[kind]
    return replace(trace, templates=tuple({**each, "spec": relax(each["spec"])} for each in trace.templates))


def _without_affinity(spec: Obj) -> Obj:
    affinity = {name: dict(part) for name, part in (spec.get("affinity") or {}).items()}
    for name in ("podAffinity", "podAntiAffinity"):
        affinity.get(name, {}).pop("requiredDuringSchedulingIgnoredDuringExecution", None)
    return spec if affinity == (spec.get("affinity") or {}) else {**spec, "affinity": affinity}


def _without_spread(spec: Obj) -> Obj:
    constraints = spec.get("topologySpreadConstraints") or []
    kept = [each for each in constraints if each.get("whenUnsatisfiable") == "ScheduleAnyway"]
    return spec if len(kept) == len(constraints) else {**spec, "topologySpreadConstraints": kept}


def _without_selectors(spec: Obj) -> Obj:
    selector = spec.get("nodeSelector") or {}
    kept = {name: value for name, value in selector.items() if name.startswith(VOLUME_LABEL)}
    affinity = dict(spec.get("affinity") or {})
    node = dict(affinity.get("nodeAffinity") or {})
    required = node.pop("requiredDuringSchedulingIgnoredDuringExecution", None)
    if kept == selector and required is None:
        return spec
    return {**spec, "nodeSelector": kept, "affinity": {**affinity, "nodeAffinity": node}}


def _without_volumes(spec: Obj) -> Obj:
    selector = spec.get("nodeSelector") or {}
    kept = {name: value for name, value in selector.items() if not name.startswith(VOLUME_LABEL)}
    return spec if kept == selector else {**spec, "nodeSelector": kept}


_RELAX: Mapping[str, Callable[[Obj], Obj]] = {
    AFFINITY: _without_affinity,
    SPREAD: _without_spread,
    SELECTORS: _without_selectors,
    VOLUMES: _without_volumes,
}


def _factors(trace: Trace, memory_bytes: Floats) -> Floats:
    """What requests of CPU and memory would be multiplied with, shape (templates, 2); 1 where they stay."""
    count = len(trace.templates)
    highest = trace.usage.copy()
    if trace.usage_series is not None:
        tops = trace.usage_series.values.max(axis=1).astype(np.float64)
        highest = np.where(trace.series >= 0, tops[trace.series], highest)
    cpu = _highest(trace, np.nan_to_num(highest, nan=1.0), count)
    asked = np.array([effective_requests(each["spec"]).get("memory", 0) for each in trace.templates], dtype=np.float64)
    # What is unknown of one pod may be anything: its template stays as it is.
    memory = _highest(trace, np.nan_to_num(memory_bytes, nan=np.inf), count) / np.maximum(asked, 1.0)
    requests_cpu = np.array([effective_requests(each["spec"]).get("cpu", 0) > 0 for each in trace.templates])
    factors = np.column_stack((np.where(requests_cpu, cpu, np.inf), np.where(asked > 0.0, memory, np.inf)))
    far: Bools = factors * FAR_ABOVE < 1.0
    return np.where(far, np.maximum(MARGIN * factors, 1e-3), 1.0)


def _highest(trace: Trace, values: Floats, count: int) -> Floats:
    """Of the pods of each template."""
    highest = np.zeros(count)
    np.maximum.at(highest, trace.template, values)
    return highest


def _with_less(trace: Trace, factors: Floats) -> Trace:
    templates, shares = [], np.ones(len(trace.templates))
    for number, template in enumerate(trace.templates):
        spec = _cut(template["spec"], *factors[number].tolist())
        templates.append({**template, "spec": spec})
        before, after = (compile_pod(each).scored_cpu_millicores for each in (template, templates[-1]))
        shares[number] = before / max(after, 1)
    scale = shares[trace.template]
    table = trace.usage_series
    if table is not None:
        by_line = np.ones(len(table.values), dtype=np.float32)
        follows = trace.series >= 0
        by_line[trace.series[follows]] = scale[follows]
        table = replace(table, values=table.values * by_line[:, None])
    return replace(trace, templates=tuple(templates), usage=trace.usage * scale, usage_series=table)


def _cut(spec: Obj, cpu: float, memory: float) -> Obj:
    """The spec with requests of its containers multiplied, at least a thousandth of a core or a byte each."""
    found = dict(spec)
    for field in ("containers", "initContainers"):
        if field in found:
            found[field] = [_cut_container(each, cpu, memory) for each in found[field]]
    if (found.get("resources") or {}).get("requests"):
        found["resources"] = _cut_container({"resources": found["resources"]}, cpu, memory)["resources"]
    return found


def _cut_container(container: Obj, cpu: float, memory: float) -> dict[str, Any]:
    asked = effective_requests({"containers": [container]})
    requests = dict((container.get("resources") or {}).get("requests") or {})
    if cpu < 1.0 and "cpu" in asked:
        requests["cpu"] = f"{max(round(asked['cpu'] * cpu), 1)}m"
    if memory < 1.0 and "memory" in asked:
        requests["memory"] = str(max(round(asked["memory"] * memory), 1))
    return {**container, "resources": {**(container.get("resources") or {}), "requests": requests}}
