"""Small pieces that the snapshot is built from: interned names, change logs, growing arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.integer[Any]]
"""Whole numbers of any width."""
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Number = TypeVar("Number", Floats, float)
"""What formulas work on that serve columns and single nodes alike: on a single node plain floats are far faster."""

ABSENT = -1


class Interned:
    """Names to dense small integers, first come first numbered."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.numbers: dict[Any, int] = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.numbers)

    def number(self, name: Any) -> int:
        """The number of a name, given on first sight."""
        return self.numbers.setdefault(name, len(self.numbers))

    def known(self, name: Any) -> int:
        """The number of a name, or ABSENT."""
        return self.numbers.get(name, ABSENT)


class ChangeLog:
    """Which rows changed, so that whoever derives something from rows brings only those up to date."""

    KEPT = 16_384

    def __init__(self) -> None:
        self.end = 0
        """Position after the newest change."""
        self._rows: list[int] = []
        self._dropped = 0

    def add(self, row: int) -> None:
        """A row changed."""
        self._rows.append(row)
        self.end += 1
        if len(self._rows) >= 2 * self.KEPT:
            del self._rows[: self.KEPT]
            self._dropped += self.KEPT

    def add_all(self) -> None:
        """Every row may have changed."""
        self.end += 1
        self._dropped, self._rows = self.end, []

    def since(self, position: int) -> list[int] | None:
        """Rows that changed after a position, each once, in order; None when that is too long ago to tell."""
        if position < self._dropped:
            return None
        changed = self._rows[position - self._dropped :]
        return changed if len(changed) < 2 else sorted(set(changed))


def cells(array: npt.NDArray[Any]) -> Any:
    """The same memory for single places: `cells(a)[3] += 1.0` is `a[3] += 1.0`, in half the time and plain numbers."""
    return array.data


def grown(array: Any, size: int, fill: Any = 0) -> Any:
    """The array with its last axis extended to `size`."""
    extra = np.full((*array.shape[:-1], size - array.shape[-1]), fill, array.dtype)
    return np.concatenate((array, extra), axis=-1)


def with_lines(array: Any, count: int) -> Any:
    """The matrix with its first axis extended to `count`."""
    return np.concatenate((array, np.zeros((count - array.shape[0], array.shape[1]), array.dtype)))


def clipped(values: Floats) -> Floats:
    """Cut to 0..1; on short arrays several times as fast as `np.clip`."""
    return np.asarray(np.minimum(np.maximum(values, 0.0), 1.0))


def any_line(matrix: Bools) -> Bools:
    """Whether any line of each column is true."""
    return np.asarray(np.logical_or.reduce(matrix, axis=0))
