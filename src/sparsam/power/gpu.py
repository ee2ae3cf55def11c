"""GPU cards: asleep, or awake with watts for each unit of utilization.

A card without work and without a process that holds it sleeps; held, it draws two to three times as much although it
does nothing: idle is two states here. Utilization cannot tell them apart, a performance state, a process on the card or
the last idle reading can; so errors are given with and without that knowledge. With load, a straight line in
utilization explains nine tenths of the variance of hourly means. What is left is the work itself (matrix units draw
more than copies at the same utilization), which utilization cannot tell either. The source is hourly readings of four
data-centre servers (charlottegressel/dc_workload_pipeline): their cards sleep at 24 to 50 W, draw 67 to 84 W when held,
and start with load at 47 to 80 W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsam.power.nonnegative import Floats

BLOCKS = 5
HUBER_RATIO = 0.1
REWEIGHTINGS = 20
IDLE_UTILIZATION = 0.01
"""Hourly means up to this count as idle."""
HELD_RATIO = 1.3
"""Idle watts that far apart are two states."""
HELD_SHARE = 0.01
"""So many of the idle samples at least make a state."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cards:
    """Models of cards as columns, one entry for each card or kind of card."""

    idle_watts: Floats
    """Without load, asleep."""
    held_watts: Floats
    """Without load, but with a process that holds the card."""
    awake_watts: Floats
    watts_per_utilization: Floats
    error_ratio: Floats
    """Hold-out error as a share of the watts; NaN where none was held out."""

    def watts(self, utilization: Floats, held: Flags) -> Floats:
        """Watts of each card at its utilization in 0..1; shape (cards,). `held`: a process is on the card."""
        u = np.clip(utilization, 0.0, 1.0)
        idle = np.where(held, self.held_watts, self.idle_watts)
        active = self.awake_watts + self.watts_per_utilization * u
        return np.where(u <= IDLE_UTILIZATION, idle, np.maximum(active, idle))

    def marginal_watts(self, utilization: Floats, added: Floats, held: Flags) -> Floats:
        """Extra watts when the utilization rises by `added`, waking included; a full card draws nothing more."""
        return self.watts(utilization + added, held) - self.watts(utilization, held)

    def interval(self, utilization: Floats, held: Flags) -> tuple[Floats, Floats]:
        """Watts less and plus the hold-out error."""
        watts = self.watts(utilization, held)
        return watts * (1.0 - self.error_ratio), watts * (1.0 + self.error_ratio)


@dataclass(frozen=True, slots=True)
class CardFit:
    """The model of one kind of card, with its errors on blocks of time held out, in per cent of the watts."""

    idle_watts: float
    """Asleep; with held cards among the samples the level between the two that errs least when nobody tells which."""
    awake_watts: float
    watts_per_utilization: float
    mape_pct: float
    active_mape_pct: float
    """Of samples with load; NaN without any."""
    idle_mape_pct: float
    """Of samples without load: large where the card was held by an idle process in some blocks and not in others."""
    p90_pct: float
    """Nine of ten samples have at most this error."""
    samples: int
    asleep_watts: float
    held_watts: float
    """The same as asleep where the samples show one idle state only."""
    told_mape_pct: float
    """As `mape_pct`, when the last idle reading before tells whether the card is held."""


@dataclass(frozen=True, slots=True)
class _Line:
    idle_watts: float
    asleep_watts: float
    held_watts: float
    awake_watts: float
    slope: float

    def watts(self, utilization: Floats, idle_watts: Floats | float) -> Floats:
        active = self.awake_watts + self.slope * utilization
        return np.where(utilization <= IDLE_UTILIZATION, idle_watts, active)

    def told(self, idle_readings: Floats) -> Floats:
        """Idle watts by the state that the readings show."""
        between = np.sqrt(self.asleep_watts * self.held_watts)
        return np.where(idle_readings > between, self.held_watts, self.asleep_watts)


