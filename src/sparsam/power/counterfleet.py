"""Counter models of many nodes at once.

A counter model is a sum of functions of one number each, all piecewise linear but the one of misses. So each node keeps
their values at common knots, and a prediction is five look-ups however many basis functions the fit had. Misses are
tabulated over their logarithm, finely enough that watts are off by less than a thousandth; all else is exact.

A node without a model answers NaN, as in `fleet`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsam.power.counters import (
    BENDS,
    CYCLES,
    INSTRUCTIONS,
    LEAST_SHARE,
    MISSES,
    SPEED_BENDS,
    UNBOOKED_BENDS,
    UTILIZATION,
    Columns,
    CounterModel,
    bends,
    raised,
)
from sparsam.power.curves import Floats, Rows

SPEED_KNOTS = 6
"""The bends of speed lie on a grid of halves up to 3."""
MISS_KNOTS = 120
MISS_TOP = 30.0
"""Natural logarithm of the most misses a second that are told apart."""


class CounterFleet:
    """Models of nodes in the order given; every column and result has shape (nodes,)."""

    def __init__(self, models: Sequence[CounterModel | None]) -> None:
        known = [model for model in models if model is not None]
        rows = np.array([model is not None for model in models], dtype=bool)

        def column(values: Sequence[float]) -> Floats:
            result = np.full(len(models), np.nan)
            result[rows] = values
            return result

        def tables(values: Sequence[Floats], knots: int) -> _Tables:
            result = np.full((len(models), knots + 1), np.nan)
            result[rows] = np.array(values).reshape(-1, knots + 1)
            return _Tables(result)

        parts = [_Parts(model) for model in known]
        self._low = {name: column([model.low[name] for model in known]) for name in (CYCLES, INSTRUCTIONS)}
        self._span = {
            name: column([max(model.high[name] - model.low[name], 1e-300) for model in known])
            for name in (CYCLES, INSTRUCTIONS)
        }
        self._high = {
            name: column([max(model.high[name], 1e-300) for model in known]) for name in (UTILIZATION, CYCLES)
        }
        self._cycles = tables([part.cycles for part in parts], BENDS)
        self._instructions = tables([part.instructions for part in parts], BENDS)
        self._speed = tables([part.speed for part in parts], SPEED_KNOTS)
        self._misses = tables([part.misses for part in parts], MISS_KNOTS)
        self._crowded = tables([part.crowded for part in parts], MISS_KNOTS)
        unbooked = [part.unbooked for part in parts]
        self._unbooked = np.zeros((len(models), len(UNBOOKED_BENDS)))
        self._unbooked[rows] = np.array(unbooked).reshape(-1, len(UNBOOKED_BENDS))
        self._idle = column([model.idle_utilization for model in known])
        self._scale = column([model.cycles_scale for model in known])
        self._max_watts = column([model.max_watts for model in known])
        self._errors = column([model.error_ratio for model in known])

    def watts(self, rates: Columns) -> Floats:
        """Predicted watts of each node at rates that hold."""
        share = np.maximum(rates[UTILIZATION], 0.0) / self._high[UTILIZATION]
        cycles = np.maximum(rates[CYCLES], 0.0) / self._high[CYCLES]
        speed = cycles / np.maximum(share, LEAST_SHARE)
        misses = np.log1p(np.maximum(rates[MISSES], 0.0)) / MISS_TOP
        watts = self._cycles.at((rates[CYCLES] - self._low[CYCLES]) / self._span[CYCLES])
        watts += self._instructions.at((rates[INSTRUCTIONS] - self._low[INSTRUCTIONS]) / self._span[INSTRUCTIONS])
        watts += np.minimum(cycles, 1.0) * self._speed.at(speed / SPEED_BENDS[-1])
        place = self._misses.place(misses)
        watts += self._misses.look(*place) + np.minimum(share, 1.0) * self._crowded.look(*place)
        self._add_unbooked(watts, rates)
        # Look-ups answer something whatever they are asked; what is missing must stay missing.
        watts += 0.0 * (share + cycles + misses + rates[INSTRUCTIONS])
        return np.minimum(watts, self._max_watts)

    def marginal_watts(self, rates: Columns, added: Columns) -> Floats:
        """Extra watts of each node when the counters that are in `added` rise by so much."""
        return self.watts(raised(rates, added)) - self.watts(rates)

    def interval(self, rates: Columns) -> tuple[Floats, Floats]:
        """Watts that nine of ten samples lie between; NaN where no error is known."""
        watts = self.watts(rates)
        return watts * (1.0 - self._errors), watts * (1.0 + self._errors)

    def _add_unbooked(self, watts: Floats, rates: Columns) -> None:
        """Cycles of work that is not yet booked as CPU time: only nodes that seem idle have any."""
        rows = np.flatnonzero(rates[UTILIZATION] < self._idle)
        idleness = np.clip(1.0 - rates[UTILIZATION][rows] / self._idle[rows], 0.0, 1.0)
        unbooked = rates[CYCLES][rows] * idleness / self._scale[rows]
        for place, bend in enumerate(UNBOOKED_BENDS):
            watts[rows] += self._unbooked[rows, place] * np.minimum(unbooked, bend) / bend


class _Tables:
    """A piecewise linear function of each node at evenly spaced knots in 0..1, flat outside."""

    def __init__(self, values: Floats) -> None:
        self._pieces = values.shape[1] - 1
        # A last piece without slope stands for 1 itself.
        rises = np.diff(values, axis=1, append=values[:, -1:])
        self._rises = rises.ravel()
        self._starts = (values - rises * np.arange(values.shape[1])).ravel()
        self._rows = np.arange(len(values)) * values.shape[1]

    def at(self, z: Floats) -> Floats:
        """The function of each node at its number; some number where that is NaN."""
        return self.look(*self.place(z))

    def place(self, z: Floats) -> tuple[Rows, Floats]:
        """The piece that each node's number lies in, and the number in knots."""
        knots = np.minimum(np.fmax(z, 0.0), 1.0) * self._pieces
        return self._rows + knots.astype(np.intp), knots

    def look(self, place: Rows, knots: Floats) -> Floats:
        """The functions at places found before, here or in other tables of as many knots."""
        return np.asarray(self._starts.take(place) + self._rises.take(place) * knots)


