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
from typing import Any, NamedTuple

import numpy as np

from sparsam.power import learned, sleep
from sparsam.power.nodemodel import node_model
from sparsam.power.online import P90_SIZE, Trust
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION
from sparsam.power.thermal import assumed
from sparsam.scheduling.columns import Bools, Floats, Ints, Rows, cells, clipped, grown
from sparsam.scheduling.curvetables import STEPS, CurveTables, look_up, rise, rises
from sparsam.scheduling.nodefacts import Facts, FactTable, Seen

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
SATURATED_PRESSURE = 0.5
"""Share of time in which some task waits for a CPU from which on a node is as good as full: an assumption."""
INLET_STEP_KELVIN = 0.5
"""Less changes no decision."""


class PowerColumns:
    """Columns of shape (rows,)."""

    def __init__(self) -> None:
        self.tables = CurveTables()
        self.curve: Ints = np.zeros(0, np.int64)
        """Number of each node's curve in `tables`, -1 for a row without a node."""
        self.estimated: Bools = np.zeros(0, np.bool_)
        self.observed_load: Floats = np.zeros(0)
        """Utilization that the meter saw, 0..1; NaN where none told."""
        self.inlet_celsius: Floats = np.zeros(0)
        """NaN where no sensor tells."""
        self._knows_inlets = self.sleepers = False
        """Whether some inlet was ever known, and whether some node ever slept."""
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
        self._unexplained_millicores: Floats = np.zeros(0)
        """What the meter saw beyond that (or below zero, short of it)."""
        self._unseen_millicores: Floats = np.zeros(0)
        """Of pods that came since the last observation, which it cannot have seen."""
        self._pods: Ints = np.zeros(0, np.int64)
        self._table = FactTable()
        self._cells = self._found_cells()
        self._curves: dict[int, _Curve] = {}
        self._sleep_kinds: dict[int, str] = {}
        self._rows: dict[str, int] = {}
        self._states: dict[str, Obj] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        self.curve = grown(self.curve, rows, -1)
        for name in (
            *("estimated", "asleep", "_pods", "_option_watts", "_wake_watts", "_wake_joules"),
            *("expected_millicores", "_unexplained_millicores", "_unseen_millicores"),
        ):
            setattr(self, name, grown(getattr(self, name), rows))
        for name in ("observed_load", "inlet_celsius", "wake_seconds"):
            setattr(self, name, grown(getattr(self, name), rows, math.nan))
        self._table.grow(rows)
        self._cells = self._found_cells()

    @property
    def facts(self) -> Facts[Floats]:
        """Of all rows."""
        return self._table.columns

    def facts_of(self, rows: Rows | slice) -> Facts[Floats]:
        """Of these rows."""
        return self._table.of(rows)

    def seen(self, rows: Rows | slice | int) -> Seen[Any]:
        """These rows, or a single one in plain numbers."""
        if isinstance(rows, int):
            return Seen(rows, self._table.one(rows), self.rise_at, min, max)
        return Seen(rows, self._table.of(rows), self.rises_at, np.minimum, np.maximum)

    def set_node(self, row: int, name: str, annotations: Mapping[str, str], millicores: float) -> None:
        """Take the node's model from its annotations, or the prior by its threads."""
        threads, facts = max(millicores / 1000.0, 1.0), self.facts
        self._curves[row] = _curve(tuple(annotations.get(each) for each in _ANNOTATIONS), threads)
        self._rows[name] = row
        facts.capacity_millicores[row] = max(millicores, 1.0)
        facts.speed[row] = _positive(annotations.get(SPEED_ANNOTATION), 1.0)
        facts.facility[row] = max(_positive(annotations.get(FACILITY_ANNOTATION), 1.0), 1.0)
        self._sleep_kinds[row] = annotations.get(SLEEP_ANNOTATION, "")
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
        of = self._cells
        of.expected[row] = expected = of.expected[row] + sign * millicores
        of.unseen[row] = max(of.unseen[row] + sign * millicores, 0.0)
        if holds:
            of.pods[row] = pods = of.pods[row] + sign
            if pods <= 1:
                self._stand(row)
        load = (expected + of.unexplained[row]) / of.capacity[row]
        of.load[row] = min(max(load, 0.0), 1.0)

    def set_asleep(self, row: int, asleep: bool) -> None:
        """The node takes no pods before it is woken; or it is awake, or on its way."""
        self.asleep[row] = asleep
        self.sleepers |= asleep
        self._stand(row)

    def observe_inlets(self, rows: Rows, celsius: Floats) -> Rows:
        """Take over the temperature of the air at many nodes' inlets; the rows of those where it makes a difference."""
        moved = ~(np.abs(celsius - self.inlet_celsius[rows]) < INLET_STEP_KELVIN)
        self.inlet_celsius[rows[moved]] = celsius[moved]
        self._knows_inlets = True
        return np.asarray(rows[moved])

    def time_ratio(self, row: int, *, batch: bool) -> float:
        """CPU time that a pod takes on a node beside that on a core of speed 1.

        A service does what it is asked, and needs less time for it on a faster core. Batch takes all that its core has.
        """
        return 1.0 if batch else 1.0 / float(self.facts.speed[row])

    def empty(self, rows: Rows | slice) -> Bools:
        """Nodes without any pod that keeps them awake."""
        return np.equal(self._pods[rows], 0)

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
        return np.asarray(self.tables.best[self.curve[rows]] / (np.maximum(capacity, 1.0) * self.facts.speed[rows]))

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
        watts, below = rises(self.tables.steps, self.curve[rows], before, after)
        if not self._knows_inlets:
            return watts, below
        warm = self._warm_watts(rows, before, after)
        return watts + warm, below + warm

    def rise_at(self, row: int, before: float, after: float) -> tuple[float, float]:
        """The same of a single row."""
        if self._knows_inlets:
            watts, below = self.rises_at(np.array([row]), np.array([before]), np.array([after]))
            return float(watts[0]), float(below[0])
        return rise(self.tables.lines[self._cells.curve[row]], before, after)

    def _warm_watts(self, rows: Rows | slice, before: Floats, after: Floats) -> Floats:
        """What fans and leakage add to a rise of load in air that is not the calibration's; zero where unknown."""
        inlet = self.inlet_celsius[rows]
        known = np.isfinite(inlet)
        thermal = assumed(self.level_watts(rows, STEPS))
        extra = thermal.extra_watts(inlet, np.minimum(after, 1.0)) - thermal.extra_watts(inlet, before)
        return np.where(known, np.nan_to_num(extra), 0.0)

    def _fill(self, row: int, status: Obj | None) -> None:
        curve, facts, status = self._curves[row], self.facts, status or {}
        state = status.get("model") or {}
        learned_levels = _as_learned(curve.levels, state)
        self._set_curve(row, curve.levels if learned_levels is None else learned_levels)
        facts.errors[row] = curve.error_ratio if learned_levels is None else state.get("errorRatio", curve.error_ratio)
        self.estimated[row] = curve.estimated
        trust = state.get("trust")
        silent = trust == Trust.UNKNOWN.label and bool(state.get("readings"))
        facts.doubt_ratio[row] = UNTRUSTED_RATIO if silent or trust == Trust.OUT_OF_TOLERANCE.label else 1.0
        self.inlet_celsius[row] = status.get("inletCelsius", math.nan)
        self._knows_inlets |= "inletCelsius" in status
        self.asleep[row] = status.get("state") in ASLEEP_STATES
        self.sleepers |= bool(self.asleep[row])
        pressure = np.nan_to_num(_share(status.get("cpuPressure")))
        facts.ease[row] = 1.0 - min(pressure / SATURATED_PRESSURE, 1.0)
        self._fill_sleep(row)
        self._stand(row)
        self.observe(np.array([row]), np.array([_share(status.get("utilization"))]))

    def _stand(self, row: int) -> None:
        """What a pod on the node would add before its load."""
        facts, asleep = self.facts, bool(self.asleep[row])
        facts.woken_watts[row] = self._wake_watts[row] if asleep else 0.0
        facts.woken_joules[row] = self._wake_joules[row] if asleep else 0.0
        facts.kept_watts[row] = self._option_watts[row] if not asleep and self._pods[row] == 0 else 0.0

    def _found_cells(self) -> _Cells:
        return _Cells(
            expected=cells(self.expected_millicores),
            unexplained=cells(self._unexplained_millicores),
            unseen=cells(self._unseen_millicores),
            pods=cells(self._pods),
            curve=cells(self.curve),
            capacity=cells(self.facts.capacity_millicores),
            load=cells(self.facts.load),
        )

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
        facts = self.facts
        capacity = facts.capacity_millicores[rows]
        self.observed_load[rows] = load
        facts.peak_load[rows] = np.maximum(PEAK_RATIO * facts.peak_load[rows], np.nan_to_num(load))
        seen = self.expected_millicores[rows] - self._unseen_millicores[rows]
        self._unexplained_millicores[rows] = np.nan_to_num(load * capacity - seen)
        self._unseen_millicores[rows] = 0.0
        used = self.expected_millicores[rows] + self._unexplained_millicores[rows]
        facts.load[rows] = clipped(used / capacity)


class _Cells(NamedTuple):
    """Single places of what changes with each pod (see `columns.cells`)."""

    expected: Any
    unexplained: Any
    unseen: Any
    pods: Any
    curve: Any
    capacity: Any
    load: Any


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
