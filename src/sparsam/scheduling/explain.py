"""For a pod that waits: what keeps it from each node, and the least that would have to change. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.assessment import STATIC_FILTERS
from sparsam.scheduling.columns import Bools
from sparsam.scheduling.demand import HARD_EFFECTS
from sparsam.scheduling.snapshot import CPU, MEMORY, PODS, STORAGE
from sparsam.scheduling.view import View

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change that would make room on some nodes."""

    change: str
    nodes: tuple[str, ...]
    """Nodes that would take the pod then, the one where least is missing first."""
    plugin: str


def remedies(view: View, most: int = 10) -> list[Remedy]:
    """Changes that alone would do, those first that help on most nodes."""
    snapshot = view.snapshot
    against: dict[str, Bools] = {}
    for plugin, hit in _refused(view):
        against[plugin] = against[plugin] | hit if plugin in against else hit
    times = sum((hit.astype(np.int64) for hit in against.values()), np.zeros(len(snapshot.names), np.int64))
    found: dict[tuple[str, str], list[int]] = {}
    for plugin, hit in against.items():
        for row in np.flatnonzero(hit & (times == 1) & snapshot.alive).tolist():
            change = _CHANGES.get(plugin, _as_it_is)(view, row)
            found.setdefault((plugin, change), []).append(row)
    listed = [
        Remedy(change, tuple(sorted(snapshot.names[row] for row in rows)), plugin)
        for (plugin, change), rows in found.items()
    ]
    return sorted(listed, key=lambda each: (-len(each.nodes), each.change))[:most]


def _refused(view: View) -> Iterator[tuple[str, Bools]]:
    """(plugin, nodes that it refuses) of all plugins, whether or not another one refuses the node before."""
    static = {name for name, _ in STATIC_FILTERS}
    for number, hit in view.assessment.static_masks():
        name = STATIC_FILTERS[number][0]
        # Cordoning sets a taint of its own, which goes with it.
        yield name, hit & ~view.snapshot.unschedulable if name == "TaintToleration" else hit
    for refusal in view.refusals():
        if refusal.plugin not in static:
            yield refusal.plugin, refusal.hit


def _room(view: View, row: int) -> str:
    assessment = view.assessment
    lacking, hopeless = assessment.lacking(), assessment.hopeless()
    snapshot, missing = view.snapshot, []
    names = {number: name for name, number in snapshot.resources.numbers.items()}
    for place, number in enumerate(assessment.numbers.tolist()):
        if not lacking[place, row]:
            continue
        amount = int(assessment.amounts[place, 0])
        free = int(snapshot.allocatable[number, row] - snapshot.requested[number, row])
        if hopeless[place, row]:
            largest = int(snapshot.allocatable[number, row])
            missing.append(f"ask for at most {_amount(number, names[number], largest)}")
        else:
            missing.append(f"free {_amount(number, names[number], amount - max(free, 0))}")
    return " and ".join(missing)


def _amount(number: int, name: str, amount: int) -> str:
    if number == CPU:
        return f"{amount}m of cpu"
    if number in (MEMORY, STORAGE):
        return f"{amount / _GIB:.2f}Gi of {name}"
    return f"{amount} of {name}" if number != PODS else f"{amount} place(s) for pods"


def _taints(view: View, row: int) -> str:
    demand, snapshot = view.assessment.demand, view.snapshot
    hard = [
        f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
        for taint, number in snapshot.taints.numbers.items()
        if snapshot.tainted[number, row]
        and taint.effect in HARD_EFFECTS
        and not any(each.tolerates(taint) for each in demand.tolerations)
    ]
    return f"tolerate {', '.join(hard)}, or remove it from the node"


def _cordon(_: View, __: int) -> str:
    return "uncordon the node"


def _affinity(_: View, __: int) -> str:
    return "label the node as the pod's nodeSelector or node affinity asks, or relax these"


def _ports(view: View, _: int) -> str:
    ports = ", ".join(sorted({f"{each.port}/{each.protocol}" for each in view.assessment.demand.ports}))
    return f"free host port {ports}"


def _spread(_: View, __: int) -> str:
    return "raise maxSkew, or let whenUnsatisfiable be ScheduleAnyway"


def _pods(view: View, row: int) -> str:
    return f"relax inter-pod (anti-)affinity: {'; '.join(view.reasons_on(row))}"


def _as_it_is(view: View, row: int) -> str:
    return "; ".join(view.reasons_on(row))


_CHANGES: dict[str, Callable[[View, int], str]] = {
    "NodeResourcesFit": _room,
    "TaintToleration": _taints,
    "NodeUnschedulable": _cordon,
    "NodeAffinity": _affinity,
    "NodePorts": _ports,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _pods,
}
