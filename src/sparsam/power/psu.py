"""Power supplies: watts at the wall for watts of direct current, and back.

A supply's loss is known at the few loads that its 80 PLUS level certifies, or that somebody measured. Between them the
loss is a straight line, so the wall's watts rise strictly with the load and both directions are exact interpolations of
one another. A certified level is a floor of efficiency: a supply that holds its level draws at most what is said here
at those loads.

Levels: 80 PLUS (CLEAResult), minimum efficiency at a share of the rated output; the tables for 115 V internal
non-redundant and 230 V internal redundant supplies as reprinted by Tom's Hardware (review 4848,
January 2017); Ruby (2025) as reported by TechSpot (news 108077).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Points = tuple[tuple[float, float], ...]

LEVELS: dict[str, dict[str, Points]] = {
    "115V": {
        "white": ((0.2, 0.80), (0.5, 0.80), (1.0, 0.80)),
        "bronze": ((0.2, 0.82), (0.5, 0.85), (1.0, 0.82)),
        "silver": ((0.2, 0.85), (0.5, 0.88), (1.0, 0.85)),
        "gold": ((0.2, 0.87), (0.5, 0.90), (1.0, 0.87)),
        "platinum": ((0.2, 0.90), (0.5, 0.92), (1.0, 0.89)),
        "titanium": ((0.1, 0.90), (0.2, 0.92), (0.5, 0.94), (1.0, 0.90)),
    },
    "230V": {
        "bronze": ((0.2, 0.81), (0.5, 0.85), (1.0, 0.81)),
        "silver": ((0.2, 0.85), (0.5, 0.89), (1.0, 0.85)),
        "gold": ((0.2, 0.88), (0.5, 0.92), (1.0, 0.88)),
        "platinum": ((0.2, 0.90), (0.5, 0.94), (1.0, 0.91)),
        "titanium": ((0.1, 0.90), (0.2, 0.94), (0.5, 0.96), (1.0, 0.91)),
        "ruby": ((0.05, 0.90), (0.1, 0.91), (0.2, 0.95), (0.5, 0.965), (1.0, 0.92)),
    },
}
"""By input, then by level: shares of the rated output and the least efficiency there."""

# No level says what an unloaded supply draws. Assumed: the loss goes on falling below the lowest point as it does above
# it, but to no less than this share of the loss there.
NO_LOAD_SHARE = 0.5
OVERLOAD = 2.0
"""Up to this share of the rating, and beyond, the last slope goes on, so that an overloaded supply still has an
answer."""


@dataclass(frozen=True, slots=True)
class Supplies:
    """The supplies of many nodes as columns; what they deliver and draw is of all supplies of a node together."""

    rated_watts: Floats
    """Direct current that one supply is rated for; shape (nodes,)."""
    sharing: Floats
    """How many supplies share a node's load evenly; shape (nodes,)."""
    spare_watts: Floats
    """Drawn at the wall by supplies that stand by without sharing (hot spare); shape (nodes,)."""
    loads: Floats
    """Knots as shares of the rating, rising from 0; shape (points,), the same for all nodes."""
    draws: Floats
    """What one supply draws at each knot as a share of its rating; shape (nodes, points)."""

    def wall_watts(self, dc_watts: Floats) -> Floats:
        """Watts at the wall while this much direct current is delivered; NaN stays NaN. Shape (nodes,)."""
        share, piece = self._piece(dc_watts)
        drawn = self._at(self.draws, piece) + self._slope(piece) * (share - self.loads[piece])
        return np.asarray(drawn * self._capacity() + self.spare_watts)

    def dc_watts(self, wall_watts: Floats) -> Floats:
        """The direct current behind watts at the wall: the inverse of `wall_watts`, nothing below its no-load draw."""
        drawn = np.maximum((wall_watts - self.spare_watts) / self._capacity(), self.draws[:, 0])
        piece = np.zeros(len(drawn), dtype=np.intp)
        for inner in range(1, len(self.loads) - 1):
            piece += drawn > self.draws[:, inner]
        share = self.loads[piece] + (drawn - self._at(self.draws, piece)) / self._slope(piece)
        return np.asarray(share * self._capacity())

    def marginal_wall_watts(self, dc_watts: Floats) -> Floats:
        """Watts at the wall for one more watt of direct current; above zero, NaN stays NaN. Shape (nodes,)."""
        share, piece = self._piece(dc_watts)
        return np.where(np.isnan(share), np.nan, self._slope(piece))

    def efficiency(self, dc_watts: Floats) -> Floats:
        """Direct current as a share of the wall's watts; shape (nodes,)."""
        return np.asarray(np.maximum(dc_watts, 0.0) / self.wall_watts(dc_watts))

    def overloaded(self, dc_watts: Floats, *, lost: int = 0) -> Bools:
        """Whether the supplies are beyond their rating when `lost` of those that share have failed; unknown watts count
        as beyond. Shape (nodes,).
        """
        return np.asarray(~(dc_watts <= self.rated_watts * np.maximum(self.sharing - lost, 0.0)))

    def _capacity(self) -> Floats:
        return np.asarray(self.rated_watts * self.sharing)

    def _piece(self, dc_watts: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        """The load as a share of the rating, and the knot at or before it."""
        share = np.maximum(dc_watts / self._capacity(), 0.0)
        piece = np.zeros(len(share), dtype=np.intp)
        for inner in range(1, len(self.loads) - 1):
            piece += share >= self.loads[inner]
        return share, piece

    def _at(self, table: Floats, piece: npt.NDArray[np.intp]) -> Floats:
        return np.asarray(table.ravel().take(np.arange(len(piece)) * table.shape[1] + piece))

    def _slope(self, piece: npt.NDArray[np.intp]) -> Floats:
        rise = self._at(self.draws, piece + 1) - self._at(self.draws, piece)
        return np.asarray(rise / (self.loads[piece + 1] - self.loads[piece]))


def certified(
    levels: Sequence[str],
    rated_watts: Floats,
    *,
    supply: str = "230V",
    sharing: Floats | float = 1.0,
    spare_watts: Floats | float = 0.0,
) -> Supplies:
    """Supplies that just hold their 80 PLUS level, one level for each node; raises ValueError for an unknown one."""
    known = LEVELS.get(supply)
    if known is None:
        raise ValueError(f"unknown supply {supply!r}; known are {', '.join(LEVELS)}")
    names = sorted(set(levels))
    for name in names:
        if name not in known:
            raise ValueError(f"unknown 80 PLUS level {name!r} at {supply}; known are {', '.join(known)}")
    curves = [_losses(*np.array(known[name]).T) for name in names]
    knots = np.unique(np.concatenate([[0.0, OVERLOAD], *(loads for loads, _ in curves)]))
    draws = np.array([knots + np.interp(knots, *curve) for curve in curves]).reshape(len(names), len(knots))
    rows = np.array([names.index(level) for level in levels], dtype=np.intp)
    return _supplies(knots, draws[rows], rated_watts, sharing, spare_watts)


def measured(
    loads: Floats,
    efficiency: Floats,
    rated_watts: Floats,
    *,
    sharing: Floats | float = 1.0,
    spare_watts: Floats | float = 0.0,
) -> Supplies:
    """Supplies measured at `loads`, shares of the rating of shape (points,); `efficiency` of shape (nodes, points).

    Raises ValueError when the efficiencies leave 0..1 or would make the wall's watts fall with load.
    """
    if loads.ndim != 1 or len(loads) < 2 or not (np.diff(loads) > 0.0).all() or not 0.0 < loads[0] < OVERLOAD:
        raise ValueError("loads must be at least two shares of the rating, rising from above 0")
    if loads[-1] >= OVERLOAD:
        raise ValueError(f"the highest load is {loads[-1]:g}; loads are shares of the rating, not per cent")
    if efficiency.shape != (len(rated_watts), len(loads)):
        raise ValueError(f"efficiencies have shape {efficiency.shape}; expected {(len(rated_watts), len(loads))}")
    if not ((efficiency > 0.0) & (efficiency <= 1.0)).all():
        raise ValueError("efficiencies must lie above 0 and be at most 1")
    knots = np.concatenate([[0.0], loads, [OVERLOAD]])
    draws = [knots + np.interp(knots, *_losses(loads, row)) for row in efficiency]
    return _supplies(knots, np.array(draws).reshape(-1, len(knots)), rated_watts, sharing, spare_watts)


def _supplies(
    knots: Floats, draws: Floats, rated_watts: Floats, sharing: Floats | float, spare_watts: Floats | float
) -> Supplies:
    nodes = len(rated_watts)
    shares = np.broadcast_to(np.asarray(sharing, dtype=np.float64), (nodes,))
    spares = np.broadcast_to(np.asarray(spare_watts, dtype=np.float64), (nodes,))
    if not ((rated_watts > 0.0) & np.isfinite(rated_watts)).all() or not ((shares >= 1.0) & np.isfinite(shares)).all():
        raise ValueError("each node needs at least one supply with a rating above zero")
    if not ((spares >= 0.0) & np.isfinite(spares)).all():
        raise ValueError("watts of spare supplies must be finite and not negative")
    if len(draws) != nodes:
        raise ValueError(f"{len(draws)} supplies for {nodes} ratings")
    if not (np.diff(draws) > 0.0).all():
        raise ValueError("the wall's watts fall with load; the efficiencies contradict each other")
    return Supplies(np.asarray(rated_watts, dtype=np.float64), shares, spares, knots, draws)


def _losses(loads: Floats, efficiency: Floats) -> tuple[Floats, Floats]:
    """Losses as shares of the rating at the given loads, with one at no load and one at overload added."""
    lost = loads * (1.0 / efficiency - 1.0)
    slopes = np.diff(lost) / np.diff(loads)
    unloaded = np.clip(lost[0] - slopes[0] * loads[0], NO_LOAD_SHARE * lost[0], lost[0])
    beyond = lost[-1] + max(float(slopes[-1]), 0.0) * (OVERLOAD - loads[-1])
    return np.concatenate([[0.0], loads, [OVERLOAD]]), np.concatenate([[unloaded], lost, [beyond]])
