"""What room on an efficient server is worth, where there is not enough of it for everybody.

Pods that ask for more than they use take room without bringing load. On servers that save watts per unit of work such
pods are wasted as long as others would use that room better elsewhere: it is the linear program's shadow price of room.
With servers in order of their watts per unit of work, and as many of them as the cluster's requests fill, room on a
server is worth what its watts per unit are below those of the last one, times the share that is used of what is
requested (comparative advantage; the rule of a transportation problem with one scarce resource).
"""

from __future__ import annotations

import numpy as np

from sparsam.scheduling.columns import Floats
from sparsam.scheduling.snapshot import CPU, Snapshot

REFILL_RATIO = 0.8
"""Share of their requests that pods use which would fill the room instead: an assumption."""
STEP_RATIO = 0.02
"""A change of the cluster's requests by less changes no price."""
KEPT_CHANGES = 16_384
"""After so many changes of nodes the prices are found anew, since curves are learned."""


class Scarcity:
    """Prices of room, kept until the cluster has changed."""

    def __init__(self, *, sleeps: bool) -> None:
        self._sleeps = sleeps
        self._key: tuple[int, ...] = ()
        self._prices: Floats = np.zeros(0)

    def prices(self, snapshot: Snapshot) -> Floats:
        """Watts per requested millicore on each node, shape (rows,); 0 throughout while efficient room is plenty."""
        requested = max(float(snapshot.scored_total[CPU]), snapshot.expected_millicores, 1.0)
        level = int(np.log(requested) / STEP_RATIO)
        key = (len(snapshot.names), snapshot.static.end, snapshot.dynamic.end // KEPT_CHANGES, level)
        if key != self._key:
            self._key, self._prices = key, _prices(snapshot, requested, self._sleeps)
        return self._prices


def _prices(snapshot: Snapshot, requested: float, sleeps: bool) -> Floats:
    power = snapshot.power
    rows = np.flatnonzero(snapshot.alive & (snapshot.allocatable[CPU] > 0))
    prices = np.zeros(len(snapshot.names))
    if not len(rows):
        return prices
    room = snapshot.allocatable[CPU, rows].astype(np.float64)
    unit = power.filling_watts(rows, sleeps=sleeps) * power.facility[rows] / (room * power.speed[rows])
    order = np.argsort(unit, kind="stable")
    last = min(int(np.searchsorted(np.cumsum(room[order]), requested)), len(rows) - 1)
    prices[rows] = REFILL_RATIO * np.maximum(unit[order[last]] - unit, 0.0)
    return prices
