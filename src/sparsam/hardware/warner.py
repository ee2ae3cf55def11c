"""Says each trouble once, and once that it is over, however often the meter comes by."""

from __future__ import annotations

import logging

from sparsam.hardware.meter import Gap

REMEMBERED = 10_000
"""Bounds the memory, should a caller make up source names."""


class Warner:
    """One warning for each episode of trouble; a source that flaps is heard of once in `quiet_seconds`."""

    def __init__(self, logger: logging.Logger, *, quiet_seconds: float = 3600.0) -> None:
        self._logger = logger
        self._quiet_seconds = quiet_seconds
        self._said_at: dict[tuple[str, str], float] = {}
        self._open: dict[str, set[str]] = {}
        """By source: the faults of the present episode, and whether they were said or kept quiet."""

    def gap(self, gap: Gap) -> bool:
        """Warn of a gap unless it belongs to a counter's ordinary life; whether it was said."""
        return gap.fault.worrying and self.warn(gap.source, gap.fault, gap.detail, gap.at_seconds)

    def warn(self, source: str, fault: str, detail: str, at_seconds: float) -> bool:
        """Warn of one kind of trouble of one source; whether it was said."""
        if len(self._open) >= REMEMBERED or len(self._said_at) >= REMEMBERED:
            self._open.clear()
            self._said_at.clear()
        faults = self._open.setdefault(source, set())
        if fault in faults:
            return False
        faults.add(fault)
        said_at = self._said_at.get((source, fault))
        if said_at is not None and at_seconds - said_at < self._quiet_seconds:
            return False
        self._said_at[source, fault] = at_seconds
        self._logger.warning("power source fails source=%s fault=%s detail=%s", source, fault, detail)
        return True

    def recovered(self, source: str) -> None:
        """Note that a source works; says so if it had failed."""
        if self._open.pop(source, None):
            self._logger.info("power source works again source=%s", source)
