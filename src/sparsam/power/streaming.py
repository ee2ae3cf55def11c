"""Sufficient statistics of telemetry: all that a fit needs of any number of samples, in a few thousand numbers.

Samples of (load, watts) fall into cells, by stretch of time and by load level; each cell keeps the number of samples
and the sums of load, watts and squared watts. Sums add up: statistics of parts of the data, merged in any order, are
those of the whole. So telemetry is read in pieces of any size, once, in constant memory, and the same reduction runs as
a group-by in a database or on a cluster (docs/decisions, "Fits from sums").

Whole stretches of time are held out to judge a fit, never random samples, which would sit between their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsam.power.curves import Floats
from sparsam.power.model import LevelError, ServerModel

STRETCHES = 20
CELLS = 101
"""Load levels in steps of one per cent; cell 0 is idle."""
STEP_CELLS = 5
"""A load step spans this many cells around its middle."""
FOLDS = 5
MINIMUM_SAMPLES = 5
IDLE_LOAD = 0.02
"""Telemetry of an idle node shows its own agents; load below this counts as none."""
FALL_TOLERANCE = 0.1
# Of a Gaussian, in standard deviations: the mean size, and what nine of ten values stay below.
MEAN_SIZE, P90_SIZE = 0.7979, 1.6449


@dataclass(frozen=True, slots=True)
class LoadStatistics:
    """Sums by stretch of time and load level; every array has shape (STRETCHES, CELLS)."""

    count: Floats
    load: Floats
    watts: Floats
    square: Floats

    @staticmethod
    def empty() -> LoadStatistics:
        """Of no samples."""
        return LoadStatistics(*(np.zeros((STRETCHES, CELLS)) for _ in range(4)))

    @staticmethod
    def of(stretch: Floats, load: Floats, watts: Floats) -> LoadStatistics:
        """Of samples: stretch numbers, loads in 0..1 and watts, all of shape (samples,)."""
        cell = np.clip(np.rint(load * (CELLS - 1)), 0, CELLS - 1).astype(np.intp)
        place = np.clip(stretch, 0, STRETCHES - 1).astype(np.intp) * CELLS + cell

        def total(weights: Floats | None) -> Floats:
            return np.bincount(place, weights, STRETCHES * CELLS).astype(np.float64).reshape(STRETCHES, CELLS)

        return LoadStatistics(total(None), total(load), total(watts), total(watts * watts))

    def merged(self, other: LoadStatistics) -> LoadStatistics:
        """Of both; associative and commutative."""
        return LoadStatistics(
            self.count + other.count, self.load + other.load, self.watts + other.watts, self.square + other.square
        )

    def without(self, stretches: Floats) -> LoadStatistics:
        """The statistics without some stretches of time, given as a mask of shape (STRETCHES,)."""
        kept = (~stretches.astype(bool)).astype(np.float64)[:, None]
        return LoadStatistics(self.count * kept, self.load * kept, self.watts * kept, self.square * kept)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return int(self.count.sum())


@dataclass(frozen=True, slots=True)
class Steps:
    """Load steps made of telemetry; arrays of shape (steps,), load rising from 0, watts never falling."""

    load: Floats
    watts: Floats
    count: Floats


def steps_of(statistics: LoadStatistics, *, idle_watts: float | None = None) -> Steps:
    """Mean watts at rising loads; raises ValueError when no curve can be made of them.

    `idle_watts` stands in where no sample is idle. Means that fall a little with load are levelled (pool adjacent
    violators: Barlow et al., "Statistical Inference under Order Restrictions", 1972); more than that is refused.
    """
    count, load, watts = (values.sum(axis=0) for values in (statistics.count, statistics.load, statistics.watts))
    cell = np.arange(CELLS)
    group = np.where(cell / (CELLS - 1) < IDLE_LOAD, 0, 1 + (cell - 2) // STEP_CELLS)
    # Full load is a step of its own, since the last per cents are the steepest.
    group[-1] += 1
    totals: list[Floats] = [np.bincount(group, values).astype(np.float64) for values in (count, load, watts)]
    used = totals[0] >= max(MINIMUM_SAMPLES, 1e-4 * statistics.samples)
    if not used.any():
        raise ValueError(f"{statistics.samples} samples; no load level has {MINIMUM_SAMPLES}")
    number, mean_load, mean_watts = (
        totals[0][used],
        totals[1][used] / totals[0][used],
        totals[2][used] / totals[0][used],
    )
    if used[0]:
        mean_load[0] = 0.0
    elif idle_watts is None:
        raise ValueError(f"no sample is idle (load below {IDLE_LOAD:.0%}); say what the node draws then")
    else:
        number, mean_load = np.append(1.0, number), np.append(0.0, mean_load)
        mean_watts = np.append(idle_watts, mean_watts)
    if len(mean_load) < 3:
        raise ValueError(f"{len(mean_load)} load levels have samples; a curve needs at least 3")
    level = levelled(mean_watts, number)
    falls = np.abs(level / mean_watts - 1.0)
    worst = int(falls.argmax())
    if falls[worst] > FALL_TOLERANCE:
        raise ValueError(f"power falls with load around {mean_load[worst]:.0%}, by more than noise explains")
    return Steps(mean_load, level, number)


def levelled(values: Floats, weights: Floats) -> Floats:
    """The closest sequence that never falls: pool adjacent violators, weighted."""
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        masses.append(weight)
        lengths.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mass = masses[-2] + masses[-1]
            means[-2:] = [(means[-2] * masses[-2] + means[-1] * masses[-1]) / mass]
            masses[-2:] = [mass]
            lengths[-2:] = [lengths[-2] + lengths[-1]]
    return np.repeat(means, lengths)


def held_out_folds(statistics: LoadStatistics) -> list[Floats]:
    """Masks of the stretches to hold out, one after the other: contiguous fifths of the time that has samples."""
    busy = np.flatnonzero(statistics.count.sum(axis=1) > 0.0)
    masks = []
    for part in np.array_split(busy, min(FOLDS, len(busy))):
        mask = np.zeros(STRETCHES)
        mask[part] = 1.0
        masks.append(mask)
    return masks


@dataclass(frozen=True, slots=True)
class CellErrors:
    """Relative errors of a model by load cell; arrays of shape (CELLS,)."""

    square: Floats
    """Sum of squares."""
    signed: Floats
    """Sum; positive where the model predicts too little."""
    count: Floats

    def plus(self, other: CellErrors) -> CellErrors:
        """Of both."""
        return CellErrors(self.square + other.square, self.signed + other.signed, self.count + other.count)

    @property
    def rms_pct(self) -> float:
        """Root mean square over all samples, in per cent."""
        return 100.0 * float(np.sqrt(self.square.sum() / self.count.sum()))


def errors_of(statistics: LoadStatistics, model: ServerModel, stretches: Floats) -> CellErrors:
    """Errors on the samples in some stretches, a mask of shape (STRETCHES,).

    Exact for the watts; the model is taken at each cell's mean load.
    """
    inside = statistics.without(1.0 - stretches)
    count, load, watts, square = (
        values.sum(axis=0) for values in (inside.count, inside.load, inside.watts, inside.square)
    )
    some = count > 0.0
    predicted = np.ones(CELLS)
    rows = np.zeros(int(some.sum()), dtype=np.intp)
    predicted[some] = model.curves().take(rows).watts(load[some] / count[some])
    error = np.maximum(square - 2.0 * predicted * watts + count * predicted**2, 0.0)
    return CellErrors(
        np.where(some, error / predicted**2, 0.0), np.where(some, (watts - count * predicted) / predicted, 0.0), count
    )


def error_by_level(errors: CellErrors) -> tuple[LevelError, ...]:
    """Hold-out errors at eleven load levels."""
    cell = np.arange(CELLS) / (CELLS - 1)
    found = []
    for level in np.arange(11) / 10.0:
        near = np.abs(cell - level) <= 0.05 + 1e-9
        if errors.count[near].sum() >= MINIMUM_SAMPLES:
            ratio = float(np.sqrt(errors.square[near].sum() / errors.count[near].sum()))
            found.append(LevelError(load=float(level), mean_ratio=MEAN_SIZE * ratio, p90_ratio=P90_SIZE * ratio))
    return tuple(found)
