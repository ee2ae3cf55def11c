"""Node selector terms and taints over many nodes at once. `rows` picks nodes; results are in its order."""

from __future__ import annotations

import numpy as np

from sparsam.scheduling.columns import ABSENT, Bools, Ints, Rows
from sparsam.scheduling.demand import PodDemand, Requirement, Term
from sparsam.scheduling.snapshot import Snapshot


def untolerated(snapshot: Snapshot, demand: PodDemand, effects: tuple[str, ...], rows: Rows | slice) -> Ints:
    """How many taints of these effects on each node the pod does not tolerate."""
    lines = [
        number
        for taint, number in snapshot.taints.numbers.items()
        if taint.effect in effects and not any(each.tolerates(taint) for each in demand.tolerations)
    ]
    return np.asarray(snapshot.tainted[lines][:, rows].sum(axis=0), dtype=np.int64)


def required_mask(
    snapshot: Snapshot, demand: PodDemand, rows: Rows | slice, added: tuple[Term, ...] | None = None
) -> Bools:
    """Nodes that the pod's nodeSelector and required node affinity allow, and the profile's `added` affinity."""
    mask = np.ones(snapshot.alive[rows].shape, np.bool_)
    for key, value in demand.selector:
        mask &= _requirement_mask(snapshot, Requirement(key, "In", (value,)), rows)
    for terms in (demand.required, added):
        if terms is not None:
            mask &= any_term(snapshot, terms, rows)
    return mask


def any_term(snapshot: Snapshot, terms: tuple[Term, ...], rows: Rows | slice) -> Bools:
    """Nodes for which one of the terms holds."""
    mask = np.zeros(snapshot.alive[rows].shape, np.bool_)
    for term in terms:
        mask |= term_mask(snapshot, term, rows)
    return mask


def term_mask(snapshot: Snapshot, term: Term, rows: Rows | slice) -> Bools:
    """Nodes for which every requirement of a term holds; an empty term matches none."""
    mask = np.full(snapshot.alive[rows].shape, bool(term.requirements))
    for requirement in term.requirements:
        mask &= _requirement_mask(snapshot, requirement, rows)
    return mask


def _requirement_mask(snapshot: Snapshot, requirement: Requirement, rows: Rows | slice) -> Bools:
    if requirement.on_field:
        # The only field that Kubernetes allows here is metadata.name.
        named = np.zeros(len(snapshot.names), np.bool_)
        named[[snapshot.rows[name] for name in requirement.values if name in snapshot.rows]] = True
        return named[rows] if requirement.operator == "In" else ~named[rows]
    whole = snapshot.labels.columns.get(requirement.key)
    column = np.full(snapshot.alive[rows].shape, ABSENT, np.int64) if whole is None else whole[rows]
    match requirement.operator:
        case "Exists":
            return np.not_equal(column, ABSENT)
        case "DoesNotExist":
            return np.equal(column, ABSENT)
        case "In" | "NotIn":
            return _among(snapshot, column, requirement)
        case "Gt" | "Lt":
            return _compare(snapshot, column, requirement)
        case _:
            return np.zeros(column.shape, np.bool_)


def _among(snapshot: Snapshot, column: Ints, requirement: Requirement) -> Bools:
    known = [snapshot.labels.values.known(value) for value in requirement.values]
    wanted = [number for number in known if number != ABSENT]
    # One comparison is an order of magnitude cheaper than a search, and most selectors name one value.
    found = np.equal(column, wanted[0]) if len(wanted) == 1 else np.isin(column, wanted)
    return found if requirement.operator == "In" else ~found


def _compare(snapshot: Snapshot, column: Ints, requirement: Requirement) -> Bools:
    """Gt and Lt compare whole numbers; a label or value that is none matches nothing."""
    bound = _whole(requirement.values[0]) if len(requirement.values) == 1 else None
    if bound is None:
        return np.zeros(column.shape, np.bool_)
    greater = requirement.operator == "Gt"
    passing = [
        number
        for value, number in snapshot.labels.values.numbers.items()
        if (whole := _whole(value)) is not None and (whole > bound if greater else whole < bound)
    ]
    return np.isin(column, passing)


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
