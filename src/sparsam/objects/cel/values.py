"""Values while an expression runs: plain JSON as it is, and what JSON has no word for.

Numbers, texts, lists and maps are Python's own, so that objects need no conversion. An int is a CEL int, and unsigned
ones are `UInt`s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.types import Type

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
_NANO = 10**9
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": _NANO, "m": 60 * _NANO, "h": 3600 * _NANO}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))\Z", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MIN, _TIME_MAX = -62135596800 * _NANO, 253402300800 * _NANO - 1


class UInt(int):
    """An unsigned number."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time."""

    nanos: int

    def __str__(self) -> str:
        """In seconds, as the language converts it to a text."""
        return f"{_decimal(self.nanos)}s"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, counted from 1970."""

    nanos: int

    def __str__(self) -> str:
        """In RFC 3339."""
        rest = self.nanos % _NANO
        fraction = f".{rest:09}".rstrip("0") if rest else ""
        return f"{self.at():%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(20, "0")

    def at(self) -> datetime:
        """In UTC, without parts of a second."""
        return _EPOCH + timedelta(seconds=self.nanos // _NANO)


@dataclass(frozen=True, slots=True)
class Optional:
    """What may be missing: `value` counts when `present`."""

    present: bool
    value: Any = None


NONE = Optional(False)


class StructValue(dict[str, Any]):
    """What `Name{field: value}` makes: a map that knows its type."""

    def __init__(self, type_name: str) -> None:
        super().__init__()
        self.type_name = type_name


def _decimal(nanos: int) -> str:
    sign, nanos = ("-" if nanos < 0 else ""), abs(nanos)
    rest = nanos % _NANO
    return f"{sign}{nanos // _NANO}" + (f".{rest:09}".rstrip("0") if rest else "")


def parse_duration(text: str) -> Duration:
    """A duration as Go writes it (`1h30m`); raises EvaluationError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    nanos, position = 0, 0
    while match := _DURATION_PART.match(body, position):
        whole, fraction, unit = match.groups()
        if not whole and not fraction:
            break
        nanos += int(f"{whole or 0}{fraction or ''}") * _UNITS[unit] // 10 ** len(fraction or "")
        position = match.end()
    if body == "0":
        return Duration(0)
    if not body or position < len(body) or len(body) > 64:
        raise EvaluationError(f'time: invalid duration "{text}"')
    return duration(-nanos if text.startswith("-") else nanos)


def duration(nanos: int) -> Duration:
    """A duration within bounds; raises EvaluationError."""
    if not INT_MIN <= nanos <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """A moment in RFC 3339; raises EvaluationError."""
    match = _TIMESTAMP.match(text)
    try:
        if match is None:
            raise ValueError
        *parts, fraction, sign, hours, minutes = match.groups()
        year, month, day, hour, minute, second = map(int, parts)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise EvaluationError(f'parsing time "{text}": cannot parse as RFC 3339') from None
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    seconds = (moment - _EPOCH) // timedelta(seconds=1) - offset
    return timestamp(seconds * _NANO + int((fraction or "0").ljust(9, "0")))


def timestamp(nanos: int) -> Timestamp:
    """A moment within bounds; raises EvaluationError."""
    if not _TIME_MIN <= nanos <= _TIME_MAX:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanos)


def is_number(value: Any) -> bool:
    """Whether it is an int, a uint or a double."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(first: Any, second: Any) -> bool:
    """Equality: numbers by value whatever their types, other values of different types never."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return first == second
    if isinstance(first, list):
        return isinstance(second, list) and len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, Mapping):
        return (
            isinstance(second, Mapping)
            and len(first) == len(second)
            and all(has_key(second, key) and equal(value, second[key]) for key, value in first.items())
        )
    if isinstance(first, Optional) and isinstance(second, Optional):
        return first.present == second.present and equal(first.value, second.value)
    return type(first) is type(second) and bool(first == second)


def has_key(found: Mapping[Any, Any], key: Any) -> bool:
    """Whether a map has a key: Python takes True for 1, the language does not."""
    try:
        if key not in found:
            return False
    except TypeError:
        return False
    if isinstance(key, str):
        return True
    return any(each == key and isinstance(each, bool) == isinstance(key, bool) for each in found)


_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    Optional: "optional_type",
    Type: "type",
}


def type_name(value: Any) -> str:
    """The name of a value's type."""
    return _NAMES.get(type(value)) or str(getattr(value, "type_name", "map"))
