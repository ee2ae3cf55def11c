"""A node's watts from its hardware counters: cycles, instructions, cache misses, beside the CPU time that is booked.

The model is a sum of rising functions of the counters with coefficients that are not negative, so it is monotone by
construction: at the same CPU time more cycles, instructions or misses never predict fewer watts. (More CPU time for the
same cycles may: the cores run slower then.)

- Cycles and instructions bend both ways: shared units saturate, the last cores wake what they share.
- Cycles weigh more the faster they come, by cycles for each second of CPU time: voltage rises with frequency (dynamic
  watts are capacitance x voltage squared x frequency: Mudge, "Power: a first-class architectural design constraint",
  IEEE Computer 34(4), 2001).
- Misses enter by their logarithm, since memory's watts saturate while its counters do not, and since a workload that
  misses far more than any in training is the rule rather than the exception (random splits hide it). They weigh more
  the more threads miss at once: it takes many to fill the memory's bandwidth.

Nothing beyond the highest watts of the training is ever predicted. The idea of counters as activity in a linear power
model: Bellosa, "The benefits of event-driven energy accounting in power-sensitive systems", SIGOPS European Workshop
2000; robust weights: Huber, 1964.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from sparsam.power.nonnegative import Floats, solve

UTILIZATION, CYCLES, INSTRUCTIONS, MISSES = "utilization", "cycles", "instructions", "misses"
COUNTERS = (UTILIZATION, CYCLES, INSTRUCTIONS, MISSES)

STEADY_RATIO = 0.1
"""Cycles that stay within this of each other belong to one steady stretch, over which counters are averaged."""
STEADY_SAMPLES = 8
BENDS = 12
MISS_SCALES = (5, 25, 50, 75, 90, 99)
SPEED_BENDS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""In cycles for each second of CPU time, relative to those at the highest of both."""
LEAST_SHARE = 0.1
"""Of the highest CPU time; below, too little is booked to tell a speed from."""
UNBOOKED_BENDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
IDLE_MARGIN = 1.5
MOST_IDLE_SHARE = 0.1
"""Of the highest CPU time; a recording that never rests must not make half of its load count as idle."""
HUBER_RATIO = 0.04
REWEIGHTINGS = 10

SCHEMA = "power.sparsam.dev/counters/v1"

Columns = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class CounterModel:
    """Watts from counters; see `fit`."""

    low: Mapping[str, float]
    high: Mapping[str, float]
    """Range of each counter in training, by name."""
    miss_scales: tuple[float, ...]
    idle_utilization: float
    cycles_scale: float
    coefficients: Floats
    """The constant, then one for each basis function; none negative."""
    max_watts: float
    error_ratio: float = float("nan")
    """Hold-out error as a share of the watts, nine of ten samples; NaN where none was held out."""

    def watts(self, columns: Columns) -> Floats:
        """Predicted watts of consecutive samples; every column has shape (samples,)."""
        return self._predicted(steady(columns), columns)

    def watts_at(self, rates: Columns) -> Floats:
        """Predicted watts at rates that hold, each row by itself; every column has shape (rows,)."""
        return self._predicted(rates, rates)

    def marginal_watts(self, rates: Columns, added: Columns) -> Floats:
        """Extra watts when the counters that are in `added` rise by so much."""
        return self.watts_at(raised(rates, added)) - self.watts_at(rates)

    def interval(self, rates: Columns) -> tuple[Floats, Floats]:
        """Watts that nine of ten samples lie between; NaN where no error is known."""
        watts = self.watts_at(rates)
        return watts * (1.0 - self.error_ratio), watts * (1.0 + self.error_ratio)

    def _predicted(self, smooth: Columns, raw: Columns) -> Floats:
        basis = np.stack(list(self._basis(smooth, raw)), axis=1)
        return np.minimum(basis @ self.coefficients, self.max_watts)

    def _basis(self, smooth: Columns, raw: Columns) -> Iterator[Floats]:
        yield np.ones(len(raw[CYCLES]))
        for name in (CYCLES, INSTRUCTIONS):
            yield from bends(smooth[name], self.low[name], self.high[name])
        share, cycles = self._share(smooth, UTILIZATION), self._share(smooth, CYCLES)
        speed = cycles / np.maximum(share, LEAST_SHARE)
        for bend in SPEED_BENDS:
            yield np.minimum(cycles, 1.0) * np.minimum(speed, bend) / bend
        for scale in self.miss_scales:
            missing = np.log1p(np.maximum(smooth[MISSES], 0.0) / scale)
            yield missing
            yield missing * np.minimum(share, 1.0)
        # CPU time is booked when a thread is switched out, cycles at once: cycles while the CPU seems idle are work
        # that has just begun.
        unbooked = raw[CYCLES] * np.clip(1.0 - raw[UTILIZATION] / self.idle_utilization, 0.0, 1.0) / self.cycles_scale
        for bend in UNBOOKED_BENDS:
            yield np.minimum(unbooked, bend) / bend

    def _share(self, columns: Columns, name: str) -> Floats:
        """A counter as a share of the highest in training."""
        high = self.high[name]
        return np.maximum(columns[name], 0.0) / high if high > 0.0 else np.zeros_like(columns[name])


