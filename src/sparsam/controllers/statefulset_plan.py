"""What a StatefulSet does next: pods by ordinal, one after the other or all at once. Pure.

Source: upstream's StatefulSet controller; KEP-961 (maxUnavailable), KEP-3335 (start ordinal), KEP-1847 (claims).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from sparsam.controllers.history import REVISION_LABEL
from sparsam.controllers.podcontrol import has_ended, is_available, ready_since

Obj = dict[str, Any]

_NAME = re.compile(r"(.*)-([0-9]+)$")


@dataclass(frozen=True, slots=True)
class Create:
    """Make the pod of an ordinal, with its claims first."""

    ordinal: int
    revision: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a pod; `recreated` when it ended by itself and comes back."""

    pod: Obj
    recreated: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and the status as the pods are now."""

    actions: tuple[Create | Delete, ...]
    status: Obj


@dataclass(frozen=True, slots=True)
class Members:
    """A set's pods: those it wants by ordinal, and those to go, highest first."""

    wanted: Mapping[int, Obj | None]
    condemned: Sequence[Obj]

    @property
    def all(self) -> list[Obj]:
        """Every pod there is."""
        return [*(pod for pod in self.wanted.values() if pod is not None), *self.condemned]


@dataclass(slots=True)
class _Steps:
    """The actions so far, and whether one has to be waited for."""

    actions: list[Create | Delete] = field(default_factory=list)
    waits: bool = False


def ordinal_of(set_name: str, pod_name: str) -> int | None:
    """The ordinal in a pod's name; None for a pod that is not named after the set."""
    match = _NAME.match(pod_name)
    return int(match[2]) if match and match[1] == set_name and match[2] == str(int(match[2])) else None


def first_ordinal(spec: Obj) -> int:
    """Where counting starts."""
    return int((spec.get("ordinals") or {}).get("start") or 0)


def members(stateful_set: Obj, pods: Sequence[Obj]) -> Members:
    """The pods by their places."""
    spec, name = stateful_set["spec"], stateful_set["metadata"]["name"]
    start = first_ordinal(spec)
    wanted: dict[int, Obj | None] = dict.fromkeys(range(start, start + spec["replicas"]))
    condemned: dict[int, Obj] = {}
    for pod in pods:
        ordinal = ordinal_of(name, pod["metadata"]["name"])
        if ordinal is None:
            continue
        if ordinal in wanted:
            wanted[ordinal] = pod
        else:
            condemned[ordinal] = pod
    return Members(wanted, [condemned[ordinal] for ordinal in sorted(condemned, reverse=True)])


def plan(stateful_set: Obj, pods: Sequence[Obj], revisions: tuple[str, str], now: datetime) -> Plan:
    """The next actions and the status; `revisions` are the names of the current and the update revision."""
    found = members(stateful_set, pods)
    status = _status(stateful_set, found, revisions, now)
    steps = _Steps()
    _fill(stateful_set, found, revisions, steps, now)
    if not steps.waits:
        _shrink(stateful_set, found, steps, now)
    if not steps.waits:
        _update(stateful_set, found, revisions[1], steps, now)
    return Plan(tuple(steps.actions), status)


def _status(stateful_set: Obj, found: Members, revisions: tuple[str, str], now: datetime) -> Obj:
    spec, (current, update) = stateful_set["spec"], revisions
    pods = found.all
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    counts = {
        "readyReplicas": sum(_ready(pod) for pod in pods),
        "currentReplicas": sum(_revision(pod) == current for pod in staying),
        "updatedReplicas": sum(_revision(pod) == update for pod in staying),
    }
    available = sum(_ready(pod) and is_available(pod, spec.get("minReadySeconds", 0), now) for pod in pods)
    complete = len(pods) == counts["readyReplicas"] == counts["updatedReplicas"] == spec["replicas"]
    if complete and _strategy(spec) == "RollingUpdate":
        counts["currentReplicas"], current = counts["updatedReplicas"], update
    status: Obj = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count},
        "currentRevision": current,
        "updateRevision": update,
        "availableReplicas": available,
    }
    conditions = stateful_set.get("status", {}).get("conditions")
    return {**status, **({"conditions": conditions} if conditions else {})}


