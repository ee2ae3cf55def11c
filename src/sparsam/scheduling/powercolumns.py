"""Power of all nodes as columns: each node's curve as watts at even steps of load, whatever its model's family.

A table costs a kilobyte for each node and answers for any set of rows with one look-up; between two of its steps the
curve is taken to be straight, which adds less than 0.1 % of error to any model in the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsam.power import learned
from sparsam.power.nodemodel import node_model
from sparsam.power.online import P90_SIZE, Trust
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION
from sparsam.power.thermal import assumed
from sparsam.scheduling.columns import Bools, Floats, Ints, Rows, grown

Obj = Mapping[str, Any]

_ANNOTATIONS = (MODEL_ANNOTATION, IDLE_ANNOTATION, MAX_ANNOTATION)
STEPS = 64
SPEED_ANNOTATION = "power.sparsam.dev/core-speed"
"""Work of one core in a second beside that of the fleet's usual core; 1 where it is not stated."""
SLEEP_RATIO = 0.03
"""Watts asleep beside idle watts (suspended to memory), where nothing states them."""
UNKNOWN_ERROR_RATIO = 0.5
UNTRUSTED_RATIO = 1.6
"""Load on a node that no model predicts is taken to cost so many times what its model says."""


class PowerColumns:
    """Columns of shape (rows,); `watts` and `errors` have a line for each row."""

    def __init__(self) -> None:
        self.watts: Floats = np.zeros((0, STEPS + 1))
        """Watts at load 0, 1/STEPS, ... 1."""
        self.envelope: Floats = np.zeros((0, STEPS + 1))
        """The same on the lower convex envelope of the curve, which starts at idle watts (see `envelope`)."""
        self.errors: Floats = np.zeros(0)
        """Standard error of the watts, as a share of them."""
        self.estimated: Bools = np.zeros(0, np.bool_)
        self.untrusted: Bools = np.zeros(0, np.bool_)
        self.observed_load: Floats = np.zeros(0)
        """Utilization that the meter saw, 0..1; NaN where none told."""
        self.inlet_celsius: Floats = np.zeros(0)
        """NaN where no sensor tells."""
        self.speed: Floats = np.zeros(0)
        """Work that a core does in a second, beside that of the core that requests are meant for."""
        self.sleep_watts: Floats = np.zeros(0)
        self.expected_millicores: Floats = np.zeros(0)
        """What the pods that count on the node are expected to use."""
        self.unexplained_millicores: Floats = np.zeros(0)
        """What the meter saw beyond that (or below zero, short of it)."""
        self._unseen_millicores: Floats = np.zeros(0)
        """Of pods that came since the last observation, which it cannot have seen."""
        self._pods: Ints = np.zeros(0, np.int64)
        self._curves: dict[int, _Curve] = {}
        self._capacity_millicores: dict[int, float] = {}
        self._rows: dict[str, int] = {}
        self._states: dict[str, Obj] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        for name in ("watts", "envelope"):
            known = getattr(self, name)
            setattr(self, name, np.concatenate((known, np.zeros((rows - len(known), STEPS + 1)))))
        for name in (
            *("errors", "estimated", "untrusted", "sleep_watts", "_pods"),
            *("expected_millicores", "unexplained_millicores", "_unseen_millicores"),
        ):
            setattr(self, name, grown(getattr(self, name), rows))
        for name in ("observed_load", "inlet_celsius"):
            setattr(self, name, grown(getattr(self, name), rows, math.nan))
        self.speed = grown(self.speed, rows, 1.0)

    def set_node(self, row: int, name: str, annotations: Mapping[str, str], threads: float) -> None:
        """Take the node's model from its annotations, or the prior by its threads."""
        self._curves[row] = _curve(tuple(annotations.get(each) for each in _ANNOTATIONS), threads)
        self._rows[name] = row
        self.speed[row] = _positive(annotations.get(SPEED_ANNOTATION), 1.0)
        self._capacity_millicores[row] = 1000.0 * threads
        self._fill(row, self._states.get(name))

    def set_state(self, name: str, status: Obj | None) -> int | None:
        """Take over the `status` of a node's NodePower, or forget it; returns the row if the node is known."""
        if status is None:
            self._states.pop(name, None)
        else:
            self._states[name] = status
        row = self._rows.get(name)
        if row is not None:
            self._fill(row, status)
        return row

    def clear(self, name: str) -> None:
        """The node is gone."""
        self._curves.pop(self._rows.pop(name), None)

    def count(self, row: int, millicores: float, sign: int) -> None:
        """A pod that is expected to use so much came to a node, or with -1 went."""
        self.expected_millicores[row] += sign * millicores
        self._pods[row] += sign
        if sign > 0:
            self._unseen_millicores[row] += millicores
        else:
            self._unseen_millicores[row] = max(self._unseen_millicores[row] - millicores, 0.0)

    def empty(self, rows: Rows | slice) -> Bools:
        """Nodes without any pod."""
        return np.equal(self._pods[rows], 0)

    def asleep_watts(self, rows: Rows | slice) -> Floats:
        """What the nodes would draw asleep."""
        return self.sleep_watts[rows]

    def warm_watts(self, rows: Rows | slice, load: Floats, added: Floats) -> Floats:
        """What fans and leakage add to the marginal watts in air that is not the calibration's; zero where unknown."""
        inlet = self.inlet_celsius[rows]
        known = np.isfinite(inlet)
        if not known.any():
            return np.zeros(load.shape)
        thermal = assumed(self.watts[rows, STEPS])
        after = np.minimum(load + added, 1.0)
        extra = thermal.extra_watts(inlet, after) - thermal.extra_watts(inlet, load)
        return np.where(known, np.nan_to_num(extra), 0.0)

    def watts_at(self, rows: Rows | slice, load: Floats) -> Floats:
        """Watts of the rows at their loads, of equal shape."""
        return _look_up(self.watts[rows], np.clip(load, 0.0, 1.0))

    def envelope_at(self, rows: Rows | slice, load: Floats) -> Floats:
        """The same on the curves' envelopes, which go on straight beyond a full node: what waits there costs later."""
        return _look_up(self.envelope[rows], np.maximum(load, 0.0))

    def _fill(self, row: int, status: Obj | None) -> None:
        curve, status = self._curves[row], status or {}
        state = status.get("model") or {}
        learned_levels = _as_learned(curve.levels, state)
        self.watts[row] = curve.levels if learned_levels is None else learned_levels
        self.envelope[row] = curve.envelope if learned_levels is None else envelope(learned_levels)
        self.errors[row] = curve.error_ratio if learned_levels is None else state.get("errorRatio", curve.error_ratio)
        self.estimated[row] = curve.estimated
        trust = state.get("trust")
        silent = trust == Trust.UNKNOWN.label and bool(state.get("readings"))
        self.untrusted[row] = silent or trust == Trust.OUT_OF_TOLERANCE.label
        self.inlet_celsius[row] = status.get("inletCelsius", math.nan)
        self.sleep_watts[row] = SLEEP_RATIO * self.watts[row, 0]
        self._observe(row, _share(status.get("utilization")))

    def _observe(self, row: int, load: float) -> None:
        """Take over what the meter saw; pods that came meanwhile are counted beside it."""
        self.observed_load[row] = load
        seen = self.expected_millicores[row] - self._unseen_millicores[row]
        found = load * self._capacity_millicores[row]
        self.unexplained_millicores[row] = 0.0 if math.isnan(load) else found - seen
        self._unseen_millicores[row] = 0.0


