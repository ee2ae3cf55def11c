"""The different power curves of a fleet, each once: watts at even steps of load, and the convex envelope below.

Thousands of servers are of a few models, and a table of a few curves stays in the processor's cache, where one with a
line for each server would not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsam.scheduling.columns import Floats, Ints

Step = tuple[float, float, float, float]
"""Watts at a step of load, those on the envelope, and by how much each rises up to the next step."""

STEPS = 64
FIRST_ROOM = 8


class CurveTables:
    """Curves by number; `watts` and `envelope` have shape (room, STEPS + 1)."""

    def __init__(self) -> None:
        self.watts: Floats = np.zeros((FIRST_ROOM, STEPS + 1))
        """Watts at load 0, 1/STEPS, ... 1."""
        self.envelope: Floats = np.zeros((FIRST_ROOM, STEPS + 1))
        """The same on the lower convex envelope of the curve, which starts at idle watts (see `envelope`)."""
        self.best: Floats = np.zeros(FIRST_ROOM)
        """Watts per unit of load at the curve's best load, idle watts included: what a full use of the server costs."""
        self.steps: Floats = np.zeros((4, FIRST_ROOM * (STEPS + 1)))
        """Both once more, a column for each `Step`, those of a curve one after the other.

        After the last the curve stays where it is, and the envelope goes on as before.
        """
        self.lines: list[list[Step]] = [[] for _ in range(FIRST_ROOM)]
        """And once more by curve, for whoever asks for a single one."""
        self._numbers: dict[bytes, int] = {}
        self._users = [0] * FIRST_ROOM
        self._free = list(range(FIRST_ROOM - 1, -1, -1))

    def take(self, levels: Floats) -> int:
        """The number of a curve that one more server has."""
        key = levels.tobytes()
        number = self._numbers.get(key)
        if number is None:
            if not self._free:
                self._grow()
            number = self._numbers[key] = self._free.pop()
            self.watts[number], self.envelope[number] = levels, envelope(levels)
            self.best[number] = (levels[1:] * STEPS / np.arange(1, STEPS + 1)).min()
            steps = _steps(levels, self.envelope[number])
            self.steps.reshape(4, -1, STEPS + 1)[:, number] = steps
            self.lines[number] = [(one, two, three, four) for one, two, three, four in steps.T.tolist()]
        self._users[number] += 1
        return number

    def drop(self, number: int) -> None:
        """One server fewer has this curve."""
        self._users[number] -= 1
        if not self._users[number]:
            del self._numbers[self.watts[number].tobytes()]
            self._free.append(number)

    def _grow(self) -> None:
        room = len(self.watts)
        self.watts, self.envelope = (
            np.concatenate((each, np.zeros_like(each))) for each in (self.watts, self.envelope)
        )
        self.best = np.concatenate((self.best, np.zeros(room)))
        self.steps = np.concatenate((self.steps, np.zeros_like(self.steps)), axis=1)
        self.lines += [[] for _ in range(room)]
        self._users += [0] * room
        self._free = list(range(2 * room - 1, room - 1, -1))


def look_up(table: Floats, curves: Ints, load: Floats) -> Floats:
    """Watts of these curves at loads of equal shape, straight between steps and beyond the last."""
    place = load * STEPS
    step = np.minimum(place.astype(np.intp), STEPS - 1)
    flat = table.ravel()
    at = curves * (STEPS + 1) + step
    below = flat[at]
    return np.asarray(below + (flat[at + 1] - below) * (place - step))


def rises(steps: Floats, curves: Ints, before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """By how much the watts of curves rise between two loads, and those on their envelopes; see `CurveTables.steps`."""
    place = np.empty((2, len(curves)))
    np.multiply(before, STEPS, out=place[0])
    np.multiply(after, STEPS, out=place[1])
    step = np.minimum(place.astype(np.intp), STEPS)
    place -= step
    step += curves * (STEPS + 1)
    found = steps.take(step, axis=1)
    found[2:] *= place
    found[:2] += found[2:]
    watts, below = found[:2, 1] - found[:2, 0]
    return watts, below


def rise(steps: Sequence[Step], before: float, after: float) -> tuple[float, float]:
    """The same of a single curve, of `CurveTables.lines`."""
    watts, below = _at(steps, before)
    more_watts, more_below = _at(steps, after)
    return more_watts - watts, more_below - below


def _at(steps: Sequence[Step], load: float) -> tuple[float, float]:
    place = load * STEPS
    step = min(int(place), STEPS)
    watts, below, risen, risen_below = steps[step]
    part = place - step
    return watts + risen * part, below + risen_below * part


def _steps(levels: Floats, below: Floats) -> Floats:
    """A curve and its envelope as `CurveTables.steps` has them."""
    risen, risen_below = np.diff(levels), np.diff(below)
    return np.stack((levels, below, np.append(risen, 0.0), np.append(risen_below, risen_below[-1])))


def envelope(levels: Floats) -> Floats:
    """The lower convex envelope of a curve given at even steps of load.

    Server curves jump out of idle and flatten before they turn up, so the watts that the next pod adds say little of
    what a server costs once it is well filled: whoever goes by them keeps away from efficient servers that are empty.
    On the envelope the first pods already cost what they do on average when the server is at its best load, and a
    greedy choice of the cheapest step comes close to the least watts that any distribution of the load could draw: with
    divisible load it reaches them exactly, since steps of convex curves are then taken in order of their price (the
    continuous knapsack problem; Dantzig, "Discrete-variable extremum problems", Operations Research 1957).
    """
    kept: list[int] = []
    for point in range(len(levels)):
        while len(kept) >= 2 and _is_above(levels, kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return np.interp(np.arange(len(levels)), kept, levels[kept])


def _is_above(levels: Floats, before: int, middle: int, after: int) -> bool:
    """Whether the middle point lies on or above the line between the others."""
    rise = (levels[after] - levels[before]) * (middle - before)
    return bool((levels[middle] - levels[before]) * (after - before) >= rise)
