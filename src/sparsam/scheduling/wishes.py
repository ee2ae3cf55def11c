"""What pods want of cards and other devices, learned from the pods that were seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sparsam.scheduling.demand import PodDemand, Term

KINDS = 64
"""So many of the most frequent kinds count."""


class Kind(NamedTuple):
    """Pods that want the same devices on the same nodes, and about as much CPU beside them."""

    devices: tuple[tuple[str, int], ...]
    """By name, to four binary digits, since shares of cards come in any size."""
    millicores: int
    """To two binary digits."""
    selector: tuple[tuple[str, str], ...]
    required: tuple[Term, ...] | None


@dataclass(slots=True)
class Wish:
    """A kind of pods, and what they asked for together."""

    demand: PodDemand
    """The first of the kind; what it tolerates holds for all."""
    pods: float = 0.0
    millicores: float = 0.0
    memory_bytes: float = 0.0


class Wishes:
    """The kinds of pods that want devices, and how often they were seen."""

    def __init__(self) -> None:
        self._seen: dict[Kind, Wish] = {}
        self._pods = 0.0
        self.version = 0
        """Rises when what was learned would change decisions."""

    def see(self, demand: PodDemand, pods: float = 1.0) -> bool:
        """A pod that wants devices came, or so many; whether the version rose."""
        if not demand.devices or pods <= 0.0:
            return False
        wanted = tuple((name, _rounded(amount, 4)) for name, amount in demand.devices)
        kind = Kind(wanted, _rounded(demand.amount("cpu"), 2), demand.selector, demand.required)
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = Wish(replace(demand, requests=kind.devices))
        seen.pods += pods
        seen.millicores += pods * demand.amount("cpu")
        seen.memory_bytes += pods * demand.amount("memory")
        before, self._pods = self._pods, self._pods + pods
        # Often at first, then each time that as many have come again.
        rises = int(np.log2(1.0 + before)) != int(np.log2(1.0 + self._pods))
        self.version += rises
        return rises

    def frequent(self) -> list[Wish]:
        """The most frequent kinds."""
        return sorted(self._seen.values(), key=lambda each: -each.pods)[:KINDS]

    @property
    def pods(self) -> float:
        """How many pods were seen."""
        return self._pods


def _rounded(amount: int, digits: int) -> int:
    shift = max(amount.bit_length() - digits, 0)
    return amount >> shift << shift
