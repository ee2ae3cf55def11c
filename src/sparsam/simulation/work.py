"""What the pods of a trace do: where each runs, how much it uses now, what it got done, and when it ends."""

from __future__ import annotations

import heapq
import math

import numpy as np

from sparsam.scheduling.columns import Floats, Ints, cells
from sparsam.simulation.trace import Trace

NOBODY = -1
"""In place of a node: the pod runs nowhere."""


class Work:
    """Pods by their place in the trace. Batch work is work: on a faster core it is done sooner; services hold time."""

    def __init__(self, trace: Trace, requested_millicores: Floats, speed: Floats) -> None:
        """`requested_millicores` have shape (pods,), `speed` (nodes,) beside a core of speed 1."""
        self._trace, self._requested, self._speed = trace, requested_millicores, speed
        # Single pods and nodes are asked about far more often than all of them: plain lists answer faster than arrays.
        self._is_batch: list[bool] = trace.batch.tolist()
        self._speeds: list[float] = speed.tolist()
        count = len(trace)
        self.millicores: Floats = requested_millicores * np.nan_to_num(trace.usage, nan=1.0)
        """Mean use of each pod, in time of a core of speed 1."""
        self._now_used: Floats = self.millicores.copy()
        self.node: Ints = np.full(count, NOBODY, np.int64)
        self.last: Ints = np.full(count, NOBODY, np.int64)
        """Where each pod runs now, and where it did last."""
        self.first: Floats = np.full(count, math.nan)
        self.ended: Floats = np.full(count, math.nan)
        """When each pod first ran, and when it ended; NaN for never."""
        self.core_seconds: Floats = np.zeros(count)
        """Done by each pod, on cores of speed 1."""
        self.lost_core_seconds = 0.0
        """Done in vain, by batch work that had to begin anew."""
        self._started: Floats = np.full(count, math.nan)
        """Since when each pod's work is to be counted."""
        self._left: Floats = trace.duration_seconds.copy()
        """Time that each pod has yet to run."""
        self._node_at, self._last_at, self._first_at = cells(self.node), cells(self.last), cells(self.first)
        self._ended_at, self._started_at, self._left_at = cells(self.ended), cells(self._started), cells(self._left)
        self._done_at, self._used_at, self._mean_at = (
            cells(each) for each in (self.core_seconds, self._now_used, self.millicores)
        )
        self._runs = [0] * count
        """Counts the starts of each pod; an end that belongs to an older one is void."""
        self._ends: list[tuple[float, int, int]] = []
        self.follows = bool((trace.series >= 0).any())
        """Whether some pod's use changes while it runs."""

    @property
    def next_end(self) -> float:
        """When the next pod may end; infinite for none."""
        return self._ends[0][0] if self._ends else math.inf

    def ending(self, now: float) -> tuple[float, int] | None:
        """The next pod that ends by now, and when; it runs until it is stopped."""
        while self._ends and self._ends[0][0] <= now:
            at, pod, run = heapq.heappop(self._ends)
            if self._runs[pod] == run and self._node_at[pod] != NOBODY:
                self._ended_at[pod] = at
                return at, pod
        return None

    def begin(self, pod: int, row: int, now: float) -> None:
        """The pod runs on a node from now on."""
        self._node_at[pod] = self._last_at[pod] = row
        self._started_at[pod] = now
        if math.isnan(self._first_at[pod]):
            self._first_at[pod] = now
        self._runs[pod] += 1
        seconds = self._left_at[pod]
        if self._is_batch[pod]:
            seconds /= self._speeds[row]
        if math.isfinite(seconds):
            heapq.heappush(self._ends, (now + seconds, pod, self._runs[pod]))

    def move(self, pod: int, row: int, now: float) -> None:
        """A service goes on elsewhere."""
        self._count(pod, now)
        self._started[pod] = now
        self.node[pod] = self.last[pod] = row

    def stop(self, pod: int, now: float, *, lost: bool = False) -> int:
        """The pod is gone from its node, which is returned; batch work that is `lost` begins anew elsewhere."""
        row: int = self._node_at[pod]
        if lost and self._is_batch[pod]:
            self.lost_core_seconds += self._worked(pod, now)
        else:
            self._count(pod, now)
        self._runs[pod] += 1
        self._node_at[pod] = NOBODY
        return row

    def used_millicores(self, pod: int, row: int) -> float:
        """What the pod uses now, or would use on this node, in time of a core of speed 1."""
        return float(self._used_at[pod] * self._pace(pod, row))

    def follow(self, now: float, nodes: int) -> Floats:
        """Take over what running pods use now by their series; what is used on each node, shape (nodes,)."""
        trace, series = self._trace, self._trace.usage_series
        assert series is not None
        pods = np.flatnonzero((self.node != NOBODY) & (trace.series >= 0))
        steps = series.values.shape[1]
        at = ((now - trace.arrival_seconds[pods]) // series.step_seconds).astype(np.int64) % steps
        self._now_used[pods] = self._requested[pods] * series.values[trace.series[pods], at]
        running = np.flatnonzero(self.node != NOBODY)
        rows = self.node[running]
        pace = np.where(trace.batch[running], self._speed[rows], 1.0)
        return np.bincount(rows, self._now_used[running] * pace, nodes).astype(np.float64)

    def settle(self, now: float) -> None:
        """Count the work of all that run."""
        for pod in np.flatnonzero(self.node != NOBODY).tolist():
            self._count(pod, now)

    def _count(self, pod: int, now: float) -> None:
        self._done_at[pod] += self._worked(pod, now)
        if not self._is_batch[pod]:
            self._left_at[pod] -= now - self._started_at[pod]

    def _worked(self, pod: int, now: float) -> float:
        """Work since the pod began, or was last counted."""
        cores = self._mean_at[pod] / 1000.0 * self._pace(pod, self._node_at[pod])
        return float(cores * (now - self._started_at[pod]))

    def _pace(self, pod: int, row: int) -> float:
        """How much work a pod does beside what it does on a core of speed 1: batch all that the core can do, a service
        what it is asked.
        """
        return self._speeds[row] if self._is_batch[pod] else 1.0
