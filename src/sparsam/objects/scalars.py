"""Reading of single JSON values as Go's types do: numbers in range, times, quantities, base64."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from sparsam.objects.fields import quote
from sparsam.objects.quantity import WRONG_FORMAT, QuantityError, canonical

Zero = Callable[[], Any]


class Mismatch(Exception):
    """A value has the wrong type. `text` is set where the message does not depend on the place."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


class Scalar(NamedTuple):
    """How a scalar is read, and its zero value (None: written as null)."""

    read: Callable[[Any], Any]
    zero: Any


def _string(value: Any) -> Any:
    if value.__class__ is str:
        return value
    raise Mismatch


def _bool(value: Any) -> Any:
    if value.__class__ is bool:
        return value
    raise Mismatch


def _int32(value: Any) -> Any:
    if value.__class__ is int and -2147483648 <= value <= 2147483647:
        return value
    raise Mismatch


def _int64(value: Any) -> Any:
    if value.__class__ is int and -9223372036854775808 <= value <= 9223372036854775807:
        return value
    raise Mismatch


def _float64(value: Any) -> Any:
    if value.__class__ is float or value.__class__ is int:
        return value
    raise Mismatch


def _quantity(value: Any) -> str:
    if value.__class__ is str:
        text = value.strip()
    elif value.__class__ is int or value.__class__ is float:
        text = repr(value)
    else:
        raise Mismatch(WRONG_FORMAT)
    try:
        return canonical(text)
    except QuantityError as error:
        raise Mismatch(str(error)) from None


def _int_or_string(value: Any) -> Any:
    return value if value.__class__ is str else _int32(value)


def _bytes(value: Any) -> str:
    if value.__class__ is not str:
        raise Mismatch
    compact = value.replace("\n", "").replace("\r", "")
    try:
        decoded = b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise Mismatch(f"illegal base64 data at input byte {_illegal_byte(value)}") from None
    return b64encode(decoded).decode()


_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*")


def _illegal_byte(text: str) -> int:
    """Where Go's decoder stops."""
    match = _BASE64.match(text)
    end = match.end() if match else 0
    digits = len(re.sub(r"[\r\n]", "", text[:end]))
    if end == len(text):
        return len(text.encode()) - len(text.encode()) % 4 if digits % 4 == 1 else len(text.encode())
    if text[end] != "=" or digits % 4 < 2:
        return len(text[:end].encode())
    padding = text[end:].rstrip("\r\n")
    wanted = 4 - digits % 4
    if padding.startswith("=" * wanted):
        return end + wanted
    return len(text.encode()) if padding == "=" * len(padding) else end + 1


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)
_RFC3339 = "2006-01-02T15:04:05Z07:00"
_RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"
_LAYOUT = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d(?:\.\d+)?"),
    ("Z07:00", r"(?:Z|[+-]\d\d:\d\d)"),
)


def _moment(value: Any, layout: str) -> datetime:
    if value.__class__ is not str:
        raise Mismatch(f"json: cannot unmarshal {json_type(value)} into Go value of type string")
    match = _TIME.match(value)
    if match is None:
        raise Mismatch(_time_error(value, layout))
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        offset = UTC if zone == "Z" else timezone(_offset(zone))
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=offset
        ).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        part = str(error).partition(" ")[0]
        raise Mismatch(f"parsing time {quote(value)}: {part} out of range") from None
    return moment + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))


def _offset(zone: str) -> timedelta:
    sign = -1 if zone[0] == "-" else 1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))


def _time_error(value: str, layout: str) -> str:
    """Go's account of how far a text follows the layout."""
    rest = value
    for element, pattern in _LAYOUT:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            shown = f"{quote(value)} as {quote(layout)}: cannot parse {quote(rest)} as {quote(element)}"
            return f"parsing time {shown}"
        rest = rest[match.end() :]
    return f"parsing time {quote(value)}: extra text: {quote(rest)}"


def _time(value: Any) -> str:
    return _moment(value, _RFC3339).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def _micro_time(value: Any) -> str:
    return _moment(value, _RFC3339_MICRO).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def json_type(value: Any) -> str:
    """The word with which Go names a JSON value in messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


SCALARS: dict[str, Scalar] = {
    "string": Scalar(_string, ""),
    "bool": Scalar(_bool, False),
    "int32": Scalar(_int32, 0),
    "int64": Scalar(_int64, 0),
    "float64": Scalar(_float64, 0),
    "double": Scalar(_float64, 0),
    "quantity": Scalar(_quantity, "0"),
    "intstr": Scalar(_int_or_string, 0),
    "bytes": Scalar(_bytes, None),
    "time": Scalar(_time, None),
    "microtime": Scalar(_micro_time, None),
}
