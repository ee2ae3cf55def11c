"""How good each feasible node is for a pod: weighted scores in 0..100, watts first.

Every function takes and returns arrays of shape (rows,); infeasible rows hold numbers without meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsam.power.server import marginal_watts
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.feasibility import term_mask, untolerated
from sparsam.scheduling.snapshot import CPU, MEMORY, Bools, Floats, Ints, Snapshot

FULL = 100.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Weights of the scores. The user's own preferences keep upstream's weights; watts outweigh spreading."""

    watts_weight: float = 5.0
    least_allocated_weight: float = 1.0
    balanced_weight: float = 1.0
    node_affinity_weight: float = 2.0
    taint_weight: float = 3.0


@dataclass(frozen=True, slots=True)
class Scores:
    """The weighted total and the predicted extra watts behind it, shape (rows,)."""

    total: Floats
    watts_delta: Floats


def score(
    snapshot: Snapshot, demand: PodDemand, policy: Policy, *, feasible: Bools, requested: Ints, scored: Ints
) -> Scores:
    """Score all nodes, given what they hold now."""
    added = np.array((demand.scored_cpu_millicores, demand.scored_memory_bytes), np.float64)
    capacity = np.maximum(snapshot.allocatable[:, [CPU, MEMORY]].astype(np.float64), 1.0)
    watts_delta = marginal_watts(
        snapshot.idle_watts, snapshot.max_watts, scored[:, 0] / capacity[:, 0], added[0] / capacity[:, 0]
    )
    exact = np.array((demand.amount("cpu"), demand.amount("memory")), np.float64)
    total = (
        policy.watts_weight * _fewest(watts_delta, feasible)
        + policy.least_allocated_weight * least_allocated((scored + added) / capacity)
        + policy.balanced_weight * balanced((requested[:, [CPU, MEMORY]] + exact) / capacity)
        + policy.taint_weight * _preferred_taints(snapshot, demand, feasible)
        + policy.node_affinity_weight * _preferred_affinity(snapshot, demand, feasible)
    )
    return Scores(total, watts_delta)


def least_allocated(fractions: Floats) -> Floats:
    """Mean free share in percent, from allocated fractions of shape (rows, resources)."""
    return np.asarray(FULL * np.clip(1.0 - fractions, 0.0, 1.0).mean(axis=1), dtype=np.float64)


def balanced(fractions: Floats) -> Floats:
    """100 when all resources are allocated alike, less by their standard deviation."""
    return np.asarray(FULL * (1.0 - np.clip(fractions, 0.0, 1.0).std(axis=1)), dtype=np.float64)


def _fewest(watts: Floats, feasible: Bools) -> Floats:
    """100 for the fewest watts, less by the excess as a share of the most, so that a small excess costs little."""
    of_interest = watts[feasible]
    if not len(of_interest) or of_interest.max() <= 0.0:
        return np.full(len(watts), FULL)
    return np.asarray(FULL * (1.0 - (watts - of_interest.min()) / of_interest.max()), dtype=np.float64)


def _preferred_taints(snapshot: Snapshot, demand: PodDemand, feasible: Bools) -> Floats:
    disliked = untolerated(snapshot, demand, ("PreferNoSchedule",)).astype(np.float64)
    worst = disliked[feasible].max(initial=0.0)
    return FULL - FULL * disliked / worst if worst else np.full(len(disliked), FULL)


def _preferred_affinity(snapshot: Snapshot, demand: PodDemand, feasible: Bools) -> Floats:
    liked = np.zeros(len(snapshot.names))
    for term in demand.preferred:
        liked += term.weight * term_mask(snapshot, term)
    best = liked[feasible].max(initial=0.0)
    return FULL * liked / best if best else liked
