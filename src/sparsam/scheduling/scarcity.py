"""What room on an efficient server is worth, where there is not enough of it for everybody.

Pods that ask for more than they use take room without bringing load. On servers that save watts per unit of work such
pods are wasted as long as others would use that room better elsewhere: it is the linear program's shadow price of room.
Servers are taken in order of their watts per unit of work. Before each step from one kind to the next worse one, the
room up to there is kept for the pods that use most of what they request: as much as those of them that usually run do
not have yet. While a pod would take of what is kept, it pays what they would lose by going beyond the step, the step's
watts per unit times their share of use; while there is more, it pays nothing (protection levels of nested classes;
Littlewood, "Forecasting and control of passenger bookings", AGIFORS Symposium 1972).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.snapshot import CPU, MEMORY, PODS, Snapshot
from sparsam.scheduling.usage import LEVELS

KEPT_CHANGES, KEPT_RATIO = 64, 1 / 16
"""It is looked anew how much room is left after so many changes of nodes, or of such a share of all nodes, whichever is
more; in small clusters after changes of a quarter of them.
"""
CURVE_CHANGES = 16_384
"""And after so many, which servers are efficient, since curves are learned."""
ALIKE = 2
"""Pods whose levels of use differ by no more do not keep room from each other."""
_BASIC = [CPU, MEMORY, PODS]
_SHARES = np.arange(LEVELS + 1)[:, None] / LEVELS


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Servers by their watts per unit of work, the best first; steps are between one kind and the next."""

    rows: Ints
    """All servers, kind by kind."""
    starts: Ints
    """Where each kind begins in them."""
    kind: Ints
    """Of each row of the snapshot, the last of them for rows without a server."""
    rises: Floats
    """Watts per millicore that the next kind draws more; 0 after the last."""
    capacity: Floats
    """Of CPU, memory and places for pods, in the order of `rows`; at least 1."""


@dataclass(slots=True)
class _Prices:
    """By level of use and kind of server; rows are made when they are first asked for."""

    by_kind: Floats
    by_row: dict[tuple[int, bool], Floats | None] = field(default_factory=dict)


class Scarcity:
    """Prices of room, kept until the cluster has changed."""

    def __init__(self, *, sleeps: bool, headroom_ratio: float = 0.0) -> None:
        """`headroom_ratio` is the share of a node that the policy would rather leave free."""
        self._sleeps, self._headroom = sleeps, headroom_ratio
        self._kinds_key: tuple[int, ...] = ()
        self._prices_key: tuple[int, ...] = ()
        self._kinds: _Kinds | None = None
        self._prices: _Prices | None = None

    def prices(self, snapshot: Snapshot, level: int, *, batch: bool) -> Floats | None:
        """Watts per millicore of room that a pod of this level of use takes, on each node, shape (rows,), or None.

        Batch takes the room for less time on a faster core. See `Snapshot.room_of` and `usage.use_level`.
        """
        self._refresh(snapshot)
        if self._kinds is None or self._prices is None:
            return None
        key = (level, batch)
        if key not in self._prices.by_row:
            self._prices.by_row[key] = self._by_row(snapshot, self._kinds, self._prices.by_kind[level], batch=batch)
        return self._prices.by_row[key]

    def _by_row(self, snapshot: Snapshot, kinds: _Kinds, prices: Floats, *, batch: bool) -> Floats | None:
        if not prices.any():
            return None
        by_row = prices[kinds.kind]
        return np.asarray(by_row / snapshot.power.facts.speed) if batch else np.asarray(by_row)

    def _refresh(self, snapshot: Snapshot) -> None:
        changes = snapshot.dynamic.end
        kinds_key = (len(snapshot.names), snapshot.static.end, changes // CURVE_CHANGES)
        if kinds_key != self._kinds_key:
            self._kinds_key, self._kinds = kinds_key, _kinds(snapshot, self._sleeps)
        prices_key = (*kinds_key, changes // _kept_changes(snapshot.node_count()))
        if prices_key != self._prices_key:
            self._prices_key = prices_key
            found = None if self._kinds is None else _prices(snapshot, self._kinds, self._headroom)
            self._prices = None if found is None or not found.any() else _Prices(found)


def _kept_changes(nodes: int) -> int:
    return max(min(KEPT_CHANGES, nodes // 4), int(nodes * KEPT_RATIO), 1)


def _kinds(snapshot: Snapshot, sleeps: bool) -> _Kinds | None:
    """None where all servers are alike."""
    power = snapshot.power
    rows = np.flatnonzero(snapshot.alive & (snapshot.allocatable[CPU] > 0))
    if not len(rows):
        return None
    room = snapshot.allocatable[CPU, rows].astype(np.float64)
    unit = power.filling_watts(rows, sleeps=sleeps) * power.facts.facility[rows] / (room * power.facts.speed[rows])
    order = np.argsort(unit, kind="stable")
    unit = unit[order]
    new = np.diff(unit, prepend=-np.inf) > 0.0
    starts, number = np.flatnonzero(new), np.cumsum(new) - 1
    if len(starts) < 2:
        return None
    kind = np.full(len(snapshot.names), len(starts) - 1, np.int64)
    kind[rows[order]] = number
    capacity = np.maximum(snapshot.allocatable[_BASIC].take(rows[order], axis=1), 1).astype(np.float64)
    return _Kinds(rows[order], starts, kind, np.diff(unit[starts], append=unit[-1]), capacity)


def _prices(snapshot: Snapshot, kinds: _Kinds, headroom: float) -> Floats:
    """Shape (levels, kinds)."""
    there = np.zeros((LEVELS + 1, len(kinds.starts)))
    for level, pods in enumerate(snapshot.level_pods):
        if pods:
            there[level] = np.cumsum(np.add.reduceat(snapshot.use_levels[level].take(kinds.rows), kinds.starts))
    present = there[:, -1]
    usual = snapshot.usual_levels if snapshot.usual_levels.sum() > present.sum() else present
    left = np.cumsum(np.add.reduceat(_free(snapshot, kinds, headroom), kinds.starts))
    missing = np.maximum(usual[:, None] - there, 0.0)
    kept, busy = _above(missing), _above(missing * _SHARES)
    share = np.divide(busy, kept, out=np.zeros_like(busy), where=kept > 0.0)
    steps = np.where(kept > left, kinds.rises * share, 0.0)
    return np.asarray(np.cumsum(steps[:, ::-1], axis=1)[:, ::-1])


def _free(snapshot: Snapshot, kinds: _Kinds, headroom: float) -> Floats:
    """Millicores that are left on each server by the resource of which least is left, but for the head-room."""
    taken = np.maximum.reduce(
        [snapshot.requested[each].take(kinds.rows) / of for each, of in zip(_BASIC, kinds.capacity, strict=True)]
    )
    return np.asarray(kinds.capacity[0] * np.maximum(1.0 - headroom - taken, 0.0))


def _above(levels: Floats) -> Floats:
    """Sums over all levels that are higher, by more than what counts as alike."""
    sums = np.cumsum(levels[::-1], axis=0)[::-1]
    return np.concatenate((sums[ALIKE + 1 :], np.zeros((ALIKE + 1, levels.shape[1]))))
