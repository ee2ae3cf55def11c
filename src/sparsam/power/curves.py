"""Power curves: watts and their slope over load, for many servers of one form at once.

A form is a formula with its coefficients as columns, one entry per server. `load` is utilization in 0..1, of shape
(servers,): one load for each server. Loads outside a curve's range are cut to it: no measurement backs a continuation.
How coefficients are found is in `fitting`; which family a server gets is in `selection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

# Share of the jump out of idle that is left at load u: exp(-u / IDLE_FADE). Packages sleep only while every core is
# idle, and that share of time falls about exponentially with load (Meisner et al., "Power management of online
# data-intensive services", ISCA 2011, find next to no full-system idleness from a few per cent of load on). No
# collection of load levels in tenths can fix the number, so it is an assumption: 0.7 % of the jump is left at 10 %
# load.
IDLE_FADE = 0.02


class Curves(Protocol):
    """Curves of one form for several servers."""

    def watts(self, load: Floats) -> Floats:
        """Watts of each server at its load; both of shape (servers,)."""
        ...

    def slope(self, load: Floats) -> Floats:
        """Watts per unit of load at that load; shape (servers,)."""
        ...

    def take(self, rows: Rows) -> Curves:
        """The curves of these servers, in this order; a server may come several times."""
        ...


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """`P(u) = idle + range * u**exponent`: the straight line of Fan, Weber, Barroso, ISCA 2007, with a bend.

    Two coefficients beside idle, as in the non-linear forms that Hsu and Poole compare ("Power signature analysis of
    the SPECpower_ssj2008 benchmark", ISPASS 2011). With exponent 1 it is the straight line itself.
    """

    idle_watts: Floats
    range_watts: Floats
    exponent: Floats

    def watts(self, load: Floats) -> Floats:
        u = np.clip(load, 0.0, 1.0)
        return np.asarray(self.idle_watts + self.range_watts * u**self.exponent)

    def slope(self, load: Floats) -> Floats:
        # Below exponent 1 the slope at zero is infinite; a hundredth of a per cent of load stands in for it.
        u = np.clip(load, 1e-4, 1.0)
        return np.asarray(self.range_watts * self.exponent * u ** (self.exponent - 1.0))

    def take(self, rows: Rows) -> PowerLaw:
        return PowerLaw(self.idle_watts[rows], self.range_watts[rows], self.exponent[rows])


@dataclass(frozen=True, slots=True)
class Exponential:
    """`P(u) = K0 + K1 * exp(K2 * u)`, the model of the PEAKS scheduler plugin (sustainable-computing-io/peaks).

    A concave curve has both K1 and K2 below zero.
    """

    k0: Floats
    k1: Floats
    k2: Floats

    def watts(self, load: Floats) -> Floats:
        return np.asarray(self.k0 + self.k1 * np.exp(self.k2 * np.clip(load, 0.0, 1.0)))

    def slope(self, load: Floats) -> Floats:
        return np.asarray(self.k1 * self.k2 * np.exp(self.k2 * np.clip(load, 0.0, 1.0)))

    def take(self, rows: Rows) -> Exponential:
        return Exponential(self.k0[rows], self.k1[rows], self.k2[rows])


@dataclass(frozen=True, slots=True)
class IdleExponential:
    """Idle as a state of its own: `P(u) = A(u) - (A(0) - idle) * exp(-u / IDLE_FADE)`, `A(u) = K0 + K1 * exp(K2 * u)`.

    `A` is the server with its packages awake, fitted to active load alone; the second term is the jump out of package
    sleep, which `IDLE_FADE` lets go within the first per cents of load, so that the curve has no step.
    """

    idle_watts: Floats
    active: Exponential

    def watts(self, load: Floats) -> Floats:
        u = np.clip(load, 0.0, 1.0)
        return np.asarray(self.active.watts(u) - self._jump() * np.exp(u / -IDLE_FADE))

    def slope(self, load: Floats) -> Floats:
        u = np.clip(load, 0.0, 1.0)
        return np.asarray(self.active.slope(u) + self._jump() / IDLE_FADE * np.exp(u / -IDLE_FADE))

    def take(self, rows: Rows) -> IdleExponential:
        return IdleExponential(self.idle_watts[rows], self.active.take(rows))

    def _jump(self) -> Floats:
        return np.asarray(self.active.k0 + self.active.k1 - self.idle_watts)


@dataclass(frozen=True, slots=True)
class Segments:
    """Piecewise cubics through knots: `c0 + c1*t + c2*t**2 + c3*t**3`, where `t` is the load beyond the segment's
    start.

    `knots` has shape (servers, points) and rises along each row; a short row repeats its last knot. `cubics` has shape
    (servers, points - 1, 4). Straight pieces are cubics without their upper terms.
    """

    knots: Floats
    cubics: Floats

    def watts(self, load: Floats) -> Floats:
        c, t = self._at(load)
        return np.asarray(c[:, 0] + t * (c[:, 1] + t * (c[:, 2] + t * c[:, 3])))

    def slope(self, load: Floats) -> Floats:
        c, t = self._at(load)
        return np.asarray(c[:, 1] + t * (2.0 * c[:, 2] + t * 3.0 * c[:, 3]))

    def take(self, rows: Rows) -> Segments:
        return Segments(self.knots[rows], self.cubics[rows])

    def _at(self, load: Floats) -> tuple[Floats, Floats]:
        """The cubic that holds at each load, and the load beyond its start."""
        servers, points = self.knots.shape
        u = np.clip(load, self.knots[:, 0], self.knots[:, -1])
        segment = np.zeros(servers, dtype=np.intp)
        for inner in range(1, points - 1):
            segment += u > self.knots[:, inner]
        row = np.arange(servers)
        t = u - self.knots.ravel().take(row * points + segment)
        return self.cubics.reshape(-1, 4).take(row * (points - 1) + segment, axis=0), t


def piecewise_linear(knots: Floats, watts: Floats) -> Segments:
    """Straight lines between measured points; both of shape (servers, points)."""
    secants = _secants(knots, watts)
    zero = np.zeros_like(secants)
    return Segments(knots, np.stack([watts[:, :-1], secants, zero, zero], axis=-1))


def hermite(knots: Floats, watts: Floats, slopes: Floats) -> Segments:
    """The cubic between each two knots that takes their watts and their slopes; all of shape (servers, points)."""
    width, secants = np.diff(knots), _secants(knots, watts)
    safe = np.where(width > 0.0, width, 1.0)
    left, right = slopes[:, :-1], slopes[:, 1:]
    square = (3.0 * secants - 2.0 * left - right) / safe
    cube = (left + right - 2.0 * secants) / safe**2
    held = width > 0.0
    return Segments(
        knots,
        np.stack(
            [watts[:, :-1], left * held, square * held, cube * held],
            axis=-1,
        ),
    )


def pchip_slopes(knots: Floats, watts: Floats) -> Floats:
    """Slopes that keep every piece monotone: Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5 (1984).

    The weighted harmonic mean of the neighbouring secants, zero where they change sign; three-point slopes at the ends,
    limited as in Moler, "Numerical Computing with MATLAB", 2004, section 3.6.
    """
    width, secant = np.diff(knots), _secants(knots, watts)
    if width.shape[1] == 1:
        return np.repeat(secant, 2, axis=1)
    before, after = width[:, :-1], width[:, 1:]
    first, second = 2.0 * after + before, after + 2.0 * before
    rising = secant[:, :-1] * secant[:, 1:] > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (first + second) / (first / secant[:, :-1] + second / secant[:, 1:])
    inner = np.where(rising, mean, 0.0)
    start = _pchip_end(width[:, 0], width[:, 1], secant[:, 0], secant[:, 1])
    end = _pchip_end(width[:, -1], width[:, -2], secant[:, -1], secant[:, -2])
    return np.concatenate([start[:, None], inner, end[:, None]], axis=1)


def akima_slopes(knots: Floats, watts: Floats, *, modified: bool = False) -> Floats:
    """Slopes that follow the nearer trend: Akima, J. ACM 17 (1970); `modified` as in MATLAB's makima.

    The mean of the two neighbouring secants, each weighted with how much the secants change on the *other* side.
    Modified weights add half the secants' mean, which damps the swing beside flat stretches.
    """
    inner = _secants(knots, watts)
    if inner.shape[1] == 1:
        return np.repeat(inner, 2, axis=1)
    secant = np.empty((inner.shape[0], inner.shape[1] + 4))
    secant[:, 2:-2] = inner
    secant[:, 1] = 2.0 * secant[:, 2] - secant[:, 3]
    secant[:, 0] = 2.0 * secant[:, 1] - secant[:, 2]
    secant[:, -2] = 2.0 * secant[:, -3] - secant[:, -4]
    secant[:, -1] = 2.0 * secant[:, -2] - secant[:, -3]
    change = np.abs(np.diff(secant))
    if modified:
        change = change + np.abs(secant[:, 1:] + secant[:, :-1]) / 2.0
    left, right = change[:, 2:], change[:, :-2]
    total = left + right
    # Weights that are nothing but rounding say nothing; the plain mean then stands.
    telling = total > 1e-9 * np.max(total, axis=1, keepdims=True)
    weighted = (left * secant[:, 1:-2] + right * secant[:, 2:-1]) / np.where(telling, total, 1.0)
    return np.where(telling, weighted, (secant[:, 1:-2] + secant[:, 2:-1]) / 2.0)


def limit_slopes(knots: Floats, watts: Floats, slopes: Floats) -> Floats:
    """Slopes cut so that rising points give a rising curve: at most three times either secant, never below zero.

    The sufficient condition of Fritsch and Carlson, SIAM J. Numer. Anal. 17 (1980).
    """
    secant = _secants(knots, watts)
    held = np.diff(knots) > 0.0
    bound = np.where(held, 3.0 * np.maximum(secant, 0.0), np.inf)
    padded = np.concatenate([bound[:, :1], bound, bound[:, -1:]], axis=1)
    return np.clip(slopes, 0.0, np.minimum(padded[:, :-1], padded[:, 1:]))


def _secants(knots: Floats, watts: Floats) -> Floats:
    width = np.diff(knots)
    return np.asarray(np.diff(watts) / np.where(width > 0.0, width, 1.0))


def _pchip_end(near: Floats, far: Floats, secant: Floats, next_secant: Floats) -> Floats:
    slope = ((2.0 * near + far) * secant - near * next_secant) / (near + far)
    slope = np.where(np.sign(slope) != np.sign(secant), 0.0, slope)
    steep = (np.sign(secant) != np.sign(next_secant)) & (np.abs(slope) > 3.0 * np.abs(secant))
    return np.where(steep, 3.0 * secant, slope)
