"""One pod before all nodes: which may take it, which may not and why, and what each plugin scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sparsam.scheduling.assessment import ENFORCED, STATIC_FILTERS, Assessment
from sparsam.scheduling.columns import Bools, Ints, Rows, Scores, any_line
from sparsam.scheduling.podaffinity import AffinityRefusal, AffinityRules
from sparsam.scheduling.snapshot import PODS, Resident, Snapshot
from sparsam.scheduling.spreading import SpreadRefusal

FULL = 100
TOO_MANY_PODS = "Too many pods"
NOT_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
NO_PORTS = "node(s) didn't have free ports for the requested pod ports"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nodes that one filter refuses first; `room_helps` where removing other pods could change that."""

    plugin: str
    reason: str | Callable[[Bools], dict[str, int]]
    hit: Bools
    room_helps: Bools


@dataclass(slots=True)
class Verdict:
    """Why nodes do not take the pod."""

    counts: dict[str, int] = field(default_factory=dict)
    """Upstream's reason text to the number of nodes it applies to."""
    plugins: dict[str, int] = field(default_factory=dict)
    """Filter to the number of nodes that it refuses first."""
    resolvable: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))


def kept_for_nominees(snapshot: Snapshot, assessment: Assessment, pod: str, priority: int) -> tuple[Refusal, ...]:
    """Nodes on which the room is being made for pods at least as important."""
    rivals = [(snapshot.rows[each.node], each) for each in rivals_for_room(snapshot, pod, priority)]
    if not rivals:
        return ()
    rows = np.array(sorted({row for row, _ in rivals}), np.intp)
    names = {number: name for name, number in snapshot.resources.numbers.items()}
    held = np.zeros((len(assessment.numbers), len(rows)), np.int64)
    for row, each in rivals:
        wanted = {**dict(each.demand.requests), "pods": 1}
        held[:, np.searchsorted(rows, row)] += [wanted.get(names[number], 0) for number in assessment.numbers.tolist()]
    lacking = assessment.lacking_beside(rows, held)
    hit = np.zeros_like(snapshot.alive)
    hit[rows] = any_line(lacking)

    def counts(left: Bools) -> dict[str, int]:
        totals = lacking[:, left[rows]].sum(axis=1).tolist()
        reasons = [_lack_reason(number, names) for number in assessment.numbers.tolist()]
        return {reason: total for reason, total in zip(reasons, totals, strict=True) if total}

    return (Refusal("NodeResourcesFit", counts, hit, np.ones_like(hit)),)


def rivals_for_room(snapshot: Snapshot, pod: str, priority: int) -> list[Resident]:
    """Other pods, at least as important, for which room is being made."""
    return [
        each
        for each in snapshot.nominees.values()
        if each.key != pod and each.priority >= priority and each.node in snapshot.rows
    ]


def _lack_reason(number: int, names: dict[int, str]) -> str:
    return TOO_MANY_PODS if number == PODS else f"Insufficient {names[number]}"


