"""GPU cards: asleep, or awake with watts for each unit of utilization.

A card without work and without a process that holds it sleeps; held, it draws two to three times as much although it
does nothing: idle is a state of its own here too. From there a straight line in utilization explains nine tenths of the
variance of hourly means. What is left is the work itself (matrix units draw more than copies at the same utilization),
which utilization cannot tell. The source is hourly readings of four data-centre servers (charlottegressel/
dc_workload_pipeline): their cards sleep at 22 to 50 W and wake to 67 to 86 W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsam.power.nonnegative import Floats

BLOCKS = 5
HUBER_RATIO = 0.1
REWEIGHTINGS = 20
IDLE_UTILIZATION = 0.01
"""Hourly means up to this count as idle."""


@dataclass(frozen=True, slots=True)
class Cards:
    """Models of cards as columns, one entry for each card or kind of card."""

    idle_watts: Floats
    awake_watts: Floats
    watts_per_utilization: Floats
    error_ratio: Floats
    """Hold-out error as a share of the watts; NaN where none was held out."""

    def watts(self, utilization: Floats) -> Floats:
        """Watts of each card at its utilization in 0..1; shape (cards,)."""
        u = np.clip(utilization, 0.0, 1.0)
        active = self.awake_watts + self.watts_per_utilization * u
        return np.asarray(np.where(u <= IDLE_UTILIZATION, self.idle_watts, active))

    def marginal_watts(self, utilization: Floats, added: Floats) -> Floats:
        """Extra watts when the utilization rises by `added`, waking included; a full card draws nothing more."""
        return self.watts(utilization + added) - self.watts(utilization)

    def interval(self, utilization: Floats) -> tuple[Floats, Floats]:
        """Watts less and plus the hold-out error."""
        watts = self.watts(utilization)
        return watts * (1.0 - self.error_ratio), watts * (1.0 + self.error_ratio)


@dataclass(frozen=True, slots=True)
class CardFit:
    """The model of one kind of card, with its errors on blocks of time held out, in per cent of the watts."""

    idle_watts: float
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


@dataclass(frozen=True, slots=True)
class _Line:
    idle_watts: float
    awake_watts: float
    slope: float

    def watts(self, utilization: Floats) -> Floats:
        active = self.awake_watts + self.slope * utilization
        return np.asarray(np.where(utilization <= IDLE_UTILIZATION, self.idle_watts, active))


def fit(utilization: Floats, watts: Floats) -> CardFit:
    """Fit consecutive samples of one kind of card, arrays of shape (samples,); raises ValueError."""
    _check(utilization, watts)
    errors = []
    for block in np.array_split(np.arange(len(watts)), BLOCKS):
        known = np.ones(len(watts), dtype=bool)
        known[block] = False
        predicted = _line(utilization[known], watts[known]).watts(utilization[block])
        errors.append(np.abs(predicted - watts[block]) / watts[block])
    percent = 100.0 * np.concatenate(errors)
    resting = utilization <= IDLE_UTILIZATION
    line = _line(utilization, watts)
    return CardFit(
        line.idle_watts,
        line.awake_watts,
        line.slope,
        float(percent.mean()),
        _mean(percent[~resting]),
        _mean(percent[resting]),
        float(np.percentile(percent, 90)),
        len(watts),
    )


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
    """Medians at rest; with load a line by relative errors under Huber's weights, neither coefficient negative."""
    resting = utilization <= IDLE_UTILIZATION
    u, active = utilization[~resting], watts[~resting]
    if len(u) < 2:
        return _Line(float(np.median(watts[resting])), float(np.median(watts)), 0.0)
    design = np.stack([np.ones_like(u), u], axis=1) / active[:, None]
    weights = np.ones(len(u))
    awake, slope = 0.0, 0.0
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(weights)
        awake, slope = np.linalg.lstsq(design * root[:, None], root, rcond=None)[0]
        error = np.abs(design @ np.array([awake, slope]) - 1.0)
        weights = np.minimum(1.0, HUBER_RATIO / np.maximum(error, 1e-12))
    awake, slope = max(float(awake), 0.0), max(float(slope), 0.0)
    return _Line(float(np.median(watts[resting])) if resting.any() else awake, awake, slope)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
