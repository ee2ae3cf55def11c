"""From pending pods to a Plan: filter, rank, choose, reserve, one pod after the other.

Deterministic: the same nodes and pods give the same Plan whatever order the nodes came in. Equal totals are
broken by `tie_rank`, a fixed hash of the node's name, then by the name itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from sparsam.scheduling.assessment import Assessment
from sparsam.scheduling.columns import Bools, Rows
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.plan import Bind, Blocked, Candidate, Plan, Rejection
from sparsam.scheduling.policy import Policy, Ranking
from sparsam.scheduling.preemption import NEVER, NOT_HELPFUL, WAITING, Budgets, preempt
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.view import View
from sparsam.scheduling.volumes import Fault, extra_refusals, fault_of, promises
from sparsam.scheduling.watts import SparsamPolicy

GROUP_LABEL = "pod-group.scheduling.sigs.k8s.io/name"
"""Pods that share it are a group."""
RANKED = 4
"""So many of the best nodes are told, where a plan explains."""
CACHE_BYTES = 256 << 20
DIGITS = 6
MANY = 32
"""So many candidates are sorted one by one; only the first of more."""


class PendingPod(NamedTuple):
    """A pod that waits for a node, in the order in which it is to be served."""

    key: str
    """`namespace/name`."""
    demand: PodDemand
    priority: int = 0
    preempts: bool = True
    """False for preemptionPolicy Never."""
    group: str = ""
    """Pods of one group, one after the other in the queue, are placed all or none."""
    group_minimum: int = 0
    """So many of the group must be placed for any to be; 0 for all that are there."""
    nominated: str = ""
    """The node on which room was made for it."""
    note: str = ""
    """What is wrong with the pod itself; then no node is looked at."""


class Placer:
    """Places pods of one profile by one policy on a snapshot, in which it reserves what it decides."""

    def __init__(
        self,
        snapshot: Snapshot,
        policy: Policy | None = None,
        profile: Profile | None = None,
        *,
        budgets: Budgets | None = None,
        explains: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self.policy: Policy = policy or SparsamPolicy()
        self.budgets = budgets or Budgets()
        self._profile = self.policy.profile(profile or Profile())
        self._explains = explains
        self._assessments: OrderedDict[PodDemand, Assessment] = OrderedDict()
        self._bytes = 0

    def schedule(self, pending: Iterable[PendingPod]) -> Plan:
        """Decide for each pending pod. What is bound is counted in the snapshot from then on (`Snapshot.assume`)."""
        decisions: list[Bind | Rejection] = []
        for group, members in groupby(pending, key=attrgetter("group")):
            pods = list(members)
            decisions += self._all_or_none(pods) if group else map(self._decide, pods)
        binds = [each for each in decisions if isinstance(each, Bind)]
        rejections = [each for each in decisions if isinstance(each, Rejection)]
        return Plan(tuple(binds), tuple(rejections))

    def view(self, pod: PendingPod) -> View:
        """The pod before all nodes, up to date."""
        assessment = self._assessment(pod.demand)
        return View(self.snapshot, assessment, extra_refusals(self.snapshot, assessment, pod.key, pod.priority))

    def consider(self, pod: PendingPod) -> Bind | Rejection:
        """What would be decided, without reserving anything."""
        if pod.note:
            return Rejection(pod.key, self.snapshot.node_count(), note=pod.note)
        if pod.demand.volumes and (fault := fault_of(self.snapshot, pod.demand, pod.key)):
            return self._faulty(pod, fault)
        view = self.view(pod)
        feasible = view.feasible_rows
        nominated = self.snapshot.rows.get(pod.nominated)
        if nominated is not None and view.feasible[nominated]:
            # The room was made for this pod: nothing else is asked.
            feasible = np.array([nominated])
        count = len(feasible)
        if not count:
            return self._reject(view, pod)
        ranking = self.policy.rank(view, pod.key)
        rows = _best_rows(self.snapshot, feasible, ranking.total, min(RANKED if self._explains else 1, count))
        return self._bind(view, pod, ranking, rows, count)

    def _decide(self, pod: PendingPod) -> Bind | Rejection:
        decision = self.consider(pod)
        if isinstance(decision, Bind):
            self.snapshot.nominees.pop(pod.key, None)
            if pod.demand.volumes:
                promised = promises(self.snapshot, pod.demand, pod.key, decision.node)
                decision = decision._replace(promises=promised)
                self.snapshot.storage.promise(promised)
            self.snapshot.assume(Resident(pod.key, decision.node, pod.demand, pod.priority))
        elif decision.preempt is not None:
            self.snapshot.nominees[pod.key] = Resident(pod.key, decision.preempt.node, pod.demand, pod.priority)
        return decision

    def _all_or_none(self, members: list[PendingPod]) -> list[Bind | Rejection]:
        decisions = [self._decide(pod) for pod in members]
        placed = [each for each in decisions if isinstance(each, Bind)]
        needed = max((pod.group_minimum for pod in members), default=0) or len(members)
        if len(placed) >= needed:
            return decisions
        for bind in placed:
            self.snapshot.remove_pod(bind.pod)
            self.snapshot.storage.break_promises(bind.pod)
        note = f"pod group {members[0].group}: room for {len(placed)} of the {needed} pods that must run together"
        return [
            Rejection(each.pod, self.snapshot.node_count(), plugins=frozenset({"GangScheduling"}), note=note)
            if isinstance(each, Bind)
            else replace(each, plugins=each.plugins | {"GangScheduling"})
            for each in decisions
        ]

    def _assessment(self, demand: PodDemand) -> Assessment:
        assessment = self._assessments.get(demand)
        if assessment is None:
            assessment = Assessment(self.snapshot, demand, self._profile, self.policy.row_columns)
            self._assessments[demand] = assessment
            assessment.refresh()
            self._bytes += assessment.bytes
            while self._bytes > CACHE_BYTES and len(self._assessments) > 1:
                self._bytes -= self._assessments.popitem(last=False)[1].bytes
        else:
            self._assessments.move_to_end(demand)
            assessment.refresh()
        return assessment

    # -- telling --------------------------------------------------------------------------------------------

    def _bind(self, view: View, pod: PendingPod, ranking: Ranking, rows: list[int], count: int) -> Bind:
        snapshot, row = self.snapshot, rows[0]
        watts = ranking.watts_delta
        ranked = []
        for each in rows:
            added = None if watts is None else round(float(watts[each]), 3)
            parts = _parts(ranking, each) if self._explains else {}
            ranked.append(Candidate(snapshot.names[each], round(float(ranking.total[each]), 3), added, parts))
        return Bind(
            pod=pod.key,
            ranked=tuple(ranked),
            estimated=bool(snapshot.power.estimated[row]),
            feasible_nodes=count,
            rejected=view.verdict().counts if self._explains else {},
            blocked=self._blocked(view, ranking, row) if self._explains and watts is not None else None,
            policy=self.policy.name,
        )

    def _blocked(self, view: View, ranking: Ranking, row: int) -> Blocked | None:
        """The node of fewest watts that a constraint keeps the pod from, if it beats the chosen one."""
        watts = ranking.watts_delta
        refused = np.flatnonzero(self.snapshot.alive & ~view.feasible)
        if watts is None or not len(refused):
            return None
        best = _best_rows(self.snapshot, refused, -watts, 1)[0]
        saved = round(float(watts[row] - watts[best]), 3)
        if saved <= 0.0:
            return None
        return Blocked(self.snapshot.names[best], "; ".join(view.reasons_on(best)), saved)

    def _faulty(self, pod: PendingPod, fault: Fault) -> Rejection:
        """No node can help, and neither can the end of other pods."""
        count = self.snapshot.node_count()
        preemption = {NOT_HELPFUL: count} if pod.preempts else NEVER
        return Rejection(pod.key, count, plugins=frozenset({fault.plugin}), note=fault.why, preemption=preemption)

    def _reject(self, view: View, pod: PendingPod) -> Rejection:
        verdict = view.verdict()
        rejection = Rejection(
            pod.key, self.snapshot.node_count(), counts=verdict.counts, plugins=frozenset(verdict.plugins)
        )
        if not pod.preempts:
            return replace(rejection, preemption=NEVER)
        if self._room_is_being_made(pod, verdict.resolvable):
            return replace(rejection, preemption=WAITING)
        outcome = preempt(view, pod.key, pod.priority, self.budgets, verdict.resolvable)
        return replace(rejection, preemption=outcome.reasons, preempt=outcome.preempt)

    def _room_is_being_made(self, pod: PendingPod, resolvable: Bools) -> bool:
        """Whether victims on the nominated node are still leaving."""
        row = self.snapshot.rows.get(pod.nominated)
        if row is None or not resolvable[row]:
            return False
        return any(each.terminating and each.priority < pod.priority for each in self.snapshot.residents[row].values())


def _best_rows(snapshot: Snapshot, rows: Rows, total: Any, count: int) -> list[int]:
    """The best of these rows, best first."""
    rows = _leading(rows, total.take(rows), count)
    if len(rows) == 1:
        return [int(rows[0])]
    # Rounding keeps the order of additions, which may differ between machines, out of the decision.
    losses, ranks = -np.rint(total.take(rows) * 10.0**DIGITS), snapshot.tie_rank.take(rows)
    if len(rows) > MANY:
        order = np.lexsort((ranks, losses))
        last = order[count - 1]
        # Names decide between those of equal rank, which may be among the next.
        order = order[: count + int(np.count_nonzero((losses == losses[last]) & (ranks == ranks[last]))) - 1]
        rows, losses, ranks = rows[order], losses[order], ranks[order]
    found = rows.tolist()
    ranked = sorted(zip(losses.tolist(), ranks.tolist(), [snapshot.names[row] for row in found], found, strict=True))
    return [row for *_, row in ranked[:count]]


def _leading(rows: Rows, totals: Any, count: int) -> Rows:
    """Of these rows all that may be among the best `count`: those little below the last of them."""
    last = np.maximum.reduce(totals) if count == 1 else np.partition(totals, len(totals) - count)[len(totals) - count]
    return np.asarray(rows[(totals >= last - 2.0 * 10.0**-DIGITS).nonzero()[0]])


def _parts(ranking: Ranking, row: int) -> dict[str, float]:
    values = {name: part[row] if np.ndim(part) else part for name, part in ranking.parts.items()}
    return {name: round(float(value), 2) for name, value in values.items()}
