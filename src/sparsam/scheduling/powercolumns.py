"""Power of all nodes as columns: each node's curve as watts at even steps of load, whatever its model's family.

Servers of one model share a line of a table (`curvetables`), which answers for any set of rows with one look-up.
Between two of its steps the curve is taken to be straight, which adds less than 0.1 % of error to any model in the
catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsam.power import learned, sleep
from sparsam.power.nodemodel import node_model
from sparsam.power.online import P90_SIZE, Trust
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION
from sparsam.power.thermal import assumed
from sparsam.scheduling.columns import Bools, Floats, Ints, Rows, clipped, grown
from sparsam.scheduling.curvetables import STEPS, CurveTables, look_up, rises

Obj = Mapping[str, Any]

_ANNOTATIONS = (MODEL_ANNOTATION, IDLE_ANNOTATION, MAX_ANNOTATION)
SPEED_ANNOTATION = "power.sparsam.dev/core-speed"
"""Work of one core in a second beside that of the fleet's usual core; 1 where it is not stated."""
FACILITY_ANNOTATION = "power.sparsam.dev/pue"
"""Watts at the meter of the building for each watt of this server, cooling and supply included; 1 where not stated."""
SLEEP_ANNOTATION = "power.sparsam.dev/sleep-state"
"""How the server can sleep (a kind that `power.sleep` knows); it cannot where nothing is stated."""
ASLEEP_STATES = frozenset({"FallingAsleep", "Asleep", "Waking"})
MEAN_IDLE_SECONDS = 1800.0
"""How long a server that stands empty is taken to stay so, if nothing is placed on it: an assumption."""
PEAK_RATIO = 0.99
"""What is left of a peak of load with each observation; at one in 30 s, half of it in 35 minutes."""
UNKNOWN_ERROR_RATIO = 0.5
UNTRUSTED_RATIO = 1.6
"""Load on a node that no model predicts is taken to cost so many times what its model says."""


