"""Time as a dependency: shells take a Clock, cores take `now`."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for intervals, and a sleep that obeys both."""

    def now(self) -> datetime:
        """Aware wall-clock time in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Aware wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, Kubernetes' `metav1.Time`."""
    return _rfc3339(moment, "seconds")


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, Kubernetes' `metav1.MicroTime`."""
    return _rfc3339(moment, "microseconds")


def parse_time(text: str) -> datetime:
    """Read either form back; raises ValueError on anything else."""
    return datetime.fromisoformat(text).astimezone(UTC)


def go_duration(seconds: float) -> str:
    """Whole seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _rfc3339(moment: datetime, timespec: str) -> str:
    # Not strftime: its years below 1000 have fewer than four digits, and Go's clients count from the year 1.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
