"""The least energy that any scheduler could use for a trace, by a continuous relaxation.

At each moment the work in progress may be spread over all servers in any shares, moved at no cost, and servers may
sleep and wake at once and for nothing. What that leaves is a linear program over kinds of servers, steps of load and
classes of pods: each server is asleep, or awake at some step of load on its own curve, and pods need room for what they
request on the very servers that have the load of what they use. It is solved for each window of time.

So a server full of pods that use a third of their requests cannot be at full load, which matters where curves are not
convex: without that coupling the program would mix empty and full servers that nobody could make.

Memory, cards, affinity and the wholeness of pods are ignored, and what there is no room for is left out: no scheduler
that starts work when it comes can do better. There are a few levels of use; a pod that uses something in between counts
as two, one at the level below and one above, which together ask for and use what it does. Batch counts at its pace on a
core of speed 1; faster cores do the same work in less time at a higher rate, which on average changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import highspy
import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.simulation.trace import Trace

WINDOW_SECONDS = 300.0
MOST_WINDOWS = 288
USES = 12
"""Levels of use, as shares of requests: of services, of batch, and of either where they follow series."""
PROGRAMS = 96
"""So many windows at most are solved for a trace."""
UNMET_WATTS = 1e4
"""Price of a core that there is no room for, far above what any server draws for one."""
LOADS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64]) / 64.0
"""Steps of load of the program, narrow where servers are that are full of requests which are little used."""


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


@dataclass(frozen=True, slots=True)
class Demand:
    """What the pods of a trace ask for if each runs from its arrival, by class."""

    seconds: Floats
    """Length of each window, shape (windows,)."""
    requested: Floats
    """Millicores, shape (windows, classes): of batch on cores of speed 1, of services on whatever core."""
    used_ratio: Floats
    """Share of that which they use, of the same shape; of services in time of a core of speed 1."""
    batch: Ints
    """1 for classes of batch work, shape (classes,)."""

    def coarse(self, most: int) -> Demand:
        """The same in at most so many windows, each the mean of several."""
        if len(self.seconds) <= most:
            return self
        group = np.arange(len(self.seconds)) * most // len(self.seconds)
        seconds = np.bincount(group, self.seconds).astype(np.float64)
        used = self.requested * self.used_ratio
        requested, used = (
            _sums(each * self.seconds[:, None], group) / seconds[:, None] for each in (self.requested, used)
        )
        ratio = np.divide(used, requested, out=np.zeros_like(used), where=requested > 0.0)
        return Demand(seconds, requested, ratio, self.batch)


def demand_over_time(trace: Trace, requested: Floats, servers: Servers) -> Demand:
    """Of pods that request so many millicores, up to the horizon.

    What these servers have no room for at a moment cannot be done then, and is left out.
    """
    length = max(WINDOW_SECONDS, trace.horizon_seconds / MOST_WINDOWS)
    edges = np.append(np.arange(0.0, trace.horizon_seconds, length), trace.horizon_seconds)
    stairs = _Staircase(trace)
    services, batches = (stairs.levels(np.where(trace.batch == each, requested, 0.0)) for each in (False, True))
    millicores, capacity = ((servers.counts * each).sum() for each in (servers.millicores, servers.capacity))
    asked = np.maximum(services / millicores + batches / capacity, 1.0)
    follows = (trace.series >= 0) & (requested > 0.0)
    amounts, ratios, kinds = [np.zeros((len(edges) - 1, 0))], [np.zeros((len(edges) - 1, 0))], []
    for batch in (False, True):
        for steady in (True, False):
            pods = np.flatnonzero((trace.batch == batch) & (follows != steady))
            if not len(pods):
                continue
            if steady:
                found, uses = _steady(trace, requested, pods, (stairs, asked, edges))
            else:
                found, uses = _varying(trace, requested, pods, edges)
                found *= stairs.means(1.0 / asked, edges)[:, None]
            amounts.append(found)
            ratios.append(uses)
            kinds += [int(batch)] * found.shape[1]
    demand = Demand(
        np.diff(edges), np.concatenate(amounts, axis=1), np.concatenate(ratios, axis=1), np.array(kinds, np.int64)
    )
    return demand.coarse(PROGRAMS)


def least_watts(servers: Servers, demand: Demand) -> Floats:
    """The bound in each window."""
    program = _Program(servers, demand.batch)
    asked = np.column_stack((demand.requested, demand.used_ratio))
    different, place = np.unique(asked, axis=0, return_inverse=True)
    found = np.array([program.solve(*np.split(each, 2)) for each in different])
    return np.asarray(found[place.ravel()])


def least_joules(servers: Servers, demand: Demand) -> float:
    """The bound for all of a trace."""
    return float(least_watts(servers, demand) @ demand.seconds)


class _Program:
    """The linear program; only what pods ask for changes between windows.

    A state is a kind of server between two neighbouring steps of load, where its curve is a straight line. Columns: for
    each kind the servers asleep; for each state the servers at its lower and at its upper step (those in between are
    some of both), then those that the requests of each class fill there; last the millicores of each class that find no
    room. Rows: the servers of each kind; room in each state; load in each state; requests of each class.
    """

    def __init__(self, servers: Servers, batch: Ints) -> None:
        kinds, classes = len(servers.counts), len(batch)
        states, width = kinds * (len(LOADS) - 1), 2 + classes
        kind_of = np.repeat(np.arange(kinds), len(LOADS) - 1)
        self._batch, self._counts = batch.astype(np.bool_), servers.counts
        self._speed = (servers.capacity / servers.millicores)[kind_of]
        ends = kinds + width * np.arange(states)
        fills = ends[:, None] + 2 + np.arange(classes)
        self._unmet = kinds + width * states
        columns = self._unmet + classes
        room, load = kinds + np.arange(states), kinds + states + np.arange(states)
        asked = kinds + 2 * states + np.arange(classes)
        costs, matrix = np.zeros(columns), np.zeros((kinds + 2 * states + classes, columns))
        costs[:kinds], costs[self._unmet :] = servers.asleep_watts, UNMET_WATTS / 1000.0
        costs[ends], costs[ends + 1] = (each.ravel() for each in _lines_below(servers.curves))
        matrix[np.arange(kinds), np.arange(kinds)] = 1.0
        matrix[kind_of, ends] = matrix[kind_of, ends + 1] = 1.0
        matrix[room, ends] = matrix[room, ends + 1] = -1.0
        matrix[room[:, None], fills] = 1.0
        matrix[load, ends], matrix[load, ends + 1] = -np.tile(LOADS[:-1], kinds), -np.tile(LOADS[1:], kinds)
        capacity, millicores = servers.capacity[kind_of], servers.millicores[kind_of]
        for one in range(classes):
            matrix[asked[one], fills[:, one]] = capacity if batch[one] else millicores
        matrix[asked, self._unmet + np.arange(classes)] = 1.0
        self._matrix, self._costs, self._states, self._fills = matrix, costs, states, (load[:, None], fills)
        self._upper = np.full(columns, highspy.kHighsInf)
        self._upper[:kinds] = np.where(servers.asleep_watts < servers.curves[:, 0], highspy.kHighsInf, 0.0)
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self._solver.setOptionValue("output_flag", False)
        self._basis: highspy.HighsBasis | None = None

    def solve(self, requested: Floats, used_ratio: Floats) -> float:
        """Least watts for these classes."""
        per_server = np.where(self._batch, used_ratio, used_ratio / self._speed[:, None])
        self._matrix[self._fills] = np.minimum(per_server, 1.0)
        solver = self._solver
        solver.passModel(self._model(requested))
        if self._basis is not None:
            # Windows are much alike: the last one's solution is a good start.
            solver.setBasis(self._basis)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise ArithmeticError(f"the bound's linear program ended as {solver.getModelStatus()}")
        self._basis = solver.getBasis()
        unmet = np.asarray(solver.getSolution().col_value)[self._unmet :].sum()
        return float(solver.getInfo().objective_function_value - unmet * UNMET_WATTS / 1000.0)

    def _model(self, asked: Floats) -> highspy.HighsLp:
        rows, columns = self._matrix.shape
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = columns, rows
        model.col_cost_, model.col_lower_, model.col_upper_ = self._costs, np.zeros(columns), self._upper
        none = np.full(2 * self._states, -highspy.kHighsInf)
        model.row_lower_ = np.concatenate((self._counts, none, asked))
        model.row_upper_ = np.concatenate((self._counts, np.zeros(2 * self._states), asked))
        rows_of, columns_of = np.nonzero(self._matrix)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(rows_of, np.arange(rows + 1))
        model.a_matrix_.index_, model.a_matrix_.value_ = columns_of, self._matrix[rows_of, columns_of]
        return model


def _lines_below(curves: Floats) -> tuple[Floats, Floats]:
    """Watts at both ends of each of the program's steps, of straight lines that are nowhere above the curves."""
    fine, steps = np.linspace(0.0, 1.0, curves.shape[1]), np.round(LOADS * (curves.shape[1] - 1)).astype(np.int64)
    between = np.stack([np.interp(fine, LOADS, curve[steps]) for curve in curves])
    above = np.stack(
        [(between - curves)[:, low : high + 1].max(axis=1) for low, high in pairwise(steps.tolist())], axis=1
    )
    return curves[:, steps[:-1]] - above, curves[:, steps[1:]] - above