def _fill(stateful_set: Obj, found: Members, revisions: tuple[str, str], steps: _Steps, now: datetime) -> None:
    """Make what is missing; in order, each only once the one before is available."""
    spec, ordered = stateful_set["spec"], _is_ordered(stateful_set)
    for ordinal, pod in found.wanted.items():
        if pod is not None and has_ended(pod):
            if "deletionTimestamp" not in pod["metadata"]:
                steps.actions.append(Delete(pod, recreated=True))
            steps.waits = steps.waits or ordered
        elif pod is None:
            current_until = first_ordinal(spec) + _partition(spec)
            use_current = _strategy(spec) == "RollingUpdate" and ordinal < current_until
            steps.actions.append(Create(ordinal, revisions[0] if use_current else revisions[1]))
            steps.waits = steps.waits or ordered
        elif ordered and not _available(spec, pod, now):
            steps.waits = True
        if steps.waits:
            return


def _shrink(stateful_set: Obj, found: Members, steps: _Steps, now: datetime) -> None:
    """Delete what is too much; in order, the highest first, each once the one above is gone."""
    spec, ordered = stateful_set["spec"], _is_ordered(stateful_set)
    unhealthy = next((pod for pod in reversed(found.condemned) if not _healthy(pod)), None)
    for pod in found.condemned:
        leaving = "deletionTimestamp" in pod["metadata"]
        if ordered and (leaving or (not _available(spec, pod, now) and pod is not unhealthy)):
            steps.waits = True
            return
        if not leaving:
            steps.actions.append(Delete(pod))
        if ordered:
            steps.waits = True
            return


def _update(stateful_set: Obj, found: Members, update: str, steps: _Steps, now: datetime) -> None:
    """Delete pods of older revisions down to the partition, the highest first; they come back updated."""
    spec = stateful_set["spec"]
    if _strategy(spec) != "RollingUpdate":
        return
    pods = [pod for ordinal, pod in found.wanted.items() if ordinal - first_ordinal(spec) >= _partition(spec)]
    limit = _max_unavailable(spec)
    if limit > 1:
        room = limit - sum(pod is None or not _available(spec, pod, now) for pod in found.wanted.values())
        outdated = [pod for pod in reversed(pods) if pod is not None and _outdated(pod, update)]
        steps.actions += [Delete(pod) for pod in outdated[: max(room, 0)]]
        return
    for pod in reversed(pods):
        if pod is not None and _outdated(pod, update):
            steps.actions.append(Delete(pod))
            return
        if pod is None or not _available(spec, pod, now):
            return


def _outdated(pod: Obj, update: str) -> bool:
    return _revision(pod) != update and "deletionTimestamp" not in pod["metadata"]


def _revision(pod: Obj) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def _ready(pod: Obj) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and ready_since(pod) is not None


def _healthy(pod: Obj) -> bool:
    return _ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _available(spec: Obj, pod: Obj, now: datetime) -> bool:
    return _healthy(pod) and is_available(pod, spec.get("minReadySeconds", 0), now)


def _is_ordered(stateful_set: Obj) -> bool:
    return bool(stateful_set["spec"].get("podManagementPolicy") != "Parallel")


def _strategy(spec: Obj) -> str:
    return str((spec.get("updateStrategy") or {}).get("type") or "RollingUpdate")


def _partition(spec: Obj) -> int:
    return int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)


def _max_unavailable(spec: Obj) -> int:
    value = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable") or 1
    if isinstance(value, str):
        value = ceil(int(value.removesuffix("%")) * spec["replicas"] / 100)
    return max(int(value), 1)
