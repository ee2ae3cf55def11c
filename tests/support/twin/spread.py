"""PodTopologySpread: hard constraints, soft ones, and the system's defaults."""

from __future__ import annotations

from math import floor, log

from tests.support.twin.cluster import (
    HOSTNAME,
    ZONE,
    Cluster,
    Obj,
    labels_of,
    name_of,
    namespace_of,
    selects,
    terminating,
)
from tests.support.twin.nodes import affinity_allows, taints_allow

FULL = 100
MISSING = "node(s) didn't match pod topology spread constraints (missing required label)"
UNEVEN = "node(s) didn't match pod topology spread constraints"


def constraints_of(pod: Obj, kind: str) -> list[Obj]:
    """The pod's constraints of one kind, each with a selector that holds its matchLabelKeys."""
    own = pod["spec"].get("topologySpreadConstraints") or []
    return [{**each, "labelSelector": _selector(each, pod)} for each in own if each["whenUnsatisfiable"] == kind]


def _selector(constraint: Obj, pod: Obj) -> Obj | None:
    selector, labels = constraint.get("labelSelector"), labels_of(pod)
    keys = [key for key in constraint.get("matchLabelKeys") or () if key in labels]
    if selector is None or not keys:
        return selector
    more = [{"key": key, "operator": "In", "values": [labels[key]]} for key in keys]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}


def default_constraints(cluster: Cluster, pod: Obj) -> list[Obj]:
    """Even over nodes and zones, for pods of a Service that name no constraints."""
    if pod["spec"].get("topologySpreadConstraints"):
        return []
    wanted: dict[str, str] = {}
    for service in cluster.services:
        selector = service["spec"].get("selector") or {}
        same = namespace_of(service) == namespace_of(pod)
        if same and selector and all(labels_of(pod).get(key) == value for key, value in selector.items()):
            wanted |= selector
    return [
        {"maxSkew": skew, "topologyKey": key, "labelSelector": {"matchLabels": wanted}}
        for key, skew in ((HOSTNAME, 3), (ZONE, 5))
        if wanted
    ]


def _counted(constraint: Obj, pod: Obj, node: Obj) -> bool:
    """Whether the constraint looks at the node at all."""
    if (constraint.get("nodeAffinityPolicy") or "Honor") == "Honor" and not affinity_allows(pod, node):
        return False
    return (constraint.get("nodeTaintsPolicy") or "Ignore") != "Honor" or taints_allow(pod, node)


def _alike(constraint: Obj, pod: Obj, others: list[Obj]) -> int:
    return sum(
        namespace_of(each) == namespace_of(pod)
        and not terminating(each)
        and selects(constraint["labelSelector"], labels_of(each))
        for each in others
    )


def _has_all_keys(constraints: list[Obj], node: Obj) -> bool:
    return all(each["topologyKey"] in labels_of(node) for each in constraints)


def spread_verdict(cluster: Cluster, pod: Obj, node: Obj) -> str | None:
    """Why the node is refused, or None."""
    constraints = constraints_of(pod, "DoNotSchedule")
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in labels_of(node):
            return MISSING
        counts: dict[str, int] = {}
        for each in cluster.nodes.values():
            if _has_all_keys(constraints, each) and _counted(constraint, pod, each):
                value = labels_of(each)[key]
                counts[value] = counts.get(value, 0) + _alike(constraint, pod, cluster.on(name_of(each)))
        lowest = min(counts.values(), default=None)
        if len(counts) < (constraint.get("minDomains") or 1):
            lowest = 0
        itself = selects(constraint["labelSelector"], labels_of(pod))
        here = counts.get(labels_of(node)[key], 0)
        if lowest is not None and here + itself - lowest > constraint["maxSkew"]:
            return UNEVEN
    return None


def spread_scores(cluster: Cluster, pod: Obj, feasible: list[str]) -> dict[str, int] | None:
    """Normalised scores of the feasible nodes, or None when there is nothing to spread by."""
    own = bool(pod["spec"].get("topologySpreadConstraints"))
    constraints = constraints_of(pod, "ScheduleAnyway") if own else default_constraints(cluster, pod)
    if not constraints:
        return None
    kept = [name for name in feasible if not own or _has_all_keys(constraints, cluster.nodes[name])]
    raw = dict.fromkeys(kept, 0.0)
    for constraint in constraints:
        key = constraint["topologyKey"]
        # Nodes without the key form a domain of their own in the weight, though never in a score.
        domains = kept if key == HOSTNAME else {labels_of(cluster.nodes[name]).get(key, "") for name in kept}
        weight = log(len(domains) + 2)
        for name in kept:
            value = labels_of(cluster.nodes[name]).get(key)
            if value is not None:
                count = _in_domain(cluster, pod, constraint, name, constraints if own else [])
                raw[name] += count * weight + (constraint["maxSkew"] - 1)
    rounded = {name: floor(score + 0.5) for name, score in raw.items()}
    return {name: _normalised(rounded, name) for name in feasible}


def _in_domain(cluster: Cluster, pod: Obj, constraint: Obj, name: str, needed: list[Obj]) -> int:
    key = constraint["topologyKey"]
    if key == HOSTNAME:
        return _alike(constraint, pod, cluster.on(name))
    value = labels_of(cluster.nodes[name])[key]
    return sum(
        _alike(constraint, pod, cluster.on(name_of(each)))
        for each in cluster.nodes.values()
        if labels_of(each).get(key) == value and _has_all_keys(needed, each) and _counted(constraint, pod, each)
    )


def _normalised(scores: dict[str, int], name: str) -> int:
    if name not in scores:
        return 0
    lowest, highest = min(scores.values()), max(scores.values())
    return FULL if highest == 0 else FULL * (highest + lowest - scores[name]) // highest