def _sums(values: Floats, group: Ints) -> Floats:
    """Of the lines of each group."""
    return np.stack([np.bincount(group, column) for column in values.T], axis=1)


class _Staircase:
    """Sums over the pods in progress: constant between the moments at which one begins or ends."""

    def __init__(self, trace: Trace) -> None:
        horizon = trace.horizon_seconds
        begin = np.minimum(trace.arrival_seconds, horizon)
        moments = np.concatenate((begin, np.minimum(trace.arrival_seconds + trace.duration_seconds, horizon)))
        self._order = np.argsort(moments, kind="stable")
        self._steps = np.concatenate(([0.0], moments[self._order], [horizon]))

    def levels(self, amounts: Floats) -> Floats:
        """The sum of what pods in progress ask for, from each moment to the next."""
        return np.concatenate(([0.0], np.cumsum(np.concatenate((amounts, -amounts))[self._order])))

    def means(self, levels: Floats, edges: Floats) -> Floats:
        """Over windows; the integral of a staircase is straight between its steps."""
        integral = np.concatenate(([0.0], np.cumsum(levels * np.diff(self._steps))))
        return np.asarray(np.maximum(np.diff(np.interp(edges, self._steps, integral)) / np.diff(edges), 0.0))


def _steady(
    trace: Trace, requested: Floats, pods: Ints, when: tuple[_Staircase, Floats, Floats]
) -> tuple[Floats, Floats]:
    """(requests, share used) of shape (windows, levels) of pods of constant use."""
    stairs, asked, edges = when
    use = np.nan_to_num(trace.usage[pods], nan=1.0)
    levels = _levels(use)
    low, above = _between(use, levels)
    amounts = np.zeros((len(levels), len(requested)))
    amounts[low, pods] = requested[pods] * (1.0 - above)
    amounts[np.minimum(low + 1, len(levels) - 1), pods] += requested[pods] * above
    means = [stairs.means(stairs.levels(each) / asked, edges) for each in amounts]
    return np.stack(means, axis=1), np.tile(levels, (len(edges) - 1, 1))


