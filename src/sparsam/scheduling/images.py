"""Which nodes have which container images, and what that is worth to a pod.

Source: kube-scheduler's ImageLocality plugin. Sizes count by the share of nodes that have the image, so that one
node with a large image does not draw every pod to itself; below 23 MB it counts nothing, above 1000 MB each
container no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sparsam.scheduling.columns import Ints

LEAST_BYTES = 23 * 1024 * 1024
MOST_BYTES = 1000 * 1024 * 1024
FULL = 100


class Images:
    """Images on rows."""

    def __init__(self) -> None:
        self.version = 0
        """Rises with every change."""
        self._rows = 0
        self._on: dict[str, dict[int, int]] = {}
        """Image name to the rows that have it, each with its size in bytes."""
        self._of_row: dict[int, dict[str, int]] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        self._rows = rows

    def set_row(self, row: int, images: Iterable[Mapping[str, Any]]) -> None:
        """Take over a node's `status.images`."""
        sizes = {name: int(each.get("sizeBytes") or 0) for each in images for name in each.get("names") or ()}
        before = self._of_row.get(row, {})
        if sizes == before:
            return
        for name in before:
            del self._on[name][row]
            if not self._on[name]:
                del self._on[name]
        for name, size in sizes.items():
            self._on.setdefault(name, {})[row] = size
        if sizes:
            self._of_row[row] = sizes
        else:
            del self._of_row[row]
        self.version += 1

    def any_of(self, wanted: Iterable[str]) -> bool:
        """Whether some node has some of them."""
        return any(name in self._on for name in wanted)

    def scores(self, wanted: tuple[str, ...], nodes: int) -> Ints:
        """0 to 100 for each row; `nodes` is how many nodes there are."""
        sums = np.zeros(self._rows, np.int64)
        for name in wanted:
            there = self._on.get(name, {})
            share = len(there) / max(nodes, 1)
            for row, size in there.items():
                sums[row] += int(size * share)
        most = MOST_BYTES * len(wanted)
        return FULL * (np.clip(sums, LEAST_BYTES, most) - LEAST_BYTES) // (most - LEAST_BYTES)
