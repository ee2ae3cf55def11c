"""NodeResourcesFit's and NodeResourcesBalancedAllocation's scores, in upstream's integer arithmetic.

Every function answers 0 to 100 for the rows picked, in their order.
"""

from __future__ import annotations

import numpy as np

from sparsam.scheduling.columns import Floats, Ints, Rows
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.profile import FitStrategy
from sparsam.scheduling.snapshot import CPU, MEMORY, Snapshot

FULL = 100
_SHAPE_TOP = 10


def fit_scores(snapshot: Snapshot, demand: PodDemand, strategy: FitStrategy, rows: Rows | slice) -> Ints:
    """How much is left (or used) once the pod is there; resources that a node lacks or the pod leaves out count not."""
    total: Ints = np.zeros(snapshot.alive[rows].shape, np.int64)
    weights: Ints = np.zeros_like(total)
    for name, weight in strategy.resources:
        used_capacity = _used_with_stand_ins(snapshot, demand, name, rows)
        if used_capacity is None:
            continue
        used, capacity = used_capacity
        there = capacity > 0
        scores = _SCORERS[strategy.kind](used, np.maximum(capacity, 1), strategy)
        counted = there & (scores > 0) if strategy.kind == "RequestedToCapacityRatio" else there
        total += np.where(counted, weight * scores, 0)
        weights += weight * counted
    if strategy.kind == "RequestedToCapacityRatio":
        return np.floor(total / np.maximum(weights, 1) + 0.5).astype(np.int64)
    return total // np.maximum(weights, 1)


def balanced_scores(snapshot: Snapshot, demand: PodDemand, resources: tuple[str, ...], rows: Rows | slice) -> Ints:
    """How much more (above 75) or less alike the resources are used with the pod there than without it.

    Fitted to the recorded scores of kube-scheduler 1.36, which rates the change and no longer the outcome.
    """
    change = _balance(snapshot, demand, resources, rows) - _balance(snapshot, None, resources, rows)
    return (change + FULL + FULL // 2) // 2


def _balance(snapshot: Snapshot, demand: PodDemand | None, resources: tuple[str, ...], rows: Rows | slice) -> Ints:
    """100 when all resources are used alike, less by the standard deviation of their shares."""
    fractions = []
    for name in resources:
        number = snapshot.resources.known(name)
        if number < 0:
            continue
        capacity = snapshot.allocatable[number, rows]
        used = snapshot.requested[number, rows] + (demand.amount(name) if demand else 0)
        share = np.minimum(used / np.maximum(capacity, 1), 1.0)
        fractions.append(np.where(capacity > 0, share, np.nan))
    spread = np.abs((fractions[0] - fractions[1]) / 2.0) if len(fractions) == 2 else _deviation(np.array(fractions))
    spread = np.where(np.isnan(spread), 0.0, spread)
    return np.asarray(((1.0 - spread) * FULL).astype(np.int64))


def _deviation(fractions: Floats) -> Floats:
    there = ~np.isnan(fractions)
    counts = there.sum(axis=0)
    filled = np.where(there, fractions, 0.0)
    mean = filled.sum(axis=0) / np.maximum(counts, 1)
    squares = np.where(there, (filled - mean) ** 2, 0.0).sum(axis=0)
    return np.where(counts >= 2, np.sqrt(squares / np.maximum(counts, 1)), 0.0)


def _used_with_stand_ins(
    snapshot: Snapshot, demand: PodDemand, name: str, rows: Rows | slice
) -> tuple[Ints, Ints] | None:
    """What is used with the pod there, and the capacity; None for a scalar resource that the pod does not ask for."""
    if name == "cpu":
        return snapshot.scored[0, rows] + demand.scored_cpu_millicores, snapshot.allocatable[CPU, rows]
    if name == "memory":
        return snapshot.scored[1, rows] + demand.scored_memory_bytes, snapshot.allocatable[MEMORY, rows]
    number, amount = snapshot.resources.known(name), demand.amount(name)
    if number < 0 or not amount:
        return None
    return snapshot.requested[number, rows] + amount, snapshot.allocatable[number, rows]


def _least(used: Ints, capacity: Ints, _: FitStrategy) -> Ints:
    return np.where(used > capacity, 0, (capacity - used) * FULL // capacity)


def _most(used: Ints, capacity: Ints, _: FitStrategy) -> Ints:
    return np.minimum(used, capacity) * FULL // capacity


def _ratio(used: Ints, capacity: Ints, strategy: FitStrategy) -> Ints:
    utilization = np.where(used > capacity, FULL, used * FULL // capacity)
    result = np.full(utilization.shape, strategy.shape[-1][1] * FULL // _SHAPE_TOP, np.int64)
    # From the last segment to the first, so that each load gets the first segment that ends at or above it.
    for (before, low), (at, high) in reversed([*zip(strategy.shape, strategy.shape[1:], strict=False)]):
        low, high = low * FULL // _SHAPE_TOP, high * FULL // _SHAPE_TOP
        steps = (high - low) * (utilization - before)
        # Go's division cuts towards zero.
        inside = low + np.sign(steps) * (np.abs(steps) // (at - before))
        result = np.where(utilization <= at, inside, result)
    first, lowest = strategy.shape[0]
    return np.where(utilization <= first, lowest * FULL // _SHAPE_TOP, result)


_SCORERS = {"LeastAllocated": _least, "MostAllocated": _most, "RequestedToCapacityRatio": _ratio}
