"""How good power models of one node are over time: always judged on a later part than they were fitted on.

Neighbouring samples are nearly equal, so a random split lets a model look at the answers; it flatters. Here whole
stretches of time are held out: the last part of a file, or another file, for the figures; blocks of the training part
for every choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsam.power.counters import COUNTERS, Columns, CounterModel, fit, fit_utilization
from sparsam.power.nonnegative import Floats

RAPL = "rapl"
MOST_OVER_RAPL = 5.0
"""A node draws at most so many times what its processors and memory draw: fans, disks and cards are the rest."""
BLOCKS = 5
SCORED_BLOCKS = 20
TRAINING_SHARE = 0.7

Predict = Callable[[Columns], Floats]


@dataclass(frozen=True, slots=True)
class SeriesScore:
    """Hold-out error of one family on one node."""

    family: str
    pooled_mape_pct: float
    """Mean absolute error in per cent of the watts, over all held-out samples."""
    p90_mape_pct: float
    """Nine of ten stretches (twenty of equal length) of the held-out part have at most this error."""
    span_error_pct: float
    """Mean absolute error in per cent of the range of the held-out watts (5 to 95 % quantile).

    It tells what `pooled_mape_pct` hides where watts hardly move, or where their level is wrong by a constant."""
    training_mape_pct: float
    """Time-blocked cross-validation within the training part: what choices were made by."""
    chosen: bool = False


def validate(
    columns: Columns, watts: Floats, test: tuple[Columns, Floats] | None = None, *, share: float = TRAINING_SHARE
) -> list[SeriesScore]:
    """Scores of every family: fitted on the first `share` of the samples, or on all of them when `test` is given.

    Utilization is all that is needed; `counters` is scored where all of them are there, and falls back on utilization
    where blocks of the training part say that they mislead. `rapl` is a meter rather than a counter: it is shown for
    comparison and never chosen. Raises ValueError.
    """
    if not 0.1 <= share <= 0.9:
        raise ValueError(f"a training share of {share:g}; it must lie between 0.1 and 0.9")
    cut = len(watts) if test else int(len(watts) * share)
    train, train_watts = part(columns, slice(0, cut)), watts[:cut]
    held, held_watts = test or (part(columns, slice(cut, None)), watts[cut:])
    if len(held_watts) < SCORED_BLOCKS:
        raise ValueError(f"{len(held_watts)} samples to judge by; at least {SCORED_BLOCKS} are needed")
    families = {"utilization": _fit_utilization}
    if all(name in columns and name in held for name in COUNTERS):
        families["counters"] = _fit_counters
    candidates = tuple(families)
    if RAPL in columns and RAPL in held:
        families[RAPL] = _fit_rapl
    inner = {name: float(blocked_errors(fitter, train, train_watts).mean()) for name, fitter in families.items()}
    best = min(reversed(candidates), key=lambda name: inner[name])
    if "counters" in families:
        families["counters"] = families[best]
    errors = {
        name: np.abs(fitter(train, train_watts)(held) - held_watts) / held_watts for name, fitter in families.items()
    }
    low, high = np.percentile(held_watts, (5, 95))
    return [
        SeriesScore(
            name,
            float(100.0 * error.mean()),
            float(100.0 * np.percentile([block.mean() for block in np.array_split(error, SCORED_BLOCKS)], 90)),
            float(100.0 * (error * held_watts).mean() / (high - low)) if high > low else float("nan"),
            float(100.0 * inner[name]),
            chosen=name == best,
        )
        for name, error in errors.items()
    ]


def calibrate(columns: Columns, watts: Floats) -> CounterModel | None:
    """The counter model of a node with the error that nine of ten samples in held-out blocks of time stay below.

    None where utilization alone predicts such blocks better. Raises ValueError.
    """
    errors = blocked_errors(_fit_counters, columns, watts)
    if errors.mean() > blocked_errors(_fit_utilization, columns, watts).mean():
        return None
    return fit(columns, watts, error_ratio=float(np.percentile(errors, 90)))


def blocked_errors(fitter: Callable[[Columns, Floats], Predict], columns: Columns, watts: Floats) -> Floats:
    """Relative errors of all samples, each block of time predicted by a model of the others; shape (samples,)."""
    bounds = np.linspace(0, len(watts), BLOCKS + 1).astype(int)
    errors = []
    for start, end in pairwise(bounds):
        known = np.r_[0:start, end : len(watts)]
        model = fitter({name: values[known] for name, values in columns.items()}, watts[known])
        held = watts[start:end]
        errors.append(np.abs(model(part(columns, slice(start, end))) - held) / held)
    return np.concatenate(errors)


def part(columns: Columns, rows: slice) -> dict[str, Floats]:
    """Consecutive rows of all columns."""
    return {name: values[rows] for name, values in columns.items()}


def doubt(columns: Columns, watts: Floats) -> str:
    """What is wrong with the level of the watts, to be told beside any score; empty where nothing is known to be.

    A meter that sums several machines still moves with each of them, so that relative errors come out small.
    """
    if RAPL not in columns:
        return ""
    ratio = float(np.median(watts) / max(float(np.median(columns[RAPL])), 1e-9))
    if ratio > MOST_OVER_RAPL:
        return f"the node's watts are {ratio:.1f} times those of its processors and memory: they look like the sum of \
several machines, so only their changes tell something"
    below = float((watts < columns[RAPL]).mean())
    if below > 0.01:
        return f"the node draws less than its processors and memory in {below:.0%} of the samples: one meter is wrong"
    return ""


def infer_threads(busy_milliseconds: Floats) -> int:
    """Hardware threads of a node from its busy CPU time in milliseconds per second, whose source does not tell.

    The least even count of threads that never shows a utilization above one: a node under test is loaded fully at
    some time, and threads come in pairs.
    """
    busiest = float(busy_milliseconds.max(initial=0.0)) / 1000.0
    return max(2 * int(np.ceil(busiest / 2.0)), 2)


def _fit_utilization(columns: Columns, watts: Floats) -> Predict:
    return fit_utilization(columns, watts).watts


def _fit_counters(columns: Columns, watts: Floats) -> Predict:
    return fit(columns, watts).watts


def _fit_rapl(columns: Columns, watts: Floats) -> Predict:
    """A straight line from what RAPL says to the node's watts."""
    design = np.stack([np.ones(len(watts)), columns[RAPL]], axis=1) / watts[:, None]
    intercept, slope = np.linalg.lstsq(design, np.ones(len(watts)), rcond=None)[0]
    return lambda held: np.asarray(intercept + slope * held[RAPL])
