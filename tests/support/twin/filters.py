"""The filters in kube-scheduler's order; the first that objects gives the reasons."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.twin import nodes
from tests.support.twin.cluster import Cluster, Obj, name_of
from tests.support.twin.podaffinity import NO_AFFINITY, affinity_verdict
from tests.support.twin.resources import shortages
from tests.support.twin.spread import MISSING, spread_verdict


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node cannot take a pod, and whether pods leaving it could change that."""

    reasons: tuple[str, ...]
    final: bool


def refusal(cluster: Cluster, pod: Obj, node: Obj) -> Refusal | None:
    """The first filter's objection, or None."""
    return _by_node(pod, node) or _by_room(cluster, pod, node) or _by_company(cluster, pod, node)


def _by_node(pod: Obj, node: Obj) -> Refusal | None:
    named = nodes.named_nodes(pod)
    wanted = pod["spec"].get("nodeName")
    checks = (
        (named is None or name_of(node) in named or not named, "node(s) didn't satisfy plugin(s) [NodeAffinity]"),
        (named is None or bool(named), "pod affinity terms conflict"),
        (not nodes.unschedulable(pod, node), "node(s) were unschedulable"),
        (not wanted or wanted == name_of(node), "node(s) didn't match the requested node name"),
        (nodes.taints_allow(pod, node), "node(s) had untolerated taint(s)"),
        (nodes.affinity_allows(pod, node), "node(s) didn't match Pod's node affinity/selector"),
    )
    return next((Refusal((reason,), final=True) for fine, reason in checks if not fine), None)


def _by_room(cluster: Cluster, pod: Obj, node: Obj) -> Refusal | None:
    if not nodes.ports_free(pod, cluster.on(name_of(node))):
        return Refusal(("node(s) didn't have free ports for the requested pod ports",), final=False)
    short, final = shortages(cluster, pod, node)
    return Refusal(short, final) if short else None


def _by_company(cluster: Cluster, pod: Obj, node: Obj) -> Refusal | None:
    uneven = spread_verdict(cluster, pod, node)
    if uneven:
        return Refusal((uneven,), final=uneven == MISSING)
    lonely = affinity_verdict(cluster, pod, node)
    return Refusal((lonely,), final=lonely == NO_AFFINITY) if lonely else None