class PowerColumns:
    """Columns of shape (rows,); `watts` and `errors` have a line for each row."""

    def __init__(self) -> None:
        self.tables = CurveTables()
        self.curve: Ints = np.zeros(0, np.int64)
        """Number of each node's curve in `tables`, -1 for a row without a node."""
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
        self.facility: Floats = np.zeros(0)
        """Watts of the building for each watt of the node."""
        self.peak_load: Floats = np.zeros(0)
        """The highest load that the meter saw, fading; 0 where it saw none."""
        self.pressure: Floats = np.zeros(0)
        """Share of time in which some task on the node waits for a CPU, 0..1; 0 where unknown."""
        self.asleep: Bools = np.zeros(0, np.bool_)
        self._option_watts: Floats = np.zeros(0)
        """What the node, standing empty, would save by sleeping."""
        self._wake_watts: Floats = np.zeros(0)
        self._wake_joules: Floats = np.zeros(0)
        """What waking the node costs: so much as long as it is awake, and so much once."""
        self.wake_seconds: Floats = np.zeros(0)
        """How long waking takes; NaN for a node that cannot sleep."""
        self.expected_millicores: Floats = np.zeros(0)
        """What the pods that count on the node are expected to use."""
        self.unexplained_millicores: Floats = np.zeros(0)
        """What the meter saw beyond that (or below zero, short of it)."""
        self._unseen_millicores: Floats = np.zeros(0)
        """Of pods that came since the last observation, which it cannot have seen."""
        self._pods: Ints = np.zeros(0, np.int64)
        self._curves: dict[int, _Curve] = {}
        self._capacity_millicores: Floats = np.zeros(0)
        self._sleep_kinds: dict[int, str] = {}
        self._rows: dict[str, int] = {}
        self._states: dict[str, Obj] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        self.curve = grown(self.curve, rows, -1)
        for name in (
            *("errors", "estimated", "untrusted", "peak_load", "pressure", "asleep", "_pods"),
            *("_option_watts", "_wake_watts", "_wake_joules"),
            *("expected_millicores", "unexplained_millicores", "_unseen_millicores"),
            "_capacity_millicores",
        ):
            setattr(self, name, grown(getattr(self, name), rows))
        for name in ("observed_load", "inlet_celsius", "wake_seconds"):
            setattr(self, name, grown(getattr(self, name), rows, math.nan))
        self.speed = grown(self.speed, rows, 1.0)
        self.facility = grown(self.facility, rows, 1.0)

    def set_node(self, row: int, name: str, annotations: Mapping[str, str], threads: float) -> None:
        """Take the node's model from its annotations, or the prior by its threads."""
        self._curves[row] = _curve(tuple(annotations.get(each) for each in _ANNOTATIONS), threads)
        self._rows[name] = row
        self.speed[row] = _positive(annotations.get(SPEED_ANNOTATION), 1.0)
        self.facility[row] = max(_positive(annotations.get(FACILITY_ANNOTATION), 1.0), 1.0)
        self._sleep_kinds[row] = annotations.get(SLEEP_ANNOTATION, "")
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
        row = self._rows.pop(name)
        del self._curves[row]
        self._set_curve(row, None)

    def count(self, row: int, millicores: float, sign: int, *, holds: bool = True) -> None:
        """A pod that is expected to use so much came to a node, or with -1 went; `holds`: whether it keeps it awake."""
        self.expected_millicores[row] += sign * millicores
        self._pods[row] += sign * holds
        if sign > 0:
            self._unseen_millicores[row] += millicores
        else:
            self._unseen_millicores[row] = max(self._unseen_millicores[row] - millicores, 0.0)

    def time_ratio(self, row: int, *, batch: bool) -> float:
        """CPU time that a pod takes on a node beside that on a core of speed 1.

        A service does what it is asked, and needs less time for it on a faster core. Batch takes all that its core has.
        """
        return 1.0 if batch else 1.0 / float(self.speed[row])

    def empty(self, rows: Rows | slice) -> Bools:
        """Nodes without any pod that keeps them awake."""
        return np.equal(self._pods[rows], 0)

    def idle_watts_added(self, rows: Rows | slice, stay_seconds: float, *, sleeps: bool) -> Floats:
        """What a pod that stays so long adds before its load: waking a sleeping node, or forgoing an empty one's sleep.

        The latter only where empty nodes are sent to sleep; a node with work stays awake anyway (see `power.sleep`).
        """
        woken = self._wake_watts[rows] + self._wake_joules[rows] / max(stay_seconds, 1.0)
        kept = np.where(self.empty(rows), self._option_watts[rows], 0.0) if sleeps else 0.0
        return np.where(self.asleep[rows], woken, kept)

    def warm_watts(self, rows: Rows | slice, load: Floats, added: Floats) -> Floats | None:
        """What fans and leakage add to the marginal watts in air that is not the calibration's; zero where unknown.

        None where it is unknown throughout.
        """
        inlet = self.inlet_celsius[rows]
        known = np.isfinite(inlet)
        if not known.any():
            return None
        thermal = assumed(self.level_watts(rows, STEPS))
        after = np.minimum(load + added, 1.0)
        extra = thermal.extra_watts(inlet, after) - thermal.extra_watts(inlet, load)
        return np.where(known, np.nan_to_num(extra), 0.0)

    def watts_at(self, rows: Rows | slice, load: Floats) -> Floats:
        """Watts of the rows at their loads, whose last axis is as long."""
        return look_up(self.tables.watts, self.curve[rows], clipped(load))

    def saved_asleep_watts(self, rows: Rows | slice) -> Floats:
        """What idle nodes draw less when they sleep; 0 for nodes that cannot."""
        return self._wake_watts[rows]

    def wake_joules(self, row: int) -> float:
        """What waking a node costs once."""
        return float(self._wake_joules[row])

    def unit_watts(self, rows: Rows | slice, capacity: Floats) -> Floats:
        """Watts per unit of work at each node's best load, idle watts included; `capacity` in any unit of CPU."""
        return np.asarray(self.tables.best[self.curve[rows]] / (np.maximum(capacity, 1.0) * self.speed[rows]))

    def filling_watts(self, rows: Rows, *, sleeps: bool) -> Floats:
        """What a node draws more when it is full than when it is empty; where nodes sleep, than asleep."""
        curves = self.curve[rows]
        filled = self.tables.watts[curves, STEPS] - self.tables.watts[curves, 0]
        return np.asarray(filled + (self._wake_watts[rows] if sleeps else 0.0))

    def level_watts(self, rows: Rows | slice, step: int) -> Floats:
        """Watts of the rows at one of the steps of load."""
        return np.asarray(self.tables.watts[self.curve[rows], step])

    def rises_at(self, rows: Rows | slice, before: Floats, after: Floats) -> tuple[Floats, Floats]:
        """By how much the rows' watts rise between two loads, and by how much on their curves' envelopes.

        Envelopes go on straight beyond a full node: what waits there costs later. Loads are not below 0.
        """
        return rises(self.tables, self.curve[rows], before, after)

    def _fill(self, row: int, status: Obj | None) -> None:
        curve, status = self._curves[row], status or {}
        state = status.get("model") or {}
        learned_levels = _as_learned(curve.levels, state)
        self._set_curve(row, curve.levels if learned_levels is None else learned_levels)
        self.errors[row] = curve.error_ratio if learned_levels is None else state.get("errorRatio", curve.error_ratio)
        self.estimated[row] = curve.estimated
        trust = state.get("trust")
        silent = trust == Trust.UNKNOWN.label and bool(state.get("readings"))
        self.untrusted[row] = silent or trust == Trust.OUT_OF_TOLERANCE.label
        self.inlet_celsius[row] = status.get("inletCelsius", math.nan)
        self.asleep[row] = status.get("state") in ASLEEP_STATES
        self.pressure[row] = np.nan_to_num(_share(status.get("cpuPressure")))
        self._fill_sleep(row)
        self.observe(np.array([row]), np.array([_share(status.get("utilization"))]))

    def _set_curve(self, row: int, levels: Floats | None) -> None:
        before = int(self.curve[row])
        self.curve[row] = -1 if levels is None else self.tables.take(levels)
        if before >= 0:
            self.tables.drop(before)

    def _fill_sleep(self, row: int) -> None:
        kind = self._sleep_kinds[row]
        if kind not in sleep.ASSUMED:
            self._option_watts[row] = self._wake_watts[row] = self._wake_joules[row] = 0.0
            self.wake_seconds[row] = math.nan
            return
        ends = self.tables.watts[self.curve[row]]
        state = sleep.assumed(kind, ends[:1], ends[-1:])
        self._option_watts[row] = state.option_watts(np.array([MEAN_IDLE_SECONDS]))[0]
        self.wake_seconds[row] = state.wake_seconds[0]
        self._wake_watts[row] = np.maximum(state.idle_watts - state.asleep_watts, 0.0)[0]
        self._wake_joules[row] = state.wake_watts(np.ones(1))[0] - self._wake_watts[row]

    def observe(self, rows: Rows, load: Floats) -> None:
        """Take over what the meters of these nodes saw, as `set_state` does for one."""
        self.observed_load[rows] = load
        self.peak_load[rows] = np.maximum(PEAK_RATIO * self.peak_load[rows], np.nan_to_num(load))
        capacity = self._capacity_millicores[rows]
        seen = self.expected_millicores[rows] - self._unseen_millicores[rows]
        self.unexplained_millicores[rows] = np.nan_to_num(load * capacity - seen)
        self._unseen_millicores[rows] = 0.0


@dataclass(frozen=True, slots=True)
class _Curve:
    levels: Floats
    """Watts at the steps."""
    error_ratio: float
    estimated: bool


@lru_cache(maxsize=4096)
def _curve(stated: tuple[str | None, ...], threads: float) -> _Curve:
    annotations = {name: text for name, text in zip(_ANNOTATIONS, stated, strict=True) if text is not None}
    model = node_model(annotations, threads)
    levels = np.array([model.watts(step / STEPS) for step in range(STEPS + 1)])
    errors = [each.p90_ratio for each in model.error_by_level] or [UNKNOWN_ERROR_RATIO]
    return _Curve(levels, float(np.mean(errors)) / P90_SIZE, model.estimated)


def _as_learned(levels: Floats, state: Obj) -> Floats | None:
    """The curve as the node's meter found it: idle, the curve's own shape and load, each with what was learned."""
    try:
        idle, span, slope = learned.decode(str(state.get("learned", "")).encode()).coefficients
    except ValueError:
        return None
    range_watts = levels[-1] - levels[0]
    shape = (levels - levels[0]) / range_watts if range_watts > 0.0 else np.zeros_like(levels)
    return np.asarray(idle + span * shape + slope * np.linspace(0.0, 1.0, STEPS + 1))


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
