"""Families of power curves and how each is fitted to measured points, for all servers at once.

Every fit takes `load` and `watts` of shape (servers, points), load rising along each row with idle (load 0) first,
and returns the curves of those servers. Fits are bounded (watts at idle never below zero, watts never falling with
load) and the formulas are fitted robustly: Huber's weights ("Robust estimation of a location parameter", 1964) keep
one bad point from bending the curve. Formulas with one non-linear coefficient are solved by variable projection
(Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973): for a trial value the others follow in closed form, so only one
number is searched for, on a grid and then by golden section.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsam.power.curves import (
    Curves,
    Exponential,
    Floats,
    IdleExponential,
    PowerLaw,
    Segments,
    akima_slopes,
    hermite,
    limit_slopes,
    pchip_slopes,
    piecewise_linear,
)

HUBER_ROUNDS = 2
HUBER_LIMIT = 1.345
GOLDEN_STEPS = 16
GOLDEN_RATIO = (5.0**0.5 - 1.0) / 2.0
RATES = np.array(
    [-16.0, -11.0, -8.0, -6.0, -4.5, -3.3, -2.3, -1.5, -0.8, -0.2, 0.3, 0.8, 1.3, 2.0, 3.0, 4.5, 7.0, 11.0]
)
EXPONENTS = np.array([0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.4, 3.0, 4.0])


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of curve."""

    name: str
    minimum_points: int
    fit: Callable[[Floats, Floats], Curves]
    summary: str


def fit_linear(load: Floats, watts: Floats) -> PowerLaw:
    """The line from idle to the highest load: Fan, Weber, Barroso, ISCA 2007, section 4. Needs no other point."""
    idle = np.maximum(watts[:, 0], 0.0)
    per_load = np.maximum(watts[:, -1] - idle, 0.0) / load[:, -1]
    return PowerLaw(idle, per_load, np.ones_like(idle))


def fit_power_law(load: Floats, watts: Floats) -> PowerLaw:
    """`idle + range * u**exponent`, idle and the highest load taken as measured, the exponent fitted."""
    line = fit_linear(load, watts)
    top = load[:, -1:]
    reach = (line.range_watts * load[:, -1])[:, None]

    def residuals(exponent: Floats) -> Floats:
        return np.asarray(line.idle_watts[:, None] + reach * (load / top) ** exponent[:, None] - watts)

    exponent = _robust_search(residuals, EXPONENTS)
    return PowerLaw(line.idle_watts, line.range_watts * load[:, -1] ** (1.0 - exponent), exponent)


def fit_exponential(load: Floats, watts: Floats) -> Exponential:
    """PEAKS' `K0 + K1 * exp(K2 * u)` by least squares over all points, idle among them."""
    return _fit_exponential(load, watts, np.ones_like(watts), np.zeros(len(watts)))


def fit_idle_exponential(load: Floats, watts: Floats) -> IdleExponential:
    """Idle as measured; the exponential by relative least squares on active load, never starting below idle."""
    idle = np.maximum(watts[:, 0], 0.0)
    weights = watts[:, 1:] ** -2.0
    return IdleExponential(idle, _fit_exponential(load[:, 1:], watts[:, 1:], weights, idle))


def fit_idle_monotone(load: Floats, watts: Floats) -> Segments:
    """Idle as measured; a monotone cubic (PCHIP) over active load, which it leaves in a straight line down to idle.

    The line from the first two active points meets the jump out of idle at a load where 99 % of it is over.
    """
    rising = isotonic(watts)
    slope = (rising[:, 2] - rising[:, 1]) / (load[:, 2] - load[:, 1])
    awake = np.minimum(load[:, 1] / 2.0, 0.04)
    foot = np.clip(rising[:, 1] - slope * (load[:, 1] - awake), rising[:, 0], rising[:, 1])
    knots = np.concatenate([load[:, :1], awake[:, None], load[:, 1:]], axis=1)
    values = np.concatenate([rising[:, :1], foot[:, None], rising[:, 1:]], axis=1)
    slopes = np.empty_like(values)
    slopes[:, 1:] = pchip_slopes(knots[:, 1:], values[:, 1:])
    slopes[:, 0] = (foot - rising[:, 0]) / awake
    return hermite(knots, values, limit_slopes(knots, values, slopes))


def fit_piecewise(load: Floats, watts: Floats) -> Segments:
    """Straight lines between the measured points."""
    return piecewise_linear(load, isotonic(watts))


def fit_pchip(load: Floats, watts: Floats) -> Segments:
    """Monotone cubics between the measured points (Fritsch and Butland 1984)."""
    rising = isotonic(watts)
    return hermite(load, rising, pchip_slopes(load, rising))


def fit_akima(load: Floats, watts: Floats) -> Segments:
    """Akima's cubics (1970) between the measured points, limited so that they stay monotone."""
    rising = isotonic(watts)
    return hermite(load, rising, limit_slopes(load, rising, akima_slopes(load, rising)))


def fit_makima(load: Floats, watts: Floats) -> Segments:
    """Modified Akima cubics between the measured points, limited so that they stay monotone."""
    rising = isotonic(watts)
    return hermite(load, rising, limit_slopes(load, rising, akima_slopes(load, rising, modified=True)))


