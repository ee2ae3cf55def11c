"""What a world makes of a trace and of nodes before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsam.power import sleep
from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.usage import use_level
from sparsam.simulation.fleet import RACK_LABEL
from sparsam.simulation.trace import Trace

Obj = Mapping[str, Any]


def by_kind(trace: Trace) -> list[Obj]:
    """The templates, those of batch work alone as pods that are not restarted: so the scheduler tells them apart."""
    services = set(trace.template[~trace.batch].tolist())
    return [
        _owned(each, number) if number in services else {**each, "spec": {"restartPolicy": "Never", **each["spec"]}}
        for number, each in enumerate(trace.templates)
    ]


def _owned(template: Obj, number: int) -> Obj:
    """A service's pods as those of a controller, which the trace may have left out."""
    metadata = template["metadata"]
    if metadata.get("ownerReferences"):
        return template
    owner = {"kind": "ReplicaSet", "name": f"service-{number}", "controller": True}
    return {**template, "metadata": {**metadata, "ownerReferences": [owner]}}


def sleep_columns(nodes: Sequence[Obj], curves: Floats) -> sleep.Sleep:
    """What sleeping and waking costs each node, by the kind of sleep that it states."""
    kinds = np.array([(node["metadata"].get("annotations") or {}).get(SLEEP_ANNOTATION, "") for node in nodes])
    columns = {name: np.zeros(len(nodes)) for name in sleep.Sleep.__slots__}
    # One that cannot sleep draws its idle watts whatever it is told.
    columns["idle_watts"][:] = columns["asleep_watts"][:] = curves[:, 0]
    for kind in sleep.ASSUMED:
        of_kind = sleep.assumed(kind, curves[:, 0], curves[:, -1])
        for name, column in columns.items():
            column[:] = np.where(kinds == kind, getattr(of_kind, name), column)
    return sleep.Sleep(**columns)


def rack_numbers(nodes: Sequence[Obj]) -> Ints:
    """The rack of each node, from 0 in the order of their names; nodes without a rack share one."""
    names = [str((node["metadata"].get("labels") or {}).get(RACK_LABEL, "")) for node in nodes]
    return np.asarray(np.unique(np.array(names), return_inverse=True)[1], dtype=np.int64)


def teach(snapshot: Snapshot, trace: Trace, demands: Sequence[PodDemand]) -> None:
    """What a day before the trace would have taught of its services, of all pods together, and of their devices."""
    usage = snapshot.usage
    peaks = np.ones(0) if trace.usage_series is None else trace.usage_series.values.max(axis=1)
    for number, demand in enumerate(demands):
        pods = np.flatnonzero((trace.template == number) & ~trace.batch & np.isfinite(trace.usage))
        if len(pods):
            lines = trace.series[pods]
            peak = max(float(peaks[lines[lines >= 0]].max(initial=0.0)), float(trace.usage[pods].max()))
            requested = float(demand.scored_cpu_millicores)
            usage.teach(demand, requested * float(trace.usage[pods].mean()), requested * peak)
    stay = np.minimum(trace.duration_seconds, trace.horizon_seconds - trace.arrival_seconds)
    present = np.bincount(trace.template, stay, len(demands)) / max(trace.horizon_seconds, 1e-9)
    came = np.bincount(trace.template, minlength=len(demands))
    for demand, pods in zip(demands, came.tolist(), strict=True):
        snapshot.wishes.see(demand, pods)
    for demand, pods_there in zip(demands, present.tolist(), strict=True):
        room = snapshot.room_of(demand)
        snapshot.usual_levels[use_level(room, usage.expected_millicores(demand))] += pods_there * room
