"""Which nodes a DaemonSet has pods on, and which of its pods come and go next. Pure.

Source: upstream's DaemonSet controller; KEP-1591 (surge).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from sparsam.controllers.history import REVISION_LABEL
from sparsam.controllers.podcontrol import is_available, ready_since
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.onenode import affinity_allows, untolerated

Obj = dict[str, Any]

_NODE_NAME = "metadata.name"
_TOLERATIONS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NO_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Place:
    """Whether a node should get a pod, and whether one that is there may stay."""

    runs: bool
    stays: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """Nodes that get a pod, pods that go, and those among them that ended by themselves."""

    create: tuple[str, ...] = ()
    delete: tuple[Obj, ...] = ()
    ended: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True)
class Daemons:
    """A DaemonSet's situation: places by node, pods by node, the hash of its present revision, and the moment."""

    spec: Obj
    places: Mapping[str, Place]
    pods: Mapping[str, Sequence[Obj]]
    revision: str
    now: datetime

    def is_new(self, pod: Obj) -> bool:
        """Whether a pod is of the present revision."""
        return bool((pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == self.revision)

    def is_available(self, pod: Obj) -> bool:
        """Ready for long enough."""
        return is_available(pod, self.spec.get("minReadySeconds", 0), self.now)

    @property
    def desired(self) -> int:
        """Nodes that should have a pod."""
        return sum(place.runs for place in self.places.values())


def daemon_spec(template: Obj, node: str = "") -> Obj:
    """The spec of a daemon's pod: tolerations that keep it on ailing nodes, and affinity to its node alone."""
    spec = template["spec"]
    wanted = [*_TOLERATIONS, *([_NO_NETWORK] if spec.get("hostNetwork") else [])]
    own = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    tolerations = [*(spec.get("tolerations") or ())]
    tolerations += [each for each in own if each not in tolerations]
    spec = {**spec, "tolerations": tolerations}
    if not node:
        return spec
    affinity = dict(spec.get("affinity") or {})
    term = {"matchFields": [{"key": _NODE_NAME, "operator": "In", "values": [node]}]}
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}),
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
    }
    return {**spec, "affinity": affinity}


