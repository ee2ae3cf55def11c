"""The least energy that any scheduler could use for a trace, by a continuous relaxation.

At each moment the work in progress may be spread over all servers in any shares, moved at no cost, and servers may
sleep and wake at once and for nothing. What that leaves is a continuous knapsack: the steps of all servers' convex
envelopes, the cheapest first (Dantzig, "Discrete-variable extremum problems", Operations Research 1957).

Where servers may sleep, those awake must have room for what pods request, whatever they use of it. That is priced
(Lagrangian relaxation; Geoffrion, Mathematical Programming Study 2, 1974): for any price of a requested core, what the
priced fleet costs at least, plus the price of all requests, is a bound; the best of many prices is taken.

Memory, cards, affinity, the wholeness of pods, and which request a use belongs to are ignored, and every quantity is
averaged over minutes, which lowers a convex cost: no scheduler that starts work when it comes can do better. Batch
counts at its pace on a core of speed 1; faster cores do the same work in less time at a higher rate, which on average
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sparsam.scheduling.columns import Floats
from sparsam.scheduling.curvetables import STEPS, envelope
from sparsam.simulation.trace import Trace

WINDOW_SECONDS = 300.0
PRICES = 9
"""Tried for each kind of request, twice: over all that can matter, and around the best."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Kinds of servers; all of shape (kinds,) but for the curves."""

    curves: Floats
    """Watts at even steps of load, shape (kinds, STEPS + 1)."""
    capacity: Floats
    """Millicores of cores of speed 1."""
    millicores: Floats
    """What pods may request."""
    asleep_watts: Floats
    """What sleeping servers draw; the idle watts of those that cannot sleep."""
    counts: Floats

    @classmethod
    def of(cls, curves: Floats, capacity: Floats, millicores: Floats, asleep_watts: Floats | None = None) -> Servers:
        """Of single servers, equal ones as one kind; without `asleep_watts` none sleeps."""
        asleep = curves[:, 0] if asleep_watts is None else np.minimum(asleep_watts, curves[:, 0])
        facts = np.column_stack((curves, capacity, millicores, asleep))
        kinds, counts = np.unique(facts, axis=0, return_counts=True)
        return cls(kinds[:, :-3], kinds[:, -3], kinds[:, -2], kinds[:, -1], counts.astype(np.float64))

    @property
    def sleep(self) -> bool:
        """Whether any of them can."""
        return bool((self.asleep_watts < self.curves[:, 0]).any())


@dataclass(frozen=True, slots=True)
class FleetCost:
    """The least watts of a fleet for a rate of work: straight between breakpoints, convex."""

    rates: Floats
    """Millicores of cores of speed 1, ascending from 0 to all that the fleet has."""
    watts: Floats

    def at(self, rate: Floats) -> Floats:
        """Least watts for these rates; what is beyond the fleet cannot be done and is left out."""
        return np.interp(rate, self.rates, self.watts)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the pods of a trace take if each runs from its arrival: means over windows, all of shape (windows,)."""

    seconds: Floats
    """Length of each window."""
    used: Floats
    """Millicores of cores of speed 1."""
    services: Floats
    """Millicores that services request, on whatever core."""
    batch: Floats
    """Millicores of cores of speed 1 that batch work requests."""


def fleet_cost(servers: Servers) -> FleetCost:
    """The continuous knapsack over all steps of load; a server without load sleeps if it can."""
    lines = np.column_stack((np.minimum(servers.asleep_watts, servers.curves[:, 0]), servers.curves[:, 1:]))
    envelopes = np.array([envelope(line) for line in lines])
    rises = np.diff(envelopes, axis=1).ravel()
    sizes = np.repeat(servers.capacity / STEPS, STEPS)
    order = np.argsort(rises / sizes, kind="stable")
    counts = np.repeat(servers.counts, STEPS)[order]
    rates = np.concatenate(([0.0], np.cumsum(counts * sizes[order])))
    start = (servers.counts * lines[:, 0]).sum()
    return FleetCost(rates, start + np.concatenate(([0.0], np.cumsum(counts * rises[order]))))


def demand_over_time(trace: Trace, used: Floats, requested: Floats, servers: Servers) -> Demand:
    """Of pods that use and request so many millicores on average, up to the horizon.

    What the servers have no room for at a moment is left out: it cannot be done then.
    """
    horizon = trace.horizon_seconds
    edges = np.append(np.arange(0.0, horizon, WINDOW_SECONDS), horizon)
    begin = np.minimum(trace.arrival_seconds, horizon)
    moments = np.concatenate((begin, np.minimum(trace.arrival_seconds + trace.duration_seconds, horizon)))
    order = np.argsort(moments, kind="stable")
    steps = np.concatenate(([0.0], moments[order], [horizon]))

    def level(amounts: Floats) -> Floats:
        return np.concatenate(([0.0], np.cumsum(np.concatenate((amounts, -amounts))[order])))

    def mean(levels: Floats) -> Floats:
        # The integral of a staircase is straight between its steps.
        integral = np.concatenate(([0.0], np.cumsum(levels * np.diff(steps))))
        return np.asarray(np.maximum(np.diff(np.interp(edges, steps, integral)) / np.diff(edges), 0.0))

    services, batch = level(np.where(trace.batch, 0.0, requested)), level(np.where(trace.batch, requested, 0.0))
    millicores, capacity = ((servers.counts * each).sum() for each in (servers.millicores, servers.capacity))
    asked = np.maximum(services / millicores + batch / capacity, 1.0)
    done = np.minimum(level(used), capacity)
    return Demand(np.diff(edges), mean(done), mean(services / asked), mean(batch / asked))


def least_watts(servers: Servers, demand: Demand) -> Floats:
    """The bound in each window."""
    best = fleet_cost(servers).at(demand.used)
    if not servers.sleep:
        return best
    high = np.array([_worth(servers, servers.millicores), _worth(servers, servers.capacity)])
    low, found = np.zeros(2), (-np.inf, np.zeros(2))
    for _ in range(2):
        step = (high - low) / (PRICES - 1)
        for prices in _grid(low, step):
            watts = _priced(servers, demand, prices)
            best = np.maximum(best, watts)
            found = max(found, (float(watts @ demand.seconds), prices), key=lambda each: each[0])
        low, high = np.maximum(found[1] - step, 0.0), found[1] + step
    return best


def least_joules(servers: Servers, demand: Demand) -> float:
    """The bound for all of a trace."""
    return float(least_watts(servers, demand) @ demand.seconds)


def _priced(servers: Servers, demand: Demand, prices: Floats) -> Floats:
    """A bound by prices of millicores that services and batch request, in W."""
    # A server that is awake earns the better of what its room is worth to one or the other.
    room = np.maximum(prices[0] * servers.millicores, prices[1] * servers.capacity)
    rewarded = replace(servers, curves=servers.curves - room[:, None])
    earned = prices[0] * demand.services + prices[1] * demand.batch
    return np.asarray(fleet_cost(rewarded).at(demand.used) + earned)


def _worth(servers: Servers, millicores: Floats) -> float:
    """A price at which every server is worth waking."""
    return float(((servers.curves[:, -1] - servers.asleep_watts) / millicores).max())


def _grid(low: Floats, step: Floats) -> Iterator[Floats]:
    for services in range(PRICES):
        for batch in range(PRICES):
            yield low + step * np.array([services, batch])