def fit(columns: Columns, watts: Floats, *, error_ratio: float = float("nan")) -> CounterModel:
    """Fit to consecutive samples: columns and watts of shape (samples,), watts above zero.

    Relative errors are minimised with Huber's weights. `error_ratio` is what blocks of time held out have shown, for
    the model's intervals. Raises ValueError when there is nothing to learn from.
    """
    check(columns, watts)
    smooth = steady(columns)
    scales = {max(float(np.percentile(smooth[MISSES], each)), 1.0) for each in MISS_SCALES}
    blank = CounterModel(
        low={name: float(smooth[name].min()) for name in COUNTERS},
        high={name: float(smooth[name].max()) for name in COUNTERS},
        miss_scales=tuple(sorted(scales)),
        idle_utilization=_idle_utilization(columns[UTILIZATION]),
        cycles_scale=max(float(np.percentile(columns[CYCLES], 25)), 1.0),
        coefficients=np.zeros(0),
        max_watts=float(watts.max()),
    )
    basis = np.stack(list(blank._basis(smooth, columns)), axis=1)
    coefficients = robust_fit(basis, watts)
    return replace(blank, coefficients=coefficients, error_ratio=error_ratio)


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A counter model as JSON: counters by name and a second, utilization in 0..1, coefficients in watts."""

    schema: str
    low: dict[str, float]
    high: dict[str, float]
    miss_scales: tuple[float, ...]
    idle_utilization: float
    cycles_scale: float
    coefficients: tuple[float, ...]
    max_watts: float
    error_ratio: float | None


def encode(model: CounterModel) -> bytes:
    """The model as JSON, to be read by `decode` exactly as it was."""
    document = _Document(
        schema=SCHEMA,
        low=dict(model.low),
        high=dict(model.high),
        miss_scales=model.miss_scales,
        idle_utilization=model.idle_utilization,
        cycles_scale=model.cycles_scale,
        coefficients=tuple(model.coefficients.tolist()),
        max_watts=model.max_watts,
        error_ratio=None if np.isnan(model.error_ratio) else model.error_ratio,
    )
    return msgspec.json.encode(document)


def decode(raw: bytes) -> CounterModel:
    """A model from JSON; raises ValueError for one that could not have been fitted."""
    document = msgspec.json.decode(raw, type=_Document)
    if document.schema != SCHEMA:
        raise ValueError(f"schema {document.schema!r}; this version reads {SCHEMA!r}")
    if set(document.low) != set(COUNTERS) or set(document.high) != set(COUNTERS):
        raise ValueError(f"the ranges must be those of {', '.join(COUNTERS)}")
    expected = 1 + 2 * (2 * BENDS - 1) + len(SPEED_BENDS) + 2 * len(document.miss_scales) + len(UNBOOKED_BENDS)
    if len(document.coefficients) != expected or min(document.coefficients) < 0.0:
        raise ValueError(f"{expected} coefficients are needed, none negative")
    scales = (*document.miss_scales, document.idle_utilization, document.cycles_scale, document.max_watts)
    if min(scales) <= 0.0:
        raise ValueError("scales and highest watts must be above zero")
    return CounterModel(
        low=document.low,
        high=document.high,
        miss_scales=document.miss_scales,
        idle_utilization=document.idle_utilization,
        cycles_scale=document.cycles_scale,
        coefficients=np.array(document.coefficients),
        max_watts=document.max_watts,
        error_ratio=float("nan") if document.error_ratio is None else document.error_ratio,
    )


@dataclass(frozen=True, slots=True)
class UtilizationModel:
    """Watts from utilization alone, the baseline: a rising curve of any shape."""

    low: float
    high: float
    coefficients: Floats

    def watts(self, columns: Columns) -> Floats:
        """Predicted watts; shape (samples,)."""
        return _design(columns[UTILIZATION], self.low, self.high) @ self.coefficients


def fit_utilization(columns: Columns, watts: Floats) -> UtilizationModel:
    """Fit the baseline; as `fit`."""
    check(columns, watts, needed=(UTILIZATION,))
    u = columns[UTILIZATION]
    low, high = float(u.min()), float(u.max())
    return UtilizationModel(low, high, robust_fit(_design(u, low, high), watts))


def raised(rates: Columns, added: Columns) -> dict[str, Floats]:
    """Rates with some of them raised."""
    return {name: values + added[name] if name in added else values for name, values in rates.items()}


def cpi(columns: Columns) -> Floats:
    """Cycles per instruction; NaN where nothing ran. Shape (samples,)."""
    instructions = columns[INSTRUCTIONS]
    return np.divide(columns[CYCLES], instructions, out=np.full_like(instructions, np.nan), where=instructions > 0.0)


def cpi_per_watt(columns: Columns, watts: Floats) -> Floats:
    """CPI for each watt: how slowly a node works for what it draws; NaN where nothing ran. Shape (samples,)."""
    return np.asarray(cpi(columns) / watts)


def steady(columns: Columns) -> dict[str, Floats]:
    """Counters averaged with up to `STEADY_SAMPLES - 1` samples before, as long as the load has not changed.

    Only earlier samples count, so that the same can be done live. Reading a rate over three seconds is noisy, and noise
    in an input flattens what is fitted to it.
    """
    cycles = columns[CYCLES]
    same, count = np.ones(len(cycles), dtype=bool), np.ones(len(cycles))
    sums = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    position = np.arange(len(cycles))
    for lag in range(1, STEADY_SAMPLES):
        before = np.roll(cycles, lag)
        same = same & (np.abs(before - cycles) <= STEADY_RATIO * np.maximum(cycles, 1e-9)) & (position >= lag)
        for name, values in columns.items():
            sums[name] += np.where(same, np.roll(values, lag), 0.0)
        count += same
    return {name: total / count for name, total in sums.items()}


def bends(values: Floats, low: float, high: float) -> Iterator[Floats]:
    """Rising functions that bend down or up at evenly spaced points between `low` and `high`, flat outside of them."""
    span = high - low
    z = (np.clip(values, low, high) - low) / span if span > 0.0 else np.zeros_like(values)
    yield z
    for at in np.linspace(0.0, 1.0, BENDS + 1)[1:-1]:
        yield np.minimum(z, at) / at
        yield np.maximum(z - at, 0.0) / (1.0 - at)


def robust_fit(basis: Floats, watts: Floats) -> Floats:
    """Coefficients >= 0 that minimise relative errors under Huber's weights; `basis` of shape (samples, functions)."""
    relative = basis / watts[:, None]
    weights = np.ones(len(watts))
    coefficients = np.zeros(basis.shape[1])
    for _ in range(REWEIGHTINGS):
        weighted = relative * weights[:, None]
        coefficients = solve(weighted.T @ relative, weighted.sum(axis=0))
        error = np.abs(relative @ coefficients - 1.0)
        weights = np.minimum(1.0, HUBER_RATIO / np.maximum(error, 1e-12))
    return coefficients


def check(columns: Columns, watts: Floats, *, needed: tuple[str, ...] = COUNTERS) -> None:
    """Raises ValueError for samples that no model can be fitted to."""
    if len(watts) < 20:
        raise ValueError(f"{len(watts)} samples; at least 20 are needed")
    for name in needed:
        values = columns[name]
        if values.shape != watts.shape or not np.isfinite(values).all() or (values < 0.0).any():
            raise ValueError(f"{name} must be finite numbers, none negative, one for each sample")
    if not np.isfinite(watts).all() or (watts <= 0.0).any():
        raise ValueError("watts must be finite and above zero")
    if float(np.ptp(watts)) <= 0.0:
        raise ValueError("watts never change; there is nothing to learn")


def _idle_utilization(u: Floats) -> float:
    return max(min(IDLE_MARGIN * float(np.percentile(u, 10)), MOST_IDLE_SHARE * float(u.max())), 1e-6)


def _design(u: Floats, low: float, high: float) -> Floats:
    return np.stack([np.ones(len(u)), *bends(u, low, high)], axis=1)
