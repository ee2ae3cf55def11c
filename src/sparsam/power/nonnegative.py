"""Least squares with coefficients that are not negative: what keeps a model monotone by construction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TOLERANCE = 1e-10


def solve(gram: Floats, moment: Floats) -> Floats:
    """The x >= 0 that minimises `x' gram x - 2 x' moment`; `gram` of shape (n, n), `moment` of shape (n,).

    The active-set method of Lawson and Hanson ("Solving Least Squares Problems", 1974, chapter 23) on the normal
    equations, so that the work does not grow with the number of samples. Columns are scaled to unit length first.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
    useful = scale > 0.0
    scale = np.where(useful, scale, 1.0)
    scaled, target = gram / np.outer(scale, scale), np.where(useful, moment / scale, 0.0)
    size = len(target)
    x: Floats = np.zeros(size)
    passive: Flags = np.zeros(size, dtype=bool)
    limit = TOLERANCE * max(float(np.abs(target).max(initial=0.0)), 1e-300)
    for _ in range(10 * size):
        slope = np.where(passive | ~useful, -np.inf, target - scaled @ x)
        entering = int(np.argmax(slope))
        if slope[entering] <= limit:
            break
        passive[entering] = True
        x, passive = _inner(scaled, target, x, passive)
    return x / scale


def _inner(scaled: Floats, target: Floats, x: Floats, passive: Flags) -> tuple[Floats, Flags]:
    """Solve on the passive set; while something there turns negative, step back and let it go."""
    while True:
        rows = np.flatnonzero(passive)
        wanted = np.zeros_like(x)
        wanted[rows] = np.linalg.lstsq(scaled[np.ix_(rows, rows)], target[rows], rcond=None)[0]
        if (wanted[rows] > 0.0).all() or not len(rows):
            return wanted, passive
        blocking = rows[wanted[rows] <= 0.0]
        step = float(np.min(x[blocking] / np.maximum(x[blocking] - wanted[blocking], 1e-300)))
        x = x + step * (wanted - x)
        passive = passive & (x > 1e-14)
        x = np.where(passive, x, 0.0)