FAMILIES = {
    family.name: family
    for family in (
        Family("linear", 2, fit_linear, "straight line from idle to full load"),
        Family("power_law", 3, fit_power_law, "idle plus a power of load"),
        Family("exponential", 4, fit_exponential, "PEAKS: K0 + K1 exp(K2 u)"),
        Family("idle_exponential", 5, fit_idle_exponential, "idle a state of its own, exponential on active load"),
        Family("idle_monotone", 4, fit_idle_monotone, "idle a state of its own, monotone cubic on active load"),
        Family("piecewise", 2, fit_piecewise, "straight lines between load steps"),
        Family("pchip", 3, fit_pchip, "monotone cubic between load steps"),
        Family("akima", 3, fit_akima, "Akima cubic between load steps"),
        Family("makima", 3, fit_makima, "modified Akima cubic between load steps"),
    )
}


def isotonic(watts: Floats) -> Floats:
    """The nearest rows that never fall: isotonic regression by its max-min formula (Barlow et al. 1972, section 1.2).

    Rows that rise already come back unchanged.
    """
    falling = np.flatnonzero((np.diff(watts) < 0.0).any(axis=1))
    if not falling.size:
        return watts
    rows, points = watts[falling], watts.shape[1]
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    start, end = np.arange(points)[:, None], np.arange(points)[None, :]
    length = np.where(end >= start, end - start + 1, 1)
    means = np.where(end >= start, (total[:, None, 1:] - total[:, :-1, None]) / length, np.inf)
    lowest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    reached = np.where(start <= end, lowest, -np.inf).max(axis=1)
    result = watts.copy()
    result[falling] = reached
    return result


def _fit_exponential(load: Floats, watts: Floats, weights: Floats, floor: Floats) -> Exponential:
    """Weighted `K0 + K1 * exp(K2 * u)` that rises with load and is at least `floor` at load zero.

    Solved as `P(0) + gain * (exp(K2 * u) - 1) / K2`, whose two linear coefficients only need to stay above a bound.
    """

    def solve(rate: Floats, robust: Floats) -> tuple[Floats, Floats, Floats]:
        basis = np.expm1(rate[:, None] * load) / rate[:, None]
        weighted = weights * robust
        mass, moment = weighted.sum(axis=1), (weighted * basis).sum(axis=1)
        square = (weighted * basis * basis).sum(axis=1)
        level, cross = (weighted * watts).sum(axis=1), (weighted * basis * watts).sum(axis=1)
        gain = np.maximum((mass * cross - moment * level) / (mass * square - moment**2), 0.0)
        start = (level - gain * moment) / mass
        low = start < floor
        start = np.where(low, floor, start)
        gain = np.where(low, np.maximum((cross - start * moment) / square, 0.0), gain)
        return start, gain, start[:, None] + gain[:, None] * basis - watts

    robust = np.ones_like(watts)
    rate = np.ones(len(watts))
    for round_ in range(HUBER_ROUNDS):
        weighted = weights * robust

        def loss(trial: Floats, weighted: Floats = weighted, robust: Floats = robust) -> Floats:
            return np.asarray((weighted * solve(trial, robust)[2] ** 2).sum(axis=1))

        rate = _search(loss, RATES, len(watts))
        if round_ + 1 < HUBER_ROUNDS:
            robust = _huber(solve(rate, robust)[2] * np.sqrt(weights))
    start, gain, _ = solve(rate, robust)
    return Exponential(start - gain / rate, gain / rate, rate)


def _robust_search(residuals: Callable[[Floats], Floats], grid: Floats) -> Floats:
    """The value of one non-linear coefficient per server that minimises Huber-weighted squares."""
    best = np.full(len(residuals(np.ones(1))), grid[0])
    robust: Floats | float = 1.0
    for _ in range(HUBER_ROUNDS):

        def loss(trial: Floats, robust: Floats | float = robust) -> Floats:
            return np.asarray((robust * residuals(trial) ** 2).sum(axis=1))

        best = _search(loss, grid, len(best))
        robust = _huber(residuals(best))
    return best


def _search(loss: Callable[[Floats], Floats], grid: Floats, servers: int) -> Floats:
    """Per server the argument of least loss: the best of the grid, then golden section between its neighbours."""
    losses = np.stack([loss(np.full(servers, trial)) for trial in grid])
    best = np.clip(losses.argmin(axis=0), 1, len(grid) - 2)
    low, high = grid[best - 1], grid[best + 1]
    left = high - GOLDEN_RATIO * (high - low)
    right = low + GOLDEN_RATIO * (high - low)
    at_left, at_right = loss(_nonzero(left)), loss(_nonzero(right))
    for _ in range(GOLDEN_STEPS):
        lower = at_left < at_right
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        kept, at_kept = np.where(lower, left, right), np.where(lower, at_left, at_right)
        fresh = np.where(lower, high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low))
        at_fresh = loss(_nonzero(fresh))
        left, right = np.where(lower, fresh, kept), np.where(lower, kept, fresh)
        at_left, at_right = np.where(lower, at_fresh, at_kept), np.where(lower, at_kept, at_fresh)
    return _nonzero((low + high) / 2.0)


def _nonzero(value: Floats) -> Floats:
    """The exponential's rate divides; a rate this small is a straight line to nine digits."""
    return np.where(np.abs(value) < 1e-6, 1e-6, value)


def _huber(residual: Floats) -> Floats:
    """Huber's weights, with the scale of each row from its median absolute residual."""
    size = np.abs(residual)
    scale = 1.4826 * np.median(size, axis=1, keepdims=True)
    # A row that fits to the last digit has no scale: then every point keeps its weight.
    limit = HUBER_LIMIT * np.maximum(scale, 1e-9 * (1.0 + size.max(axis=1, keepdims=True)))
    return np.asarray(np.minimum(1.0, limit / np.maximum(size, 1e-300)))
