"""The least energy that any scheduler could use for a trace, by a continuous relaxation.

At each moment the work in progress may be spread over all servers in any shares, moved at no cost, and servers may
sleep and wake at once and for nothing. What that leaves is a linear program over kinds of servers and classes of pods:
each server is in a mix of states (asleep, or awake at some load, on its own curve), pods need room for what they
request on servers that are awake, and load there for what they use. It is solved for each window of time.

Memory, cards, affinity and the wholeness of pods are ignored, pods of a class count as its most modest one, and what
there is no room for is left out: no scheduler that starts work when it comes can do better. Batch counts at its pace on
a core of speed 1; faster cores do the same work in less time at a higher rate, which on average changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from sparsam.scheduling.columns import Bools, Floats, Ints
from sparsam.scheduling.curvetables import STEPS
from sparsam.simulation.trace import Trace

WINDOW_SECONDS = 300.0
MOST_WINDOWS = 288
CLASSES = 6
"""Of services, by the share of their requests that they use; batch has as many."""
UNMET_WATTS = 1e4
"""Price of a core that there is no room for, far above what any server draws for one."""
LOADS = np.linspace(0.0, 1.0, STEPS + 1)


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
        group = np.arange(len(self.seconds)) * min(most, len(self.seconds)) // len(self.seconds)
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
    classes = _classes(trace)
    kinds = np.unique(classes).tolist()
    stairs = _Staircase(trace)
    services, batches = (stairs.levels(np.where(trace.batch == each, requested, 0.0)) for each in (False, True))
    millicores, capacity = ((servers.counts * each).sum() for each in (servers.millicores, servers.capacity))
    asked = np.maximum(services / millicores + batches / capacity, 1.0)
    levels = [stairs.levels(np.where(classes == one, requested, 0.0)) / asked for one in kinds]
    amounts = np.stack([stairs.means(each, edges) for each in levels])
    ratios = np.stack([_ratios(trace, requested, classes == one, edges) for one in kinds])
    batch = np.array([trace.batch[classes == one][0] for one in kinds], np.int64)
    return Demand(np.diff(edges), amounts.T, ratios.T, batch)


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

    Columns: for each kind the numbers of servers asleep and at each step of load, then for each class the servers that
    its requests fill there; last the millicores of each class that find no room.
    """

    def __init__(self, servers: Servers, batch: Ints) -> None:
        self._servers, self._batch = servers, batch
        self._kinds, self._classes = len(servers.counts), len(batch)
        states = STEPS + 2
        self._width = states + self._classes
        columns = self._kinds * self._width + self._classes
        costs, matrix = np.zeros(columns), np.zeros((3 * self._kinds + self._classes, columns))
        speed = servers.capacity / servers.millicores
        for kind in range(self._kinds):
            at = kind * self._width
            awake, fills = slice(at + 1, at + states), slice(at + states, at + self._width)
            costs[at], costs[awake] = servers.asleep_watts[kind], servers.curves[kind]
            matrix[kind, at : at + states] = 1.0
            matrix[self._kinds + kind, awake], matrix[self._kinds + kind, fills] = -1.0, 1.0
            matrix[2 * self._kinds + kind, awake] = -LOADS
            for one in range(self._classes):
                offered = servers.capacity[kind] if batch[one] else servers.millicores[kind]
                matrix[3 * self._kinds + one, at + states + one] = offered
        for one in range(self._classes):
            costs[self._kinds * self._width + one] = UNMET_WATTS / 1000.0
            matrix[3 * self._kinds + one, self._kinds * self._width + one] = 1.0
        self._costs, self._matrix, self._speed = costs, matrix, speed
        self._upper = np.full(columns, highspy.kHighsInf)
        self._upper[: self._kinds * self._width : self._width] = np.where(
            servers.asleep_watts < servers.curves[:, 0], highspy.kHighsInf, 0.0
        )

    def solve(self, requested: Floats, used_ratio: Floats) -> float:
        """Least watts for these classes."""
        kinds, first = self._kinds, STEPS + 2
        for kind in range(kinds):
            at = kind * self._width + first
            per_server = np.where(self._batch, used_ratio, used_ratio / self._speed[kind])
            self._matrix[2 * kinds + kind, at : at + self._classes] = np.minimum(per_server, 1.0)
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.setOptionValue("output_flag", False)
        solver.passModel(self._model(requested))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise ArithmeticError(f"the bound's linear program ended as {solver.getModelStatus()}")
        unmet = np.asarray(solver.getSolution().col_value)[kinds * self._width :].sum()
        return float(solver.getInfo().objective_function_value - unmet * UNMET_WATTS / 1000.0)

    def _model(self, requested: Floats) -> highspy.HighsLp:
        rows, columns = self._matrix.shape
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = columns, rows
        model.col_cost_, model.col_lower_, model.col_upper_ = self._costs, np.zeros(columns), self._upper
        none = np.full(2 * self._kinds, -highspy.kHighsInf)
        model.row_lower_ = np.concatenate((self._servers.counts, none, requested))
        model.row_upper_ = np.concatenate((self._servers.counts, np.zeros(2 * self._kinds), requested))
        rows_of, columns_of = np.nonzero(self._matrix)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(rows_of, np.arange(rows + 1))
        model.a_matrix_.index_, model.a_matrix_.value_ = columns_of, self._matrix[rows_of, columns_of]
        return model


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


def _classes(trace: Trace) -> Ints:
    """Batch and services apart, each by the share that they use."""
    classes = np.zeros(len(trace.batch), np.int64)
    for batch in (False, True):
        pods = np.flatnonzero(trace.batch == batch)
        if len(pods):
            cuts = np.unique(np.quantile(_mean_use(trace)[pods], np.linspace(0.0, 1.0, CLASSES + 1)[1:-1]))
            classes[pods] = (CLASSES + 1) * batch + np.searchsorted(cuts, _mean_use(trace)[pods], side="right")
    return classes


def _mean_use(trace: Trace) -> Floats:
    return np.asarray(np.nan_to_num(trace.usage, nan=1.0), dtype=np.float64)


def _ratios(trace: Trace, requested: Floats, members: Bools, edges: Floats) -> Floats:
    """Share of its requests that a class uses, in the middle of each window, by its most modest pod."""
    pods = np.flatnonzero(members & (requested > 0.0))
    use = _mean_use(trace)[pods]
    weights = requested[pods]
    total = weights.sum()
    mean = float(use @ weights / total) if total else 0.0
    modest = float(use.min()) if len(use) else 0.0
    followed = trace.series[pods] >= 0
    if trace.usage_series is None or not followed.any() or not mean:
        return np.full(len(edges) - 1, modest)
    series, found = trace.usage_series, []
    for now in (edges[:-1] + edges[1:]) / 2.0:
        at = ((now - trace.arrival_seconds[pods]) // series.step_seconds).astype(np.int64) % series.values.shape[1]
        level = np.where(followed, series.values[trace.series[pods], at], use)
        running = (trace.arrival_seconds[pods] <= now) & (
            now < trace.arrival_seconds[pods] + trace.duration_seconds[pods]
        )
        running = running if running.any() else np.ones_like(running)
        found.append(float(level[running] @ weights[running] / weights[running].sum()))
    return np.asarray(np.array(found) * (modest / mean))
