"""Joules of every node, exact between changes: watts are constant from one change of a node to its next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsam.power.sleep import Sleep
from sparsam.scheduling.columns import cells
from sparsam.scheduling.curvetables import STEPS, look_up

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

AWAKE, FALLING, ASLEEP, WAKING, FAILED = range(5)
"""States of a node."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the joules of a fleet went; their sum is all of them."""

    idle: float
    """Of awake nodes, load or not."""
    load: float
    """What load added to that."""
    asleep: float
    transitions: float
    """Falling asleep and waking."""
    heat: float
    """What fans and leakage added in air warmer than the calibration's (or took off, in colder air)."""

    @property
    def total(self) -> float:
        """All joules at the servers' plugs."""
        return self.idle + self.load + self.asleep + self.transitions + self.heat


class Energy:
    """Integrates the watts of nodes with curves `tables[curve]`, shape (nodes, STEPS + 1) once looked up."""

    def __init__(self, watts: Floats, sleep: Sleep) -> None:
        nodes = len(watts)
        self._table, self._rows = watts, np.arange(nodes)
        self._lists: Sequence[list[float]] = watts.tolist()
        self._sleep = sleep
        self.state = np.zeros(nodes, np.int8)
        self.load: Floats = np.zeros(nodes)
        """Utilization of each node, not cut to 1."""
        self.heat_watts: Floats = np.zeros(nodes)
        self.watts: Floats = watts[:, 0].copy()
        """What each node draws now, without `heat_watts`."""
        self._joules: Floats = np.zeros(nodes)
        self._idle_seconds: Floats = np.zeros(nodes)
        self._asleep_joules, self._transition_joules, self._heat_joules = 0.0, 0.0, np.zeros(nodes)
        self._since: Floats = np.zeros(nodes)
        self._find_cells()

    def _find_cells(self) -> None:
        """Single nodes change far more often than all of them."""
        self._state_at, self._load_at, self._watts_at = cells(self.state), cells(self.load), cells(self.watts)
        self._joules_at, self._since_at = cells(self._joules), cells(self._since)
        self._heat_at, self._idle_at = cells(self.heat_watts), cells(self._idle_seconds)

    def set_load(self, row: int, load: float, now: float) -> None:
        """One node's load changed."""
        self._settle(row, now)
        self._load_at[row] = load
        if self._state_at[row] == AWAKE:
            self._watts_at[row] = self._awake_watts(row, load)

    def set_loads(self, load: Floats, now: float) -> None:
        """All loads may have changed."""
        self.settle(now)
        self.load[:] = load
        awake = self.state == AWAKE
        drawn = look_up(self._table, self._rows, np.clip(load, 0.0, 1.0))
        np.copyto(self.watts, drawn, where=awake)

    def set_heat(self, watts: Floats, now: float) -> None:
        """What fans and leakage add from now on; counts for nodes that are awake."""
        self.settle(now)
        self.heat_watts[:] = np.where(self.state == AWAKE, watts, 0.0)

    def set_state(self, row: int, state: int, now: float) -> None:
        """A node fell asleep, woke, failed or came back."""
        self._settle(row, now)
        self.state[row] = state
        if state != AWAKE:
            self.heat_watts[row] = 0.0
        self.watts[row] = self._watts(row, state)

    def settle(self, now: float) -> None:
        """Count every node up to now."""
        seconds = now - self._since
        joules = self.watts * seconds
        self._joules += joules + self.heat_watts * seconds
        self._heat_joules += self.heat_watts * seconds
        self._idle_seconds += np.where(self.state == AWAKE, seconds, 0.0)
        self._asleep_joules += float(joules[self.state == ASLEEP].sum())
        self._transition_joules += float(joules[(self.state == FALLING) | (self.state == WAKING)].sum())
        self._since[:] = now

    @property
    def joules(self) -> Floats:
        """Of each node up to the last settlement."""
        return self._joules

    def parts(self) -> Parts:
        """Of all nodes up to the last settlement."""
        idle = float((self._idle_seconds * self._table[:, 0]).sum())
        heat = float(self._heat_joules.sum())
        rest = float(self._joules.sum()) - idle - heat - self._asleep_joules - self._transition_joules
        return Parts(idle, rest, self._asleep_joules, self._transition_joules, heat)

    def _settle(self, row: int, now: float) -> None:
        seconds = now - self._since_at[row]
        if not seconds:
            return
        state, joules = self._state_at[row], self._watts_at[row] * seconds
        heat = self._heat_at[row] * seconds
        self._joules_at[row] += joules + heat
        if state == AWAKE:
            self._idle_at[row] += seconds
            if heat:
                self._heat_joules[row] += heat
        elif state == ASLEEP:
            self._asleep_joules += joules
        else:
            self._transition_joules += joules
        self._since_at[row] = now

    def _watts(self, row: int, state: int) -> float:
        sleep = self._sleep
        if state == AWAKE:
            return self._awake_watts(row, float(self.load[row]))
        if state == ASLEEP:
            return float(sleep.asleep_watts[row])
        if state == FALLING:
            return float(sleep.sleep_joules[row] / max(sleep.sleep_seconds[row], 1e-9))
        if state == WAKING:
            return float(sleep.wake_joules[row] / max(sleep.wake_seconds[row], 1e-9))
        return 0.0

    def _awake_watts(self, row: int, load: float) -> float:
        place = min(load, 1.0) * STEPS
        step = min(int(place), STEPS - 1)
        curve = self._lists[row]
        return curve[step] + (curve[step + 1] - curve[step]) * (place - step)
