"""One decision: filter, score, and where nothing fits, see who could leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.twin import nodes, resources
from tests.support.twin.cluster import Cluster, Obj
from tests.support.twin.filters import refusal
from tests.support.twin.podaffinity import affinity_scores
from tests.support.twin.preemption import Candidate, preempt, unavailable
from tests.support.twin.spread import spread_scores

FULL = 100
WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "ImageLocality": 1,
}
Scores = dict[str, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that kube-scheduler would say about one pod."""

    feasible: set[str]
    plugin_scores: dict[str, Scores] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    message: str = ""
    rejections: dict[str, tuple[str, ...]] = field(default_factory=dict)
    nominated: str | None = None
    victims: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def best(self) -> set[str]:
        """The nodes of highest score; the only feasible one without any."""
        highest = max(self.scores.values(), default=0)
        return {name for name in self.feasible if self.scores.get(name, 0) == highest}


def decide(cluster: Cluster, pod: Obj) -> Decision:
    """Decide one pod before one cluster."""
    refusals = {}
    for name, node in cluster.nodes.items():
        why = refusal(cluster, pod, node)
        if why:
            refusals[name] = why
    rejections = {name: why.reasons for name, why in refusals.items()}
    feasible = [name for name in cluster.nodes if name not in refusals]
    if feasible:
        plugins = plugin_scores(cluster, pod, feasible) if len(feasible) > 1 else {}
        total = {name: sum(each[name] for each in plugins.values()) for name in feasible} if plugins else {}
        return Decision(set(feasible), plugins, total, rejections=rejections)
    if not cluster.nodes:
        return Decision(set(), message="no nodes available to schedule pods")
    candidates, more = preempt(cluster, pod, refusals)
    message = unavailable(len(cluster.nodes), rejections)
    if not candidates:
        return Decision(
            set(), message=f"{message} no new claims to deallocate, preemption: {more}", rejections=rejections
        )
    picked = candidates[0]
    victims = tuple(
        f"{each['metadata'].get('namespace', 'default')}/{each['metadata']['name']}" for each in picked.victims
    )
    return Decision(
        set(),
        message=message,
        rejections=rejections,
        nominated=picked.node,
        victims=victims,
        candidates=tuple(candidates),
    )


def plugin_scores(cluster: Cluster, pod: Obj, feasible: list[str]) -> dict[str, Scores]:
    """Weighted scores by plugin; plugins that have nothing to say about the pod are left out."""

    def each(score: Callable[[Cluster, Obj, Obj], int]) -> Scores:
        return {name: score(cluster, pod, cluster.nodes[name]) for name in feasible}

    raw: dict[str, Scores | None] = {
        "TaintToleration": _taints(cluster, pod, feasible),
        "NodeAffinity": _preferences(cluster, pod, feasible),
        "NodeResourcesFit": each(resources.least_allocated),
        "NodeResourcesBalancedAllocation": (
            None if resources.best_effort(pod) else each(resources.balanced_allocation)
        ),
        "PodTopologySpread": spread_scores(cluster, pod, feasible),
        "InterPodAffinity": affinity_scores(cluster, pod, feasible),
        "ImageLocality": each(nodes.image_locality),
    }
    return {
        plugin: {name: WEIGHTS[plugin] * score for name, score in scores.items()}
        for plugin, scores in raw.items()
        if scores is not None
    }


def _taints(cluster: Cluster, pod: Obj, feasible: list[str]) -> Scores:
    counts = {name: nodes.disliked_taints(pod, cluster.nodes[name]) for name in feasible}
    most = max(counts.values())
    return {name: FULL - FULL * count // most if most else FULL for name, count in counts.items()}


def _preferences(cluster: Cluster, pod: Obj, feasible: list[str]) -> Scores | None:
    if not nodes.preferred_terms(pod):
        return None
    weights = {name: nodes.preference(pod, cluster.nodes[name]) for name in feasible}
    most = max(weights.values())
    return {name: FULL * weight // most if most else 0 for name, weight in weights.items()}