@dataclass(frozen=True, slots=True)
class _Curve:
    levels: Floats
    """Watts at the steps."""
    envelope: Floats
    error_ratio: float
    estimated: bool


@lru_cache(maxsize=4096)
def _curve(stated: tuple[str | None, ...], threads: float) -> _Curve:
    annotations = {name: text for name, text in zip(_ANNOTATIONS, stated, strict=True) if text is not None}
    model = node_model(annotations, threads)
    levels = np.array([model.watts(step / STEPS) for step in range(STEPS + 1)])
    errors = [each.p90_ratio for each in model.error_by_level] or [UNKNOWN_ERROR_RATIO]
    return _Curve(levels, envelope(levels), float(np.mean(errors)) / P90_SIZE, model.estimated)


def envelope(levels: Floats) -> Floats:
    """The lower convex envelope of a curve given at even steps of load.

    Server curves jump out of idle and flatten before they turn up, so the watts that the next pod adds say little of
    what a server costs once it is well filled: whoever goes by them keeps away from efficient servers that are empty.
    On the envelope the first pods already cost what they do on average when the server is at its best load, and a
    greedy choice of the cheapest step comes close to the least watts that any distribution of the load could draw: with
    divisible load it reaches them exactly, since steps of convex curves are then taken in order of their price (the
    continuous knapsack problem; Dantzig, "Discrete-variable extremum problems", Operations Research 1957).
    """
    kept: list[int] = []
    for point in range(len(levels)):
        while len(kept) >= 2 and _is_above(levels, kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return np.interp(np.arange(len(levels)), kept, levels[kept])


def _is_above(levels: Floats, before: int, middle: int, after: int) -> bool:
    """Whether the middle point lies on or above the line between the others."""
    rise = (levels[after] - levels[before]) * (middle - before)
    return bool((levels[middle] - levels[before]) * (after - before) >= rise)


def _as_learned(levels: Floats, state: Obj) -> Floats | None:
    """The curve as the node's meter found it: idle, the curve's own shape and load, each with what was learned."""
    try:
        idle, span, slope = learned.decode(str(state.get("learned", "")).encode()).coefficients
    except ValueError:
        return None
    range_watts = levels[-1] - levels[0]
    shape = (levels - levels[0]) / range_watts if range_watts > 0.0 else np.zeros_like(levels)
    return np.asarray(idle + span * shape + slope * np.linspace(0.0, 1.0, STEPS + 1))


def _look_up(table: Floats, load: Floats) -> Floats:
    place = load * STEPS
    step = np.minimum(place.astype(np.intp), STEPS - 1)
    line = np.arange(len(table))
    below = table[line, step]
    return np.asarray(below + (table[line, step + 1] - below) * (place - step))


def _positive(text: str | None, otherwise: float) -> float:
    try:
        value = float(text or "")
    except ValueError:
        return otherwise
    return value if 0.0 < value < math.inf else otherwise


def _share(value: Any) -> float:
    try:
        return min(max(float(value), 0.0), 1.0)
    except (TypeError, ValueError):
        return math.nan
