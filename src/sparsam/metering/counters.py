"""What cumulative counters of CPU time gained between two looks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FORGET_AFTER = 20
"""Looks without a counter before its last value is forgotten; a group that could not be read once is no new group."""


class Gains:
    """The gain of each counter since the look before."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] | None = None

    def take(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The gains of the counters that are there; all zero at the first look, since nobody knows how old they are.

        A counter that is new, or that fell, began within the interval: all of it is gain.
        """
        if self._last is None:
            self._last = {key: (total, 0) for key, total in totals.items()}
            return dict.fromkeys(totals, 0.0)
        gains = {}
        for key, total in totals.items():
            before = self._last.get(key, (0.0, 0))[0]
            gains[key] = total - before if total >= before else total
        missed = {key: (total, looks + 1) for key, (total, looks) in self._last.items() if looks < FORGET_AFTER}
        self._last = {**missed, **{key: (total, 0) for key, total in totals.items()}}
        return gains


def busy_seconds(stat: str, ticks_per_second: int) -> tuple[float, float]:
    """CPU time of all CPUs since boot, busy and altogether, from the text of `/proc/stat`.

    Time that a hypervisor stole is neither busy nor idle: it was another machine's. Raises ValueError.
    """
    fields = [int(word) for word in stat.split("\n", 1)[0].split()[1:9]]
    if len(fields) < 7:
        raise ValueError("/proc/stat has too few fields")
    total = sum(fields[:7])
    return (total - fields[3] - fields[4]) / ticks_per_second, total / ticks_per_second