def node_of(pod: Obj) -> str:
    """The node that a daemon's pod is on or is meant for; empty when it says none."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for each in term.get("matchFields") or ():
            if each["key"] == _NODE_NAME and each["operator"] == "In" and each.get("values"):
                return str(each["values"][0])
    return ""


def places(template: Obj, nodes: Sequence[Obj]) -> dict[str, Place]:
    """What each node is to the daemon, by name."""
    demand = compile_pod({"metadata": {}, "spec": daemon_spec(template)})
    found = {}
    for node in nodes:
        name = node["metadata"]["name"]
        if demand.node_name not in ("", name) or not affinity_allows(demand, node):
            found[name] = Place(False, False)
            continue
        taints = untolerated(demand, node, ("NoSchedule", "NoExecute"))
        found[name] = Place(not taints, not any(taint.effect == "NoExecute" for taint in taints))
    return found


def manage(daemons: Daemons) -> Changes:
    """Every node that should have a pod gets one; pods that ended, are one too many or stand elsewhere go."""
    create, delete, ended = [], [], []
    for name in daemons.places.keys() | daemons.pods.keys():
        place = daemons.places.get(name, Place(False, False))
        pods = list(daemons.pods.get(name, ()))
        if place.runs and not pods:
            create.append(name)
            continue
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if not place.stays:
            delete += staying
            continue
        over = [pod for pod in staying if pod.get("status", {}).get("phase") in ("Failed", "Succeeded")]
        ended += over
        delete += over + _superfluous(daemons, [pod for pod in staying if pod not in over])
    return Changes(tuple(sorted(create)), tuple(delete), tuple(ended))


def _superfluous(daemons: Daemons, running: list[Obj]) -> list[Obj]:
    """All but the oldest; with surge one of the old and one of the new revision, until the new one is available."""
    order = sorted(running, key=_age)
    if _surge(daemons) == 0:
        return order[1:]
    new = [pod for pod in order if daemons.is_new(pod)]
    old = [pod for pod in order if not daemons.is_new(pod)]
    spare = new[1:] + old[1:]
    if new and old and (ready_since(old[0]) is None or daemons.is_available(new[0])):
        spare.append(old[0])
    return spare


def roll(daemons: Daemons) -> Changes:
    """The next step of a rolling update, within what may be missing or be too much meanwhile."""
    if (daemons.spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Changes()
    surge = _surge(daemons)
    return _surging(daemons, surge) if surge else _replacing(daemons)


@dataclass(slots=True)
class _Tally:
    """What counts against the bound already, what may go anyway, and what waits for room."""

    used: int = 0
    free: list[Any] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)

    def allowed(self, bound: int) -> list[Any]:
        """As many as the bound leaves room for."""
        return self.free + self.waiting[: max(bound - self.used, 0)]


def _replacing(daemons: Daemons) -> Changes:
    tally = _Tally()
    for name, place in sorted(daemons.places.items()):
        if not place.runs:
            continue
        old, new = _old_and_new(daemons, name)
        if (old is None) == (new is None):
            tally.used += 1
        elif new is not None:
            tally.used += not daemons.is_available(new)
        elif old is not None and not daemons.is_available(old):
            tally.used += 1
            tally.free.append(old)
        else:
            tally.waiting.append(old)
    return Changes(delete=tuple(tally.allowed(_max_unavailable(daemons))))


def _surging(daemons: Daemons, surge: int) -> Changes:
    tally = _Tally()
    for name, place in sorted(daemons.places.items()):
        if not place.runs:
            continue
        old, new = _old_and_new(daemons, name)
        if old is None:
            continue
        if new is not None:
            tally.used += not daemons.is_available(new)
        elif not daemons.is_available(old):
            tally.free.append(name)
        else:
            tally.waiting.append(name)
    return Changes(create=tuple(tally.allowed(surge)))


def _old_and_new(daemons: Daemons, node: str) -> tuple[Obj | None, Obj | None]:
    staying = [pod for pod in daemons.pods.get(node, ()) if "deletionTimestamp" not in pod["metadata"]]
    old = next((pod for pod in staying if not daemons.is_new(pod)), None)
    return old, next((pod for pod in staying if daemons.is_new(pod)), None)


def status(daemon_set: Obj, daemons: Daemons, collisions: int) -> Obj:
    """The status for the pods as they are now."""
    counts = dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"), 0
    )
    for name, place in daemons.places.items():
        pods = sorted(daemons.pods.get(name, ()), key=_age)
        if not pods:
            continue
        if not place.runs:
            counts["numberMisscheduled"] += 1
            continue
        counts["currentNumberScheduled"] += 1
        counts["numberReady"] += any(ready_since(pod) is not None for pod in pods[:1])
        counts["numberAvailable"] += daemons.is_available(pods[0])
        counts["updatedNumberScheduled"] += any(daemons.is_new(pod) for pod in pods)
    found: Obj = {
        **{name: counts[name] for name in ("currentNumberScheduled", "numberMisscheduled", "numberReady")},
        "desiredNumberScheduled": daemons.desired,
        "observedGeneration": daemon_set["metadata"].get("generation", 0),
    }
    missing = daemons.desired - counts["numberAvailable"]
    for name, count in (
        ("updatedNumberScheduled", counts["updatedNumberScheduled"]),
        ("numberAvailable", counts["numberAvailable"]),
        ("numberUnavailable", missing),
        ("collisionCount", collisions),
    ):
        if count:
            found[name] = count
    conditions = daemon_set.get("status", {}).get("conditions")
    return {**found, **({"conditions": conditions} if conditions else {})}


def _age(pod: Obj) -> tuple[bool, str, str]:
    return (not pod["spec"].get("nodeName"), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])


def _rolling(daemons: Daemons) -> Obj:
    return (daemons.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}


def _surge(daemons: Daemons) -> int:
    if (daemons.spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return 0
    return _share(_rolling(daemons).get("maxSurge") or 0, daemons.desired)


def _max_unavailable(daemons: Daemons) -> int:
    return max(_share(_rolling(daemons).get("maxUnavailable", 1), daemons.desired), 1)


def _share(value: int | str, total: int) -> int:
    """A number, or a percentage of a total, rounded up."""
    if isinstance(value, int):
        return value
    return ceil(int(value.removesuffix("%")) * total / 100)
