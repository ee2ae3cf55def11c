"""DefaultPreemption: which less important pods would have to go, and from which node."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.twin.cluster import Cluster, Obj, key_of, labels_of, name_of, namespace_of, priority_of, selects
from tests.support.twin.filters import Refusal, refusal

NO_VICTIMS = "No preemption victims found for incoming pod"
NO_HELP = "Preemption is not helpful for scheduling"
NEVER = "not eligible due to preemptionPolicy=Never"
LATEST = "~"
"""Sorts after every time: a pod without a start time counts as started now."""
LOWEST_PRIORITY = 1 << 31


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and the pods that would leave it."""

    node: str
    victims: tuple[Obj, ...]
    violations: int


def started(pod: Obj) -> str:
    """When the pod started, as text that sorts."""
    return str((pod.get("status") or {}).get("startTime") or LATEST)


def importance(pod: Obj) -> tuple[int, str]:
    """Sorts the most important pods first: higher priority, then started earlier."""
    return -priority_of(pod), started(pod)


def candidate(cluster: Cluster, pod: Obj, node: Obj) -> Candidate | Refusal:
    """The least that must leave a node, or why no leaving helps."""
    lesser = [each for each in cluster.on(name_of(node)) if priority_of(each) < priority_of(pod)]
    if not lesser:
        return Refusal((NO_VICTIMS,), final=True)
    gone = {key_of(each) for each in lesser}
    emptied = refusal(cluster.without(gone), pod, node)
    if emptied:
        return emptied
    lesser.sort(key=importance)
    protected = _violating(cluster, lesser)
    victims = []
    for each in sorted(lesser, key=lambda one: key_of(one) not in protected):
        gone.discard(key_of(each))
        if refusal(cluster.without(gone), pod, node):
            gone.add(key_of(each))
            victims.append(each)
    if not victims:
        return Refusal((NO_VICTIMS,), final=True)
    violations = sum(key_of(each) in protected for each in victims)
    return Candidate(name_of(node), tuple(sorted(victims, key=importance)), violations)


def _violating(cluster: Cluster, pods: list[Obj]) -> set[str]:
    """The pods whose leaving, one after the other, some budget does not allow."""
    left = [(pdb.get("status") or {}).get("disruptionsAllowed", 0) for pdb in cluster.pdbs]
    found = set()
    for pod in pods:
        for number, pdb in enumerate(cluster.pdbs):
            if _guards(pdb, pod):
                left[number] -= 1
                if left[number] < 0:
                    found.add(key_of(pod))
    return found


def _guards(pdb: Obj, pod: Obj) -> bool:
    selector = pdb["spec"].get("selector")
    if namespace_of(pdb) != namespace_of(pod) or not selector or not labels_of(pod):
        return False
    already_going = name_of(pod) in ((pdb.get("status") or {}).get("disruptedPods") or {})
    return not already_going and selects(selector, labels_of(pod))


def cost(each: Candidate) -> tuple[int, int, int, int]:
    """Fewest violations, least important highest victim, least total priority, fewest victims."""
    priorities = [priority_of(victim) for victim in each.victims]
    return each.violations, max(priorities), sum(one + LOWEST_PRIORITY for one in priorities), len(priorities)


def best(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that kube-scheduler could pick: of the cheapest, those whose chief victims started last."""
    cheapest = min(map(cost, candidates))
    equal = [each for each in candidates if cost(each) == cheapest]
    latest = max(map(_earliest_start, equal))
    return [each for each in equal if _earliest_start(each) == latest]


def _earliest_start(each: Candidate) -> str:
    highest = max(map(priority_of, each.victims))
    return min(started(victim) for victim in each.victims if priority_of(victim) == highest)


def preempt(cluster: Cluster, pod: Obj, refusals: dict[str, Refusal]) -> tuple[list[Candidate], str]:
    """The equally good candidates, or none and what is said about it."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return [], f"{NEVER}."
    candidates: list[Candidate] = []
    reasons: dict[str, tuple[str, ...]] = {}
    for name, why in refusals.items():
        found = Refusal((NO_HELP,), final=True) if why.final else candidate(cluster, pod, cluster.nodes[name])
        if isinstance(found, Candidate):
            candidates.append(found)
        else:
            reasons[name] = found.reasons
    if candidates:
        return best(candidates), ""
    return [], unavailable(len(cluster.nodes), reasons)


def unavailable(total: int, refusals: dict[str, tuple[str, ...]]) -> str:
    """How many nodes gave each reason, in alphabetical order of the printed counts."""
    counts: dict[str, int] = {}
    for reasons in refusals.values():
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + 1
    listed = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"0/{total} nodes are available: {', '.join(listed)}."