class View:
    """A pod of one assessment now. `extra` are refusals of others, such as volumes."""

    def __init__(self, snapshot: Snapshot, assessment: Assessment, extra: tuple[Refusal, ...] = ()) -> None:
        self.snapshot, self.assessment = snapshot, assessment
        self._extra = extra
        self._filters = assessment.profile.filters
        self.affinity: AffinityRules | None = None
        """The pod's terms and those of others about it; None when nobody has any."""
        if assessment.demand.terms or snapshot.population.has_terms:
            self.affinity = AffinityRules(snapshot, assessment.demand, assessment.profile)
        self.spread_refusal = self._judged_spread()
        self.affinity_refusal = self._judged_affinity()
        self.feasible: Bools = self._feasible()
        """Nodes that may take the pod, shape (rows,); not to be written to."""
        self.feasible_rows: Rows = self.feasible.nonzero()[0]

    def _judged_spread(self) -> SpreadRefusal | None:
        """What spread constraints forbid."""
        rules = self.assessment.spread
        return rules.judge() if rules is not None and rules.hard and "PodTopologySpread" in self._filters else None

    def _judged_affinity(self) -> AffinityRefusal | None:
        """What inter-pod affinity forbids."""
        rules = self.affinity if "InterPodAffinity" in self._filters else None
        return rules.judge() if rules is not None and rules.restrict else None

    def _feasible(self) -> Bools:
        mask = self.assessment.base
        for refusal in self._extra:
            mask = mask & ~refusal.hit
        if self.spread_refusal is not None:
            mask = mask & ~self.spread_refusal.forbidden
        if self.affinity_refusal is not None:
            refused = self.affinity_refusal
            mask = mask & ~(refused.unmet | refused.repelled | refused.unwelcome)
        return mask

    def plugin_scores(self) -> list[tuple[str, int, Scores]]:
        """(plugin, weight, 0..100 for each row) of each plugin that tells nodes apart or always scores.

        Values of nodes that are not feasible mean nothing.
        """
        weights, found = self.assessment.profile.weights, []
        for name, scores in _SCORERS:
            if (weight := weights.get(name, 0)) and (values := scores(self)) is not None:
                found.append((name, weight, values))
        return found

    def _taints(self) -> Ints | None:
        disliked = self.assessment.disliked
        if disliked is None:
            return None
        worst = int(disliked[self.feasible].max(initial=0))
        return FULL - FULL * disliked.astype(np.int64) // worst if worst else None

    def _node_affinity(self) -> Ints | None:
        liked = self.assessment.liked
        if liked is None:
            return None
        best = int(liked[self.feasible].max(initial=0))
        return FULL * liked // best if best else None

    def _spread(self) -> Ints | None:
        rules = self.assessment.spread
        return rules.scores(self.feasible) if rules is not None and rules.soft else None

    def _fit(self) -> Scores | None:
        return self.assessment.fit_scores

    def _balance(self) -> Scores | None:
        return self.assessment.balance_scores

    def _pod_affinity(self) -> Scores | None:
        return self.affinity.scores(self.feasible) if self.affinity else None

    def _image_locality(self) -> Scores | None:
        return self.assessment.image_scores

    # -- why not --------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Each node that does not take the pod, counted under the first filter that refuses it."""
        left = self.snapshot.alive.copy()
        verdict = Verdict(resolvable=np.zeros_like(left))
        if not (left & ~self.feasible).any():
            return verdict
        for refusal in self.refusals():
            hit = refusal.hit & left
            if not hit.any():
                continue
            found = refusal.reason(hit) if callable(refusal.reason) else {refusal.reason: int(hit.sum())}
            for reason, count in found.items():
                verdict.counts[reason] = verdict.counts.get(reason, 0) + count
            verdict.plugins[refusal.plugin] = verdict.plugins.get(refusal.plugin, 0) + int(hit.sum())
            verdict.resolvable |= hit & refusal.room_helps
            left &= ~hit
        return verdict

    def reasons_on(self, row: int) -> list[str]:
        """Why one node does not take the pod, by the first filter that refuses it."""
        hit = np.zeros_like(self.snapshot.alive)
        hit[row] = True
        for refusal in self.refusals():
            if refusal.hit[row]:
                return [refusal.reason] if isinstance(refusal.reason, str) else list(refusal.reason(hit))
        return []

    def refusals(self) -> list[Refusal]:
        """In the order in which kube-scheduler runs its filters."""
        assessment = self.assessment
        never = np.zeros_like(self.snapshot.alive)
        always = ~never
        present = np.bincount(assessment.refusal, minlength=len(STATIC_FILTERS) + 1).tolist()
        found = [
            Refusal(plugin, self._static_reason(plugin, reason), assessment.refusal == number, never)
            for number, (plugin, reason) in enumerate(STATIC_FILTERS, 1)
            if present[number]
        ]
        if assessment.demand.ports and "NodePorts" in self._filters:
            found.append(Refusal("NodePorts", NO_PORTS, assessment.ports_taken(), always))
        if "NodeResourcesFit" in self._filters:
            lacking = assessment.lacking()

            def counts(hit: Bools) -> dict[str, int]:
                return self._lack_counts(lacking, assessment.numbers, hit)

            found.append(Refusal("NodeResourcesFit", counts, any_line(lacking), ~any_line(assessment.hopeless())))
        found += self._extra
        spread, affinity = self.spread_refusal, self.affinity_refusal
        if spread is not None:
            found.append(Refusal("PodTopologySpread", SPREAD_LABEL, spread.unlabelled, never))
            found.append(Refusal("PodTopologySpread", SPREAD, spread.forbidden, always))
        if affinity is not None:
            found.append(Refusal("InterPodAffinity", AFFINITY, affinity.unmet, never))
            found.append(Refusal("InterPodAffinity", ANTI_AFFINITY, affinity.repelled, always))
            found.append(Refusal("InterPodAffinity", EXISTING_ANTI_AFFINITY, affinity.unwelcome, always))
        return found

    def _static_reason(self, plugin: str, reason: str) -> str:
        if plugin == "NodeAffinity" and self.assessment.demand.names_nodes:
            return NOT_NAMED
        enforced = plugin == "NodeAffinity" and self.assessment.profile.added_affinity is not None
        return ENFORCED if enforced else reason

    def _lack_counts(self, lacking: Bools, numbers: Ints, hit: Bools) -> dict[str, int]:
        names = {number: name for name, number in self.snapshot.resources.numbers.items()}
        totals = zip(numbers.tolist(), lacking[:, hit].sum(axis=1).tolist(), strict=True)
        return {_lack_reason(number, names): total for number, total in totals if total}


_SCORERS: tuple[tuple[str, Callable[[View], Scores | None]], ...] = (
    ("TaintToleration", View._taints),
    ("NodeAffinity", View._node_affinity),
    ("NodeResourcesFit", View._fit),
    ("NodeResourcesBalancedAllocation", View._balance),
    ("PodTopologySpread", View._spread),
    ("InterPodAffinity", View._pod_affinity),
    ("ImageLocality", View._image_locality),
)
"""In kube-scheduler's order."""
