"""InterPodAffinity: what pods demand of, and prefer about, the pods around them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.twin.cluster import Cluster, Obj, labels_of, namespace_of, selects

FULL = 100
NO_AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
HARD_WEIGHT = 1
"""What a required affinity of a pod already there is worth to those it names."""


def required(pod: Obj, kind: str) -> list[Obj]:
    """Required terms of `podAffinity` or `podAntiAffinity`."""
    part = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return part.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def preferred(pod: Obj) -> Iterator[tuple[Obj, int]]:
    """Preferred terms with their weights, negative to keep away."""
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        part = (pod["spec"].get("affinity") or {}).get(kind) or {}
        for each in part.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield each["podAffinityTerm"], sign * each["weight"]


def means(cluster: Cluster, owner: Obj, term: Obj, other: Obj) -> bool:
    """Whether the owner's term is about the other pod."""
    namespaces, by_label = term.get("namespaces") or [], term.get("namespaceSelector")
    if not namespaces and by_label is None:
        namespaces = [namespace_of(owner)]
    where = namespace_of(other)
    if where not in namespaces and not selects(by_label, cluster.namespaces.get(where, {})):
        return False
    return selects(_selector(term, owner), labels_of(other))


def _selector(term: Obj, owner: Obj) -> Obj | None:
    selector, labels = term.get("labelSelector"), labels_of(owner)
    if selector is None:
        return None
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(keys) or ()
        if key in labels
    ]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}


def affinity_verdict(cluster: Cluster, pod: Obj, node: Obj) -> str | None:
    """Why the node is refused, or None."""
    if not _finds_company(cluster, pod, node):
        return NO_AFFINITY
    for term in required(pod, "podAntiAffinity"):
        if any(_shares(term, node, where) and means(cluster, pod, term, other) for other, where in cluster.placed()):
            return ANTI_AFFINITY
    for other, where in cluster.placed():
        for term in required(other, "podAntiAffinity"):
            if _shares(term, node, where) and means(cluster, other, term, pod):
                return EXISTING
    return None


def _shares(term: Obj, node: Obj, other: Obj) -> bool:
    """Whether both nodes are in the same domain of the term."""
    value = labels_of(node).get(term["topologyKey"])
    return value is not None and labels_of(other).get(term["topologyKey"]) == value


def _finds_company(cluster: Cluster, pod: Obj, node: Obj) -> bool:
    terms = required(pod, "podAffinity")
    if not all(term["topologyKey"] in labels_of(node) for term in terms):
        return False
    # Only pods that every term is about count for any of them.
    company = [where for other, where in cluster.placed() if all(means(cluster, pod, term, other) for term in terms)]
    if all(any(_shares(term, node, where) for where in company) for term in terms):
        return True
    nobody = not any(term["topologyKey"] in labels_of(where) for term in terms for where in company)
    return nobody and all(means(cluster, pod, term, pod) for term in terms)


def affinity_scores(cluster: Cluster, pod: Obj, feasible: list[str]) -> dict[str, int] | None:
    """Normalised scores of the feasible nodes, or None when no term is about anybody."""
    worth: dict[tuple[str, str], int] = {}

    def add(owner: Obj, term: Obj, about: Obj, *, weight: int, where: Obj) -> None:
        key = term["topologyKey"]
        if means(cluster, owner, term, about) and key in labels_of(where):
            place = (key, labels_of(where)[key])
            worth[place] = worth.get(place, 0) + weight

    for other, where in cluster.placed():
        for term, weight in preferred(pod):
            add(pod, term, other, weight=weight, where=where)
        for term in required(other, "podAffinity"):
            add(other, term, pod, weight=HARD_WEIGHT, where=where)
        for term, weight in preferred(other):
            add(other, term, pod, weight=weight, where=where)
    if not worth:
        return None
    raw = {name: sum(worth.get(pair, 0) for pair in labels_of(cluster.nodes[name]).items()) for name in feasible}
    lowest, highest = min(raw.values()), max(raw.values())
    if lowest == highest:
        return dict.fromkeys(feasible, 0)
    return {name: int(FULL * ((score - lowest) / (highest - lowest))) for name, score in raw.items()}