class _Parts:
    """The functions that a model adds up, at the knots."""

    def __init__(self, model: CounterModel) -> None:
        scales = model.miss_scales
        curve, lengths = 2 * BENDS - 1, [2 * BENDS - 1] * 2 + [len(SPEED_BENDS), 2 * len(scales), len(UNBOOKED_BENDS)]
        constant, rest = model.coefficients[0], model.coefficients[1:]
        cycles, instructions, speed, misses, self.unbooked = np.split(rest, np.cumsum(lengths)[:-1])
        knots = np.linspace(0.0, 1.0, BENDS + 1)
        shapes = np.stack(list(bends(knots, 0.0, 1.0)), axis=1)
        assert shapes.shape[1] == curve
        # A counter that never moved in training adds nothing, wherever it goes.
        self.cycles = constant + shapes @ cycles * _moves(model, CYCLES)
        self.instructions = shapes @ instructions * _moves(model, INSTRUCTIONS)
        at = np.linspace(0.0, SPEED_BENDS[-1], SPEED_KNOTS + 1)
        self.speed = np.stack([np.minimum(at, bend) / bend for bend in SPEED_BENDS], axis=1) @ speed
        count = np.expm1(np.linspace(0.0, MISS_TOP, MISS_KNOTS + 1))
        logarithms = np.stack([np.log1p(count / scale) for scale in scales], axis=1)
        self.misses, self.crowded = logarithms @ misses[0::2], logarithms @ misses[1::2]


def _moves(model: CounterModel, name: str) -> float:
    return float(model.high[name] > model.low[name])
