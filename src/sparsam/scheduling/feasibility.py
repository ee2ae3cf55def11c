"""Which nodes may take a pod, and why the others may not: masks over all nodes at once.

The filters, their order and their texts are those of kube-scheduler 1.36. As there, a node is counted under
the first filter that refuses it; the resource filter alone may give several reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.demand import HARD_EFFECTS, PodDemand, Requirement, Taint, Term
from sparsam.scheduling.snapshot import ABSENT, PODS, Bools, Ints, Snapshot

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Shape (rows,): `feasible` nodes, nodes where making room could help, and a count for each reason."""

    feasible: Bools
    resolvable: Bools
    counts: dict[str, int]


def judge(snapshot: Snapshot, demand: PodDemand, requested: Ints, port_users: Ints) -> Verdict:
    """Run every filter over all nodes, given what the nodes hold now (columns as in the snapshot)."""
    feasible = snapshot.alive.copy()
    resolvable = np.zeros_like(feasible)
    counts: dict[str, int] = {}
    for refused, reason, room_would_help in _filters(snapshot, demand, requested, port_users):
        hit = refused & feasible
        if hit.any():
            if callable(reason):
                counts.update(reason(hit))
            else:
                counts[reason] = int(hit.sum())
            resolvable |= hit & room_would_help
            feasible &= ~hit
    return Verdict(feasible, resolvable, counts)


Reason = str | Callable[[Bools], dict[str, int]]


def _filters(
    snapshot: Snapshot, demand: PodDemand, requested: Ints, port_users: Ints
) -> Iterator[tuple[Bools, Reason, Bools]]:
    """(refused, reason, nodes where room would help) of each filter that applies to the pod."""
    never = np.zeros_like(snapshot.alive)
    if not any(toleration.tolerates(UNSCHEDULABLE_TAINT) for toleration in demand.tolerations):
        yield snapshot.unschedulable, "node(s) were unschedulable", never
    if demand.node_name:
        elsewhere = np.ones_like(snapshot.alive)
        if demand.node_name in snapshot.rows:
            elsewhere[snapshot.rows[demand.node_name]] = False
        yield elsewhere, "node(s) didn't match the requested node name", never
    yield untolerated(snapshot, demand, HARD_EFFECTS) > 0, "node(s) had untolerated taint(s)", never
    if demand.selector or demand.required is not None:
        yield ~_matches_affinity(snapshot, demand), "node(s) didn't match Pod's node affinity/selector", never
    if demand.ports:
        # A port that was only ever asked for has a number but no column yet: nobody uses it.
        known = [number for number in snapshot.port_numbers(demand) if number < port_users.shape[1]]
        taken = port_users[:, known].sum(axis=1) > 0
        yield taken, "node(s) didn't have free ports for the requested pod ports", np.logical_not(never)
    lacking, hopeless = _lacking(snapshot, demand, requested)
    short: Bools = np.any(lacking, axis=1, keepdims=False)
    room_would_help: Bools = np.logical_not(np.any(hopeless, axis=1, keepdims=False))
    yield short, lambda hit: _lack_counts(snapshot, lacking, hit), room_would_help


def untolerated(snapshot: Snapshot, demand: PodDemand, effects: tuple[str, ...]) -> Ints:
    """How many taints of these effects on each node the pod does not tolerate, shape (rows,)."""
    numbers = [
        number
        for taint, number in snapshot.taints.numbers.items()
        if taint.effect in effects and not any(t.tolerates(taint) for t in demand.tolerations)
    ]
    return np.asarray(snapshot.tainted[:, numbers].sum(axis=1), dtype=np.int64)


def term_mask(snapshot: Snapshot, term: Term) -> Bools:
    """Nodes for which every requirement of a term holds; an empty term matches none."""
    mask = np.full(len(snapshot.names), bool(term.requirements))
    for requirement in term.requirements:
        mask &= _requirement_mask(snapshot, requirement)
    return mask


def _matches_affinity(snapshot: Snapshot, demand: PodDemand) -> Bools:
    mask = np.ones(len(snapshot.names), np.bool_)
    for key, value in demand.selector:
        mask &= _requirement_mask(snapshot, Requirement(key, "In", (value,)))
    if demand.required is not None:
        any_term = np.zeros_like(mask)
        for term in demand.required:
            any_term |= term_mask(snapshot, term)
        mask &= any_term
    return mask


def _requirement_mask(snapshot: Snapshot, requirement: Requirement) -> Bools:
    if requirement.on_field:
        # The only field that Kubernetes allows here is metadata.name.
        named = np.zeros(len(snapshot.names), np.bool_)
        named[[snapshot.rows[name] for name in requirement.values if name in snapshot.rows]] = True
        return named if requirement.operator == "In" else ~named
    column = snapshot.labels.get(requirement.key)
    if column is None:
        column = np.full(len(snapshot.names), ABSENT, np.int64)
    match requirement.operator:
        case "Exists":
            return np.not_equal(column, ABSENT)
        case "DoesNotExist":
            return np.equal(column, ABSENT)
        case "In" | "NotIn":
            wanted = [snapshot.label_values.known(value) for value in requirement.values]
            found = np.isin(column, [number for number in wanted if number != ABSENT])
            return found if requirement.operator == "In" else ~found
        case "Gt" | "Lt":
            return _compare(snapshot, column, requirement)
        case _:
            return np.zeros(len(snapshot.names), np.bool_)


def _compare(snapshot: Snapshot, column: Ints, requirement: Requirement) -> Bools:
    """Gt and Lt compare whole numbers; a label or value that is none matches nothing."""
    bound = _whole(requirement.values[0]) if len(requirement.values) == 1 else None
    if bound is None:
        return np.zeros(len(snapshot.names), np.bool_)
    greater = requirement.operator == "Gt"
    passing = [
        number
        for value, number in snapshot.label_values.numbers.items()
        if (whole := _whole(value)) is not None and (whole > bound if greater else whole < bound)
    ]
    return np.isin(column, passing)


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _lacking(snapshot: Snapshot, demand: PodDemand, requested: Ints) -> tuple[Bools, Bools]:
    """(lacking, hopeless), shape (rows, resources): too little is free; even an empty node has too little."""
    vector = snapshot.request_vector(demand)
    # A resource that the pod does not ask for is not checked, even on a node that is over-committed in it.
    asked = vector > 0
    if requested.shape[1] < len(vector):
        requested = np.pad(requested, ((0, 0), (0, len(vector) - requested.shape[1])))
    lacking = asked & (requested + vector > snapshot.allocatable)
    hopeless = asked & (vector > snapshot.allocatable)
    return lacking, hopeless


def _lack_counts(snapshot: Snapshot, lacking: Bools, hit: Bools) -> dict[str, int]:
    totals = lacking[hit].sum(axis=0)
    names = {number: f"Insufficient {name}" for name, number in snapshot.resources.numbers.items()}
    names[PODS] = "Too many pods"
    return {names[number]: int(total) for number, total in enumerate(totals) if total}
