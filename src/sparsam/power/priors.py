"""What is known of a server's power before it is measured, learned from a collection of measured servers.

One mechanism serves every amount of knowledge. A curve is written as the logarithm of watts at eleven load levels (0,
10, ... 100 %), linear between them. Over the collection these eleven numbers follow a linear mixed model (Henderson,
Biometrics 31, 1975): fixed slopes on the hardware description (a ridge), plus one random effect for the CPU model and
one for its series, shrunk the more the fewer servers show it. What the description leaves open has a covariance
between levels, estimated from leave-one-out residuals. Measured points then correct the expected curve by
conditioning that Gaussian on them (kriging: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
equation 2.19): no point gives the prior itself, idle and full load a scaled curve of that CPU or era, nine levels the
tenth. Its variance says which level to measure next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsam.power.curves import Floats
from sparsam.power.description import Description, Encoding, cpu_key, cpu_series, learn_encoding

LEVELS = np.arange(11) / 10.0

# Variances of the mixed model in squared log watts. That of the slopes is chosen by leave-one-out error, since few
# servers bear little; halving or doubling any of the others moves the errors by less than a twentieth.
SLOPE_VARIANCES = (0.0004, 0.004, 0.04)
CPU_VARIANCE = 0.03
SERIES_VARIANCE = 0.03
RESIDUAL_VARIANCE = 0.02
# A power analyser's own scatter from run to run, about 0.3 %, as a variance of log watts.
READING_VARIANCE = 1e-5
MINIMUM_SERVERS = 30


@dataclass(frozen=True, slots=True)
class Population:
    """What a collection of servers taught; arrays over levels have eleven entries, in log watts."""

    servers: int
    mean: Floats
    encoding: Encoding
    slopes: Floats
    """Log watts per standard deviation of a feature, shape (features, levels)."""
    cpus: dict[str, Floats]
    """Effect of each CPU model."""
    series: dict[str, Floats]
    """Effect of each CPU series."""
    covariance: Floats
    """Of what the description leaves open, shape (levels, levels)."""

    def expected(self, descriptions: Sequence[Description]) -> Floats:
        """Log watts at the eleven levels, shape (servers, levels), from the descriptions alone."""
        result = self.mean + self.encoding.features(descriptions) @ self.slopes
        nothing = np.zeros(len(LEVELS))
        for row, one in enumerate(descriptions):
            result[row] += self.cpus.get(cpu_key(one.cpu_name), nothing)
            result[row] += self.series.get(cpu_series(one.cpu_name), nothing)
        return np.asarray(result)

    def basis(self, one: Description) -> str:
        """What the expectation for a server rests on, in words."""
        key, series = cpu_key(one.cpu_name), cpu_series(one.cpu_name)
        if key in self.cpus:
            return f"{self.servers} servers, among them some with its CPU ({key})"
        if series in self.series:
            return f"{self.servers} servers, among them some of its CPU series ({series}), none with its CPU"
        return f"{self.servers} servers, none of its CPU series"


def learn(descriptions: Sequence[Description], load: Floats, watts: Floats, start: Floats | None = None) -> Population:
    """Learn from servers measured at the same number of load steps; `load` and `watts` have shape (servers, steps).

    `start` is what is expected of them already, log watts of shape (servers, levels): then only what is left over is
    learned, and the population's expectations are to be added to those. Raises ValueError for fewer than 30 servers:
    shapes learned from a handful would be noise.
    """
    if len(descriptions) < MINIMUM_SERVERS:
        raise ValueError(
            f"{len(descriptions)} servers are too few to learn from; at least {MINIMUM_SERVERS} are needed"
        )
    encoding = learn_encoding(descriptions)
    features = encoding.features(descriptions)
    cpus, cpu_of = _groups([cpu_key(one.cpu_name) for one in descriptions])
    series, series_of = _groups([cpu_series(one.cpu_name) for one in descriptions])

    curves = _on_levels(load, np.log(watts)) - (0.0 if start is None else start)
    mean = curves.mean(axis=0)
    left = curves - mean
    groups = np.concatenate([np.sqrt(CPU_VARIANCE) * cpu_of, np.sqrt(SERIES_VARIANCE) * series_of], axis=1)
    fits = [_ridge(np.concatenate([np.sqrt(one) * features, groups], axis=1), left) for one in SLOPE_VARIANCES]
    best = min(range(len(fits)), key=lambda index: float(np.abs(fits[index].residuals).mean()))
    slope_variance, dual, residuals = SLOPE_VARIANCES[best], fits[best].dual, fits[best].residuals
    return Population(
        servers=len(descriptions),
        mean=mean,
        encoding=encoding,
        slopes=slope_variance * features.T @ dual,
        cpus=dict(zip(cpus, CPU_VARIANCE * cpu_of.T @ dual, strict=True)),
        series=dict(zip(series, SERIES_VARIANCE * series_of.T @ dual, strict=True)),
        covariance=residuals.T @ residuals / len(descriptions) + READING_VARIANCE / 10.0 * np.eye(len(LEVELS)),
    )


@dataclass(frozen=True, slots=True)
class _Ridge:
    """A fit in its dual form, with its leave-one-out residuals; both of shape (servers, levels)."""

    dual: Floats
    residuals: Floats


def _ridge(design: Floats, left: Floats) -> _Ridge:
    """Ridge regression of what is left on columns scaled to their variances.

    The inverse of `design @ design.T + RESIDUAL_VARIANCE * identity` is never formed (Woodbury): servers may be many,
    columns are few. Leave-one-out residuals in closed form: Rasmussen and Williams 2006, equation 5.12.
    """
    inner = np.linalg.inv(RESIDUAL_VARIANCE * np.eye(design.shape[1]) + design.T @ design)
    explained = design @ inner
    dual = (left - explained @ (design.T @ left)) / RESIDUAL_VARIANCE
    diagonal = (1.0 - (explained * design).sum(axis=1)) / RESIDUAL_VARIANCE
    return _Ridge(dual, dual / diagonal[:, None])


def complete(expected: Floats, covariance: Floats, load: Floats, watts: Floats) -> Floats:
    """Log watts at the eleven levels after seeing some points; `load` and `watts` have shape (servers, points).

    `covariance` is one matrix for all servers, or one for each.
    """
    if not load.shape[1]:
        return expected
    hats = level_weights(load)
    surprise = np.log(watts) - np.einsum("spl,sl->sp", hats, expected)
    shared = hats @ covariance
    spread = shared @ hats.transpose(0, 2, 1) + READING_VARIANCE * np.eye(load.shape[1])
    weights = np.linalg.solve(spread, surprise[:, :, None])
    return np.asarray(expected + (shared.transpose(0, 2, 1) @ weights)[:, :, 0])


def watts_at(curves: Floats, load: Floats) -> Floats:
    """Watts of each curve (log watts at the levels) at one load each, shape (servers,), or several, (servers, m)."""
    columns = load if load.ndim == 2 else load[:, None]
    watts = np.exp(np.einsum("spl,sl->sp", level_weights(columns), curves))
    return np.asarray(watts if load.ndim == 2 else watts[:, 0])


@dataclass(frozen=True, slots=True)
class CalibrationStep:
    """The load to measure next, and the mean error over all levels that is to be expected once that is done."""

    load: float
    expected_mape_pct: float


def calibration_plan(covariance: Floats, measured: Sequence[float], steps: int) -> list[CalibrationStep]:
    """Which load steps to measure next, each the one that leaves the least expected error over all levels.

    Greedy, as in Krause, Singh, Guestrin, JMLR 9 (2008). The expected size of a Gaussian error is `sd * sqrt(2 /
    pi)`; the covariance comes from the collection's residuals, so it needs no measurement to plan the next one.
    """
    done, plan = list(measured), []
    for _ in range(steps):
        left = [level for level in LEVELS.tolist() if all(abs(level - one) > 0.02 for one in done)]
        if not left:
            break
        best = min(left, key=lambda level: expected_mape_pct(covariance, [*done, level]))
        done.append(best)
        plan.append(CalibrationStep(best, expected_mape_pct(covariance, done)))
    return plan


def expected_mape_pct(covariance: Floats, measured: Sequence[float]) -> float:
    """The mean error in per cent over the levels 10 to 90 % once these loads are measured, levels measured included."""
    return float(100.0 * np.sqrt(2.0 / np.pi) * deviation(covariance, measured)[1:-1].mean())


def deviation(covariance: Floats, measured: Sequence[float]) -> Floats:
    """Standard deviation of log watts at each level once these loads are measured, shape (levels,)."""
    return np.asarray(np.sqrt(np.maximum(np.diag(_posterior(covariance, measured)), 0.0)))


def level_weights(load: Floats) -> Floats:
    """Weights of the eleven levels in the value at each load, shape load.shape + (11,): linear between two levels.

    A load a little above 1 (the calibrated maximum is often overshot) continues the last piece.
    """
    segment = np.clip((load * 10.0).astype(np.intp), 0, len(LEVELS) - 2)
    share = load * 10.0 - segment
    weights = np.zeros((*load.shape, len(LEVELS)))
    np.put_along_axis(weights, segment[..., None], (1.0 - share)[..., None], axis=-1)
    np.put_along_axis(weights, segment[..., None] + 1, share[..., None], axis=-1)
    return weights


def _posterior(covariance: Floats, measured: Sequence[float]) -> Floats:
    if not len(measured):
        return covariance
    hats = level_weights(np.array(measured, dtype=np.float64))
    shared = hats @ covariance
    spread = shared @ hats.T + READING_VARIANCE * np.eye(len(hats))
    return np.asarray(covariance - shared.T @ np.linalg.solve(spread, shared))


def _on_levels(load: Floats, values: Floats) -> Floats:
    """Values measured near the levels, moved onto them: the ridge solution of `weights @ levels = values`."""
    hats = level_weights(load)
    transposed = hats.transpose(0, 2, 1)
    # The tiny curvature penalty only decides where no measurement does.
    bend = np.diff(np.eye(len(LEVELS)), n=2, axis=0)
    normal = transposed @ hats + 1e-6 * bend.T @ bend
    return np.asarray(np.linalg.solve(normal, transposed @ values[:, :, None])[:, :, 0])


def _groups(names: Sequence[str]) -> tuple[list[str], Floats]:
    """The distinct names but the empty one, and which row belongs to which, shape (rows, groups)."""
    groups = sorted(set(names) - {""})
    index = {name: column for column, name in enumerate(groups)}
    member = np.zeros((len(names), len(groups)))
    for row, name in enumerate(names):
        if name in index:
            member[row, index[name]] = 1.0
    return groups, member
