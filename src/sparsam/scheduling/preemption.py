"""Which pods to end so that a more important one fits: kube-scheduler's DefaultPreemption.

On each node where room could help: take all pods of lower priority away, see whether the pod fits, then give back as
many as possible, those first whose PodDisruptionBudget would be violated and those of higher priority. Of the nodes,
the one with the fewest violations, then the lowest highest priority among victims, the lowest sum of priorities, the
fewest victims, the youngest victims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.scheduling.columns import Bools
from sparsam.scheduling.plan import Preempt
from sparsam.scheduling.snapshot import PODS, Resident
from sparsam.scheduling.view import TOO_MANY_PODS, View, rivals_for_room
from sparsam.scheduling.volumes import extra_refusals

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER = "not eligible due to preemptionPolicy=Never."
WAITING = "not eligible due to terminating pods on the nominated node."
LEAST_CANDIDATES = 100
CANDIDATES_RATIO = 0.1
"""At most so many nodes are tried, and at least LEAST_CANDIDATES: DefaultPreemptionArgs' defaults."""
_LOWEST_PRIORITY = -(1 << 31)


@dataclass(slots=True)
class Budgets:
    """PodDisruptionBudgets: namespace, selector and how many disruptions each still allows."""

    budgets: dict[tuple[str, str], tuple[str, LabelSelector, int, frozenset[str]]] = field(default_factory=dict)

    def put(self, budget: Mapping[str, Any]) -> None:
        """Take over a PodDisruptionBudget."""
        metadata, status = budget["metadata"], budget.get("status") or {}
        selector = parse_label_selector_object((budget.get("spec") or {}).get("selector"))
        disrupted = frozenset(status.get("disruptedPods") or ())
        allowed = status.get("disruptionsAllowed") or 0
        self.budgets[metadata["namespace"], metadata["name"]] = (metadata["namespace"], selector, allowed, disrupted)

    def remove(self, namespace: str, name: str) -> None:
        """Forget one."""
        self.budgets.pop((namespace, name), None)

    def violating(self, pods: Iterable[Resident]) -> set[str]:
        """Keys of the pods whose end, in this order, no budget allows."""
        left = {key: allowed for key, (_, _, allowed, _) in self.budgets.items()}
        found: set[str] = set()
        for pod in pods:
            labels = dict(pod.demand.labels)
            if not labels:
                continue
            for key, (namespace, selector, _, disrupted) in self.budgets.items():
                if namespace != pod.demand.namespace or selector.is_everything or not selector.matches(labels):
                    continue
                if pod.key.partition("/")[2] in disrupted:
                    continue
                left[key] -= 1
                if left[key] < 0:
                    found.add(pod.key)
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What preemption can do for a pod: what to end, or why not, by reason."""

    preempt: Preempt | None
    reasons: dict[str, int]


def preempt(view: View, pod: str, priority: int, budgets: Budgets, resolvable: Bools) -> Outcome:
    """Find the cheapest victims; the snapshot is as it was afterwards.

    `resolvable` says on which nodes making room could help.
    """
    snapshot = view.snapshot
    make_trial = _WholeTrial if _depends_on_pods(view) else _RoomTrial
    reasons: Counter[str] = Counter()
    hopeless = snapshot.node_count() - int(resolvable.sum())
    if hopeless:
        reasons[NOT_HELPFUL] = hopeless
    candidates: list[tuple[tuple[Any, ...], Preempt]] = []
    rows = sorted((int(row) for row in np.flatnonzero(resolvable)), key=lambda row: snapshot.names[row])
    limit = max(LEAST_CANDIDATES, int(CANDIDATES_RATIO * snapshot.node_count()))
    for row in rows:
        lower = [each for each in snapshot.residents[row].values() if each.priority < priority]
        if not lower:
            reasons[NO_VICTIMS] += 1
            continue
        trial = make_trial(view, row, pod, priority)
        victims, violations, refused = _victims(trial, lower, budgets)
        if refused:
            reasons.update(refused)
            continue
        candidates.append(
            (
                _cost(victims, violations),
                Preempt(pod, snapshot.names[row], tuple(each.key for each in victims), violations),
            )
        )
        if len(candidates) >= limit:
            break
    if not candidates:
        return Outcome(None, dict(reasons))
    return Outcome(min(candidates, key=lambda each: each[0])[1], dict(reasons))


def _victims(trial: Trial, lower: list[Resident], budgets: Budgets) -> tuple[list[Resident], int, list[str]]:
    """(victims, how many violate a budget, reasons if even an empty node does not do)."""
    for each in lower:
        trial.take(each)
    refused = trial.refusals()
    if refused:
        for each in lower:
            trial.give_back(each)
        return [], 0, refused
    ordered = sorted(lower, key=lambda each: (-each.priority, each.started or "~", each.key))
    violating = budgets.violating(ordered)
    victims: list[Resident] = []
    violations = 0
    for each in sorted(ordered, key=lambda each: each.key not in violating):
        trial.give_back(each)
        if trial.refusals():
            trial.take(each)
            victims.append(each)
            violations += each.key in violating
    for each in victims:
        trial.give_back(each)
    victims.sort(key=lambda each: (-each.priority, each.started or "~"))
    return victims, violations, []


class Trial(Protocol):
    """One node from which pods are taken for a try."""

    def take(self, pod: Resident) -> None:
        """As if the pod were gone."""

    def give_back(self, pod: Resident) -> None:
        """As if it were there again."""

    def refusals(self) -> list[str]:
        """Reasons for which the node does not take the new pod now; none if it does."""


class _WholeTrial:
    """Asks every filter, on the snapshot itself."""

    def __init__(self, view: View, row: int, pod: str, priority: int) -> None:
        self._snapshot, self._assessment, self._row = view.snapshot, view.assessment, row
        self._pod, self._priority = pod, priority

    def take(self, pod: Resident) -> None:
        """As if the pod were gone."""
        self._snapshot.remove_pod(pod.key)

    def give_back(self, pod: Resident) -> None:
        """As if it were there again."""
        self._snapshot.assume(pod)

    def refusals(self) -> list[str]:
        """Of all filters."""
        self._assessment.refresh()
        extra = extra_refusals(self._snapshot, self._assessment, self._pod, self._priority)
        view = View(self._snapshot, self._assessment, extra)
        return [] if view.feasible[self._row] else view.reasons_on(self._row)


class _RoomTrial:
    """Counts resources alone, for pods that depend on nothing else there."""

    def __init__(self, view: View, row: int, pod: str, priority: int) -> None:
        snapshot, assessment = view.snapshot, view.assessment
        self._numbers = {number: place for place, number in enumerate(assessment.numbers.tolist())}
        self._names = {number: name for name, number in snapshot.resources.numbers.items()}
        self._resources = snapshot.resources
        numbers = assessment.numbers
        free = snapshot.allocatable[numbers, row] - snapshot.requested[numbers, row] - assessment.amounts[:, 0]
        self._free: list[int] = free.tolist()
        for each in rivals_for_room(snapshot, pod, priority):
            if each.node == snapshot.names[row]:
                self.give_back(each)

    def take(self, pod: Resident) -> None:
        """As if the pod were gone."""
        self._add(pod, +1)

    def give_back(self, pod: Resident) -> None:
        """As if it were there again."""
        self._add(pod, -1)

    def refusals(self) -> list[str]:
        """Resources of which too little is free."""
        if min(self._free) >= 0:
            return []
        lacking = [number for number, place in self._numbers.items() if self._free[place] < 0]
        return [TOO_MANY_PODS if number == PODS else f"Insufficient {self._names[number]}" for number in lacking]

    def _add(self, pod: Resident, sign: int) -> None:
        self._free[self._numbers[PODS]] += sign
        for name, amount in pod.demand.requests:
            place = self._numbers.get(self._resources.known(name))
            if place is not None:
                self._free[place] += sign * amount


def _depends_on_pods(view: View) -> bool:
    """Whether anything but room decides where other pods go."""
    demand = view.assessment.demand
    return bool(demand.ports or demand.volumes) or view.spread_refusal is not None or view.affinity_refusal is not None


def _cost(victims: list[Resident], violations: int) -> tuple[Any, ...]:
    priorities = [each.priority - _LOWEST_PRIORITY + 1 for each in victims]
    highest = max(priorities)
    oldest = min((each.started or "~") for each, number in zip(victims, priorities, strict=True) if number == highest)
    return (violations, highest, sum(priorities), len(victims), _later_first(oldest))


def _later_first(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)
