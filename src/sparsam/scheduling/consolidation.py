"""Which nodes sleep: as many as the work can spare, the worst first, and awake again before it needs them.

What is kept awake beyond the present work is a reserve for what may come while a node wakes: the growth that the last
day saw within such a time, and room for the largest pod seen lately. Pods that find no room wake the node on which the
policy would rather have them. Pods are moved to empty a node where that pays (see `moving`).

Only a part of the fleet is on its way down or up at once, so that neither an evening nor a morning becomes a stampede
of machines that boot, draw their most and serve nobody; pods that wait go before the reserve then. Of nodes that cost
about the same those sleep, and those are woken, that did so least: wear goes round. Pure: time is an argument, in
seconds of any steady clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsam.scheduling.columns import Bools, Floats, Ints
from sparsam.scheduling.demand import Toleration
from sparsam.scheduling.moving import RESERVED, Effort, Mover
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.plan import Bind, Plan, Sleep, Wake
from sparsam.scheduling.snapshot import CPU, MEMORY, PODS, Resident

_NEEDED = (CPU, MEMORY, PODS)
"""What every pod takes some of."""
_EQUAL_RATIO = 0.02
"""Nodes whose work costs the same but for so much take turns."""
_LEAST_TURNING = 10
"""So many nodes may always be on their way, however small the fleet."""
_SLEEPER = Toleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Caution:
    """How much is kept awake for what may come."""

    empty_seconds: float = 120.0
    """A node stands empty for so long before it sleeps."""
    spare_ratio: float = 0.05
    """Least reserve, as a share of the present demand."""
    growth_quantile: float = 0.99
    """Of the growth seen within the time that waking takes; so much of it is kept in reserve."""
    most_turning_ratio: float = 0.25
    """Share of the nodes that may be on their way down or up at once."""
    memory_seconds: float = 86400.0
    """How far back growth and pods are remembered."""


class Consolidator:
    """Decides on sleeping and waking; nodes that sleep or wake are unschedulable in the placer's snapshot."""

    def __init__(self, placer: Placer, caution: Caution | None = None, effort: Effort | None = None) -> None:
        """Without `effort` no pod is moved."""
        self._placer, self._snapshot = placer, placer.snapshot
        self._caution = caution or Caution()
        self._mover = Mover(placer, effort) if effort is not None else None
        self._history: deque[tuple[float, Ints]] = deque()
        self._empty_since: dict[int, float] = {}
        self._largest: deque[tuple[float, Ints]] = deque()
        self._sleeps_of: Counter[int] = Counter()
        """How often each row was sent to sleep."""

    def consolidate(self, asleep: Bools, waking: Bools, pending: Sequence[PendingPod], now: float) -> Plan:
        """Which nodes to send to sleep and which to wake; `asleep` and `waking` have shape (rows,).

        `pending` are the pods that no awake node takes. `waking` nodes are on their way, up or down; they count as
        awake.
        """
        snapshot = self._snapshot
        wakes, served = self._wake_for(pending, asleep)
        demand = snapshot.requested[:, snapshot.alive].sum(axis=1)
        for pod in served:
            request = snapshot.request_vector(pod.demand)
            demand = _padded(demand, len(request)) + _padded(request, len(demand))
            self._remember(request, now)
        self._history.append((now, demand))
        while self._history[0][0] < now - self._caution.memory_seconds:
            self._history.popleft()
        woken = asleep.copy()
        woken[[snapshot.rows[each.node] for each in wakes]] = False
        free = self._free(~woken & snapshot.alive)
        reserve = self._reserve(now)
        wakes += self._wake_reserve(woken, free, reserve)
        turning = max(int(self._caution.most_turning_ratio * snapshot.node_count()), _LEAST_TURNING)
        turns = max(turning - int(np.count_nonzero(waking)), 0)
        if wakes:
            return Plan(wakes=tuple(wakes[:turns]))
        sleeps, free = self._sleeps(asleep | waking, (free, reserve), turns, now)
        evicts = self._mover.moves(asleep | waking, free - reserve, now) if self._mover else []
        return Plan(evicts=tuple(evicts), sleeps=tuple(sleeps))

    def note(self, pod: PendingPod, now: float) -> None:
        """A pod came; pods like it may come again."""
        self._remember(self._snapshot.request_vector(pod.demand), now)

    def _remember(self, request: Ints, now: float) -> None:
        """Keep the largest requests of the memory; a request that a later one exceeds throughout is forgotten."""
        while self._largest and _covers(request, self._largest[-1][1]):
            self._largest.pop()
        self._largest.append((now, request))
        while self._largest[0][0] < now - self._caution.memory_seconds:
            self._largest.popleft()

    def _reserve(self, now: float) -> Ints:
        """What must be free on awake nodes, by resource."""
        width = len(self._snapshot.resources)
        present = _padded(self._history[-1][1], width)
        spare = np.ceil(self._caution.spare_ratio * present).astype(np.int64)
        for _, request in self._largest:
            spare = np.maximum(spare, _padded(request, width))
        wake_seconds = self._snapshot.power.wake_seconds
        lead = float(np.nanmax(wake_seconds)) if np.isfinite(wake_seconds).any() else 0.0
        return np.asarray(np.maximum(spare, self._growth(lead, width)))

    def _growth(self, lead_seconds: float, width: int) -> Ints:
        if len(self._history) < 3:
            return np.zeros(width, np.int64)
        times = np.array([at for at, _ in self._history])
        levels = np.array([_padded(level, width) for _, level in self._history])
        # The step of the clock counts too: what comes after this decision is seen at the next.
        step = float(np.diff(times).max())
        later = np.searchsorted(times, times + lead_seconds + step, side="right") - 1
        growth = np.maximum(levels[later] - levels, 0)
        return np.asarray(np.ceil(np.quantile(growth, self._caution.growth_quantile, axis=0)), np.int64)

    def _free(self, awake: Bools) -> Ints:
        """Free capacity of awake nodes by resource; what a node full of CPU, memory or pods has left is of no use."""
        snapshot = self._snapshot
        free = np.maximum(snapshot.allocatable[:, awake] - snapshot.requested[:, awake], 0)
        return np.asarray(free[:, (free[list(_NEEDED)] > 0).all(axis=0)].sum(axis=1))

    def _wake_for(self, pending: Sequence[PendingPod], asleep: Bools) -> tuple[list[Wake], list[PendingPod]]:
        """The nodes on which the policy would place pods that wait if all were awake, and the pods that it would."""
        snapshot, wakes, served = self._snapshot, {}, []
        for pod in pending:
            # Sleeping nodes are unschedulable; whoever tolerates that sees them as they would be.
            open_eyed = replace(pod.demand, tolerations=(*pod.demand.tolerations, _SLEEPER))
            decision = self._placer.consider(pod._replace(demand=open_eyed, preempts=False))
            if not isinstance(decision, Bind):
                continue
            snapshot.assume(Resident(pod.key + RESERVED, decision.node, pod.demand))
            served.append(pod)
            row = snapshot.rows[decision.node]
            if asleep[row] and decision.node not in wakes:
                watts = float(snapshot.power.saved_asleep_watts(slice(row, row + 1))[0])
                # The pods after this one find it awake.
                snapshot.set_asleep(row, False)
                wakes[decision.node] = Wake(decision.node, f"pod {pod.key} finds no room elsewhere", watts)
        for pod in served:
            snapshot.remove_pod(pod.key + RESERVED)
        return list(wakes.values()), served

    def _wake_reserve(self, asleep: Bools, free: Ints, reserve: Ints) -> list[Wake]:
        wakes = []
        for row in self._by_cost(asleep):
            lacking = free < _padded(reserve, len(free))
            room = self._snapshot.allocatable[:, row]
            if not lacking.any():
                break
            if not (room[lacking] > 0).any():
                continue
            free = free + room
            watts = float(self._snapshot.power.saved_asleep_watts(slice(row, row + 1))[0])
            wakes.append(Wake(self._snapshot.names[row], "the reserve for what may come is short", watts))
        return wakes

    def _sleeps(self, down: Bools, room: tuple[Ints, Ints], turns: int, now: float) -> tuple[list[Sleep], Ints]:
        """Empty nodes that can be spared, `turns` at most, and what is free without them; `room`: (free, reserve)."""
        snapshot, power, (free, reserve) = self._snapshot, self._snapshot.power, room
        every = np.arange(len(snapshot.names))
        can = snapshot.alive & ~down & power.empty(every) & np.isfinite(power.wake_seconds)
        rows = set(np.flatnonzero(can).tolist())
        self._empty_since = {row: self._empty_since.get(row, now) for row in rows}
        sleeps: list[Sleep] = []
        for row in self._by_cost(can, dearest=True):
            if len(sleeps) == turns:
                break
            if now - self._empty_since[row] < self._caution.empty_seconds:
                continue
            left = free - snapshot.allocatable[:, row]
            if (left < _padded(reserve, len(left)))[snapshot.allocatable[:, row] > 0].any():
                continue
            free = left
            watts = float(power.saved_asleep_watts(slice(row, row + 1))[0])
            sleeps.append(Sleep(snapshot.names[row], f"empty for {now - self._empty_since[row]:.0f} s", -watts))
            del self._empty_since[row]
            self._sleeps_of[row] += 1
        return sleeps, free

    def _by_cost(self, which: Bools, *, dearest: bool = False) -> list[int]:
        """Rows by the watts that their work costs, the best first, or the dearest; among equals the least worn."""
        snapshot = self._snapshot
        rows = np.flatnonzero(which)
        capacity: Floats = snapshot.allocatable[CPU, rows].astype(np.float64)
        cost = snapshot.power.unit_watts(rows, capacity)
        steps = np.round(np.log(np.maximum(cost, 1e-12)) / _EQUAL_RATIO)
        worn = np.array([self._sleeps_of[row] for row in rows.tolist()], np.int64)
        return [int(row) for row in rows[np.lexsort((snapshot.tie_rank[rows], worn, -steps if dearest else steps))]]


def _padded(vector: Ints, width: int) -> Ints:
    """Zeros for resources that were not known when the vector was made."""
    return vector if len(vector) >= width else np.concatenate((vector, np.zeros(width - len(vector), np.int64)))


def _covers(large: Ints, small: Ints) -> bool:
    width = max(len(large), len(small))
    return bool((_padded(large, width) >= _padded(small, width)).all())