def fit(utilization: Floats, watts: Floats) -> CardFit:
    """Fit consecutive samples of one kind of card, arrays of shape (samples,); raises ValueError."""
    _check(utilization, watts)
    errors, told_errors = [], []
    before = _last_idle(utilization, watts)
    for block in np.array_split(np.arange(len(watts)), BLOCKS):
        known = np.ones(len(watts), dtype=bool)
        known[block] = False
        line, u = _line(utilization[known], watts[known]), utilization[block]
        errors.append(np.abs(line.watts(u, line.idle_watts) / watts[block] - 1.0))
        told_errors.append(np.abs(line.watts(u, line.told(before[block])) / watts[block] - 1.0))
    percent = 100.0 * np.concatenate(errors)
    resting = utilization <= IDLE_UTILIZATION
    line = _line(utilization, watts)
    return CardFit(
        idle_watts=line.idle_watts,
        awake_watts=line.awake_watts,
        watts_per_utilization=line.slope,
        mape_pct=float(percent.mean()),
        active_mape_pct=_mean(percent[~resting]),
        idle_mape_pct=_mean(percent[resting]),
        p90_pct=float(np.percentile(percent, 90)),
        samples=len(watts),
        asleep_watts=line.asleep_watts,
        held_watts=line.held_watts,
        told_mape_pct=float(100.0 * np.concatenate(told_errors).mean()),
    )


def _last_idle(utilization: Floats, watts: Floats) -> Floats:
    """For each sample the watts of the last idle one before it; zero, as if asleep, where none came yet."""
    resting = np.flatnonzero(utilization <= IDLE_UTILIZATION)
    if not len(resting):
        return np.zeros_like(watts)
    before = np.searchsorted(resting, np.arange(len(watts))) - 1
    return np.where(before >= 0, watts[resting[np.maximum(before, 0)]], 0.0)


def _check(utilization: Floats, watts: Floats) -> None:
    if len(watts) < 4 * BLOCKS:
        raise ValueError(f"{len(watts)} samples; at least {4 * BLOCKS} are needed")
    if not (np.isfinite(utilization).all() and np.isfinite(watts).all()) or (watts <= 0.0).any():
        raise ValueError("utilization and watts must be finite numbers, watts above zero")
    if (utilization < 0.0).any() or (utilization > 1.0).any():
        raise ValueError("utilization must lie in 0..1")
    if float(np.ptp(utilization)) < 0.05:
        raise ValueError("utilization hardly changes; a slope cannot be told")


def _line(utilization: Floats, watts: Floats) -> _Line:
    """Levels at rest; with load a line by relative errors under Huber's weights, neither coefficient negative."""
    resting = utilization <= IDLE_UTILIZATION
    u, active = utilization[~resting], watts[~resting]
    if len(u) < 2:
        return _Line(*_levels(watts[resting]), float(np.median(watts)), 0.0)
    design = np.stack([np.ones_like(u), u], axis=1) / active[:, None]
    weights = np.ones(len(u))
    awake, slope = 0.0, 0.0
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(weights)
        awake, slope = np.linalg.lstsq(design * root[:, None], root, rcond=None)[0]
        error = np.abs(design @ np.array([awake, slope]) - 1.0)
        weights = np.minimum(1.0, HUBER_RATIO / np.maximum(error, 1e-12))
    awake, slope = max(float(awake), 0.0), max(float(slope), 0.0)
    levels = _levels(watts[resting]) if resting.any() else (awake, awake, awake)
    return _Line(*levels, awake, slope)


def _levels(watts: Floats) -> tuple[float, float, float]:
    """Idle watts: the level of least mean relative error, then asleep and held.

    Two states are the split of the sorted logarithms that leaves the least variance within the parts.
    """
    ordered = np.sort(watts)
    weight = np.cumsum(1.0 / ordered)
    single = float(ordered[np.searchsorted(weight, weight[-1] / 2.0)])
    asleep = held = float(np.median(ordered))
    count = np.arange(1, len(ordered))
    if len(count):
        sums = np.cumsum(np.log(ordered))
        between = sums[:-1] ** 2 / count + (sums[-1] - sums[:-1]) ** 2 / (len(ordered) - count)
        at = int(between.argmax()) + 1
        low, high = float(np.median(ordered[:at])), float(np.median(ordered[at:]))
        if high > HELD_RATIO * low and min(at, len(ordered) - at) >= HELD_SHARE * len(ordered):
            asleep, held = low, high
    return single, asleep, held


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
