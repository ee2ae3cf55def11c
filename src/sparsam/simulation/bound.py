"""The least energy that any scheduler could use for a trace, by a continuous relaxation at every moment.

At each moment the work in progress may be spread over all servers in any shares, moved at no cost, and servers may
sleep and wake at once and for nothing. What that leaves is a continuous knapsack: the steps of all servers' convex
envelopes, the cheapest first (Dantzig, "Discrete-variable extremum problems", Operations Research 1957). Memory, cards,
affinity and the wholeness of pods are ignored, so no scheduler that starts work when it comes can do better. Batch
counts at its pace on a core of speed 1; faster cores do the same work in less time at a higher rate, which on average
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.columns import Floats
from sparsam.scheduling.curvetables import STEPS, envelope
from sparsam.simulation.trace import Trace


@dataclass(frozen=True, slots=True)
class FleetCost:
    """The least watts of a fleet for a rate of work: straight between breakpoints, convex."""

    rates: Floats
    """Millicores of cores of speed 1, ascending from 0 to all that the fleet has."""
    watts: Floats

    def at(self, rate: Floats) -> Floats:
        """Least watts for these rates; what is beyond the fleet cannot be done and is left out."""
        return np.interp(rate, self.rates, self.watts)


def fleet_cost(curves: Floats, capacity: Floats, asleep_watts: Floats | None = None) -> FleetCost:
    """Of servers with curves (nodes, STEPS + 1) and capacities (nodes,); with `asleep_watts` the idle ones sleep."""
    starts = curves[:, 0] if asleep_watts is None else np.minimum(asleep_watts, curves[:, 0])
    lines = {curve.tobytes(): envelope(curve) for curve in np.column_stack((starts, curves[:, 1:]))}
    envelopes = np.array([lines[curve.tobytes()] for curve in np.column_stack((starts, curves[:, 1:]))])
    rises = np.diff(envelopes, axis=1).ravel()
    sizes = np.repeat(capacity / STEPS, STEPS)
    order = np.argsort(rises / sizes, kind="stable")
    rates = np.concatenate(([0.0], np.cumsum(sizes[order])))
    return FleetCost(rates, starts.sum() + np.concatenate(([0.0], np.cumsum(rises[order]))))


def demand_over_time(trace: Trace, millicores: Floats) -> tuple[Floats, Floats]:
    """(moments, rate of work from each moment to the next) if every pod ran from its arrival, up to the horizon."""
    horizon = trace.horizon_seconds
    begin = np.minimum(trace.arrival_seconds, horizon)
    end = np.minimum(trace.arrival_seconds + trace.duration_seconds, horizon)
    moments = np.concatenate((begin, end, [0.0, horizon]))
    changes = np.concatenate((millicores, -millicores, [0.0, 0.0]))
    order = np.argsort(moments, kind="stable")
    return moments[order], np.maximum(np.cumsum(changes[order]), 0.0)


def least_joules(trace: Trace, millicores: Floats, cost: FleetCost) -> float:
    """The bound for a trace whose pods use so much on average; their series, where they have some, are averaged.

    Averaging over time makes the bound lower, never higher, since the cost is convex.
    """
    moments, rate = demand_over_time(trace, millicores)
    return float((cost.at(rate[:-1]) * np.diff(moments)).sum())
