"""Parts of moments, in any time zone, and of spans of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo

from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.functions.standard import truncated
from sparsam.objects.cel.values import Duration, Timestamp

_OFFSET = re.compile(r"([+-]?)([0-9]{1,2}):([0-9]{2})\Z")


def _zone(name: str) -> tzinfo:
    # Read by few expressions, and large.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        if offset := _OFFSET.match(name):
            sign, hours, minutes = offset.groups()
            span = timedelta(hours=int(hours), minutes=int(minutes))
            return timezone(-span if sign == "-" else span)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _part(read: Callable[[datetime], int]) -> Callable[..., int]:
    def run(moment: Timestamp, zone: str = "") -> int:
        if not zone or zone == "UTC":
            return read(moment.at())
        try:
            return read(moment.at().astimezone(_zone(zone)))
        except OverflowError:
            raise EvaluationError("timestamp overflow") from None

    return run


def _milliseconds(moment: Timestamp, _zone: str = "") -> int:
    return moment.nanos % 10**9 // 10**6


_PARTS: dict[str, Callable[..., int]] = {
    "getFullYear": _part(lambda at: at.year),
    "getMonth": _part(lambda at: at.month - 1),
    "getDate": _part(lambda at: at.day),
    "getDayOfMonth": _part(lambda at: at.day - 1),
    "getDayOfWeek": _part(lambda at: at.isoweekday() % 7),
    "getDayOfYear": _part(lambda at: at.timetuple().tm_yday - 1),
    "getHours": _part(lambda at: at.hour),
    "getMinutes": _part(lambda at: at.minute),
    "getSeconds": _part(lambda at: at.second),
    "getMilliseconds": _milliseconds,
}
_DURATION_PARTS: dict[str, Callable[[Duration], int]] = {
    "getHours": lambda span: truncated(span.nanos, 3600 * 10**9),
    "getMinutes": lambda span: truncated(span.nanos, 60 * 10**9),
    "getSeconds": lambda span: truncated(span.nanos, 10**9),
    "getMilliseconds": lambda span: truncated(span.nanos, 10**6),
}


def _overloads() -> list[tuple[str, Overload]]:
    found: list[tuple[str, Overload]] = []
    for name, run in _PARTS.items():
        found.append(overload(name, "(timestamp) -> int", run, member=True))
        found.append(overload(name, "(timestamp, string) -> int", run, member=True))
    found += [overload(name, "(duration) -> int", run, member=True) for name, run in _DURATION_PARTS.items()]
    return found


FUNCTIONS = table(*_overloads())