def _varying(trace: Trace, requested: Floats, pods: Ints, edges: Floats) -> tuple[Floats, Floats]:
    """The same of pods that follow a series, by what they use in the middle of each window."""
    series = trace.usage_series
    assert series is not None
    requests, uses = np.zeros((2, len(edges) - 1, USES))
    begin, end = trace.arrival_seconds[pods], trace.arrival_seconds[pods] + trace.duration_seconds[pods]
    for window, (first, last) in enumerate(pairwise(edges.tolist())):
        share = np.clip(np.minimum(end, last) - np.maximum(begin, first), 0.0, None) / (last - first)
        there = np.flatnonzero(share > 0.0)
        if not len(there):
            continue
        asks = requested[pods[there]] * share[there]
        at = (((first + last) / 2.0 - begin[there]) // series.step_seconds).astype(np.int64) % series.values.shape[1]
        use = series.values[trace.series[pods[there]], at].astype(np.float64)
        levels = _levels(use)
        low, above = _between(use, levels)
        requests[window] = np.bincount(low, asks * (1.0 - above), USES)
        requests[window] += np.bincount(np.minimum(low + 1, USES - 1), asks * above, USES)
        uses[window, : len(levels)] = levels
    return requests, uses


def _levels(use: Floats) -> Floats:
    """Levels of use between which pods are split, the least and the highest among them; all there are if few."""
    eager = np.unique(use)
    if len(eager) <= USES:
        return np.asarray(eager)
    # As much of the use between any two, since there the split changes most.
    eager = np.sort(use)
    total = np.cumsum(eager)
    places = np.searchsorted(total, total[-1] * np.arange(1, USES - 1) / (USES - 1))
    return np.unique(np.concatenate((eager[[0, -1]], eager[places])))


def _between(use: Floats, levels: Floats) -> tuple[Ints, Floats]:
    """The level at or below each use, and how far it is from there to the next."""
    low = np.clip(np.searchsorted(levels, use, side="right") - 1, 0, max(len(levels) - 2, 0)).astype(np.int64)
    width = levels[np.minimum(low + 1, len(levels) - 1)] - levels[low]
    return low, np.divide(use - levels[low], width, out=np.zeros_like(use), where=width > 0.0)
