"""Labels of nodes as columns of small integers, and the places that nodes share by a label: zones, racks, hosts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparsam.scheduling.columns import ABSENT, Interned, Ints, grown


class Labels:
    """Labels on rows."""

    def __init__(self) -> None:
        self.columns: dict[str, Ints] = {}
        """Label key to the number of its value on each row, ABSENT where the node has no such label."""
        self.values = Interned()
        self._rows = self._version = 0
        self._domains: dict[str, tuple[int, Ints, int]] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        self._rows = rows
        for key, values in self.columns.items():
            self.columns[key] = grown(values, rows, ABSENT)

    def set_row(self, row: int, labels: Mapping[str, str]) -> None:
        """Take over a node's labels; none for a node that is gone."""
        self._version += 1
        for key, values in self.columns.items():
            if key not in labels:
                values[row] = ABSENT
        for key, value in labels.items():
            if key not in self.columns:
                self.columns[key] = np.full(self._rows, ABSENT, np.int64)
            self.columns[key][row] = self.values.number(value)

    def domains(self, key: str) -> tuple[Ints, int]:
        """(place of each row by a label, number of places); rows without the label are in one more place.

        Places are numbered afresh when any node changes.
        """
        known = self._domains.get(key)
        if known is not None and known[0] == self._version:
            return known[1], known[2]
        column = self.columns.get(key)
        if column is None:
            column = np.full(self._rows, ABSENT, np.int64)
        values, places = np.unique(column, return_inverse=True)
        count = len(values)
        if count and values[0] == ABSENT:
            count -= 1
            places = np.where(column == ABSENT, count, places - 1)
        self._domains[key] = (self._version, places, count)
        return places, count
