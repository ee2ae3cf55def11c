"""What room on an efficient server is worth, where there is not enough of it for everybody.

Pods that ask for more than they use take room without bringing load. On servers that save watts per unit of work such
pods are wasted as long as others would use that room better elsewhere: it is the linear program's shadow price of room.
Servers are taken in order of their watts per unit of work. What does not fit on the first of them should be the pods
that use least of what they request; so each step from one kind of server to the next worse one makes room on all before
it worth its watts per unit, times a share of use that parts those that have to go beyond it from the others
(comparative advantage: the rule of a transportation problem with one scarce resource).
"""

from __future__ import annotations

import numpy as np

from sparsam.scheduling.columns import Floats
from sparsam.scheduling.snapshot import CPU, Snapshot
from sparsam.scheduling.usage import UseLevels

FAVOUR = 0.95
"""A little less than the price: of pods that could go either way the first fill the better servers."""
STEP_RATIO = 0.02
"""A change of the cluster's requests by less changes no price."""
KEPT_CHANGES = 16_384
"""After so many changes of nodes the prices are found anew, since curves are learned."""


class Scarcity:
    """Prices of room, kept until the cluster has changed."""

    def __init__(self, *, sleeps: bool, headroom_ratio: float = 0.0) -> None:
        """`headroom_ratio` is the share of a node that the policy would rather leave free."""
        self._sleeps, self._headroom = sleeps, headroom_ratio
        self._key: tuple[int, ...] = ()
        self._prices: Floats | None = None

    def prices(self, snapshot: Snapshot) -> Floats | None:
        """Watts per requested millicore on each node, shape (rows,); None while efficient room is plenty."""
        use = max(snapshot.use, snapshot.expected_use, key=lambda each: each.millicores)
        requested = max(use.millicores, 1.0)
        level = int(np.log(requested) / STEP_RATIO)
        key = (len(snapshot.names), snapshot.static.end, snapshot.dynamic.end // KEPT_CHANGES, level)
        if key != self._key:
            found = _prices(snapshot, use, self._sleeps, self._headroom)
            self._key, self._prices = key, found if found.any() else None
        return self._prices


def _prices(snapshot: Snapshot, use: UseLevels, sleeps: bool, headroom: float) -> Floats:
    power = snapshot.power
    rows = np.flatnonzero(snapshot.alive & (snapshot.allocatable[CPU] > 0))
    prices = np.zeros(len(snapshot.names))
    if not len(rows):
        return prices
    room = snapshot.allocatable[CPU, rows].astype(np.float64)
    unit = power.filling_watts(rows, sleeps=sleeps) * power.facility[rows] / (room * power.speed[rows])
    order = np.argsort(unit, kind="stable")
    rises = np.diff(unit[order], append=unit[order[-1]])
    left_out = use.millicores - (1.0 - headroom) * np.cumsum(room[order])
    for place in np.flatnonzero(rises > 0.0).tolist():
        rises[place] *= use.parting(left_out[place], FAVOUR) if left_out[place] > 0.0 else 0.0
    prices[rows[order]] = np.cumsum(rises[::-1])[::-1]
    return prices
