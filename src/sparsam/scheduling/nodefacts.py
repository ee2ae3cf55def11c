"""What of a node decides the watts that a pod costs there, gathered for any rows in one step.

A scheduler asks for a row or two at a time, thousands of times a second. Then each look into an array costs more than
what is in it, so the facts are lines of one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import numpy as np

from sparsam.scheduling.columns import Floats, Number, Rows


class Facts(NamedTuple, Generic[Number]):
    """Columns of shape (rows,), or numbers of a single node."""

    capacity_millicores: Number
    """What pods may have; at least 1."""
    load: Number
    """Utilization, 0..1, by what pods are expected to use and what was seen beyond that."""
    peak_load: Number
    """The highest load that the meter saw, fading; 0 where it saw none."""
    ease: Number
    """1 where no task waits for a CPU; 0 where so many do that the node is as good as full."""
    speed: Number
    """Work that a core does in a second, beside that of the core that requests are meant for."""
    facility: Number
    """Watts of the building for each watt of the node."""
    errors: Number
    """Standard error of the watts, as a share of them."""
    doubt_ratio: Number
    """Load is taken to cost so many times what the node's model says: 1 unless no model predicts it."""
    woken_watts: Number
    woken_joules: Number
    """What waking the node costs: so much as long as it is awake, and so much once; 0 for one that is awake."""
    kept_watts: Number
    """What a node that is awake and empty would save by sleeping; 0 for all others."""


class Seen(NamedTuple, Generic[Number]):
    """Nodes to formulas that serve many and single ones alike: columns, or plain numbers, which are far faster."""

    rows: Rows | slice | int
    facts: Facts[Number]
    rises: Callable[[Any, Number, Number], tuple[Number, Number]]
    """By how much the watts of rows rise between two loads; see `PowerColumns.rises_at`."""
    smaller: Callable[[Any, Any], Number]
    larger: Callable[[Any, Any], Number]


START = Facts(1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
"""Of a row that no node has had yet."""


class FactTable:
    """The facts of all rows; `columns` are to be read, and to be written to, in place."""

    def __init__(self) -> None:
        self._table = np.zeros((len(Facts._fields), 0))
        self.columns: Facts[Floats] = Facts(*self._table)

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        fresh = np.repeat(np.array(START)[:, None], rows - self._table.shape[1], axis=1)
        self._table = np.concatenate((self._table, fresh), axis=1)
        self.columns = Facts(*self._table)

    def one(self, row: int) -> Facts[float]:
        """Of a single row."""
        return Facts(*self._table[:, row].tolist())

    def of(self, rows: Rows | slice) -> Facts[Floats]:
        """Of these rows; not to be written to."""
        return Facts(*(self._table[:, rows] if isinstance(rows, slice) else self._table.take(rows, axis=1)))


def idle_watts_added(facts: Facts[Number], stay_seconds: float, *, sleeps: bool) -> Number:
    """What a pod that stays so long adds before its load: waking a sleeping node, or forgoing an empty one's sleep.

    The latter only where empty nodes are sent to sleep; a node with work stays awake anyway (see `power.sleep`).
    """
    woken = facts.woken_watts + facts.woken_joules / max(stay_seconds, 1.0)
    return woken + facts.kept_watts if sleeps else woken
