"""Whether one pod may be on one node, for those that ask about single nodes: DaemonSets, and nodes themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sparsam.scheduling.demand import PodDemand, Requirement, Taint

Obj = dict[str, Any]


def affinity_allows(demand: PodDemand, node: Obj) -> bool:
    """Whether the pod's nodeSelector and required node affinity allow the node."""
    name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in demand.selector):
        return False
    if demand.required is None:
        return True
    return any(
        bool(term.requirements) and all(_holds(each, name, labels) for each in term.requirements)
        for term in demand.required
    )


def untolerated(demand: PodDemand, node: Obj, effects: Iterable[str]) -> list[Taint]:
    """The node's taints of these effects that the pod does not tolerate."""
    taints = [Taint(each["key"], each.get("value") or "", each["effect"]) for each in node["spec"].get("taints") or ()]
    wanted = frozenset(effects)
    return [
        taint
        for taint in taints
        if taint.effect in wanted and not any(each.tolerates(taint) for each in demand.tolerations)
    ]


def _holds(requirement: Requirement, name: str, labels: Mapping[str, str]) -> bool:
    value = name if requirement.on_field else labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
        case _:
            return False


def _compares(requirement: Requirement, value: str | None) -> bool:
    """Gt and Lt compare whole numbers; a label or value that is none matches nothing."""
    try:
        number, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if requirement.operator == "Gt" else number < bound
