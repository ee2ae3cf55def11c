"""What JSON says differently from the declared type: dates as texts, whole doubles as ints, escaped field names."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.types import Type
from sparsam.objects.cel.values import parse_duration, parse_timestamp

Convert = Callable[[Any], Any]

KEYWORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__(underscores|dot|dash|slash|[a-z]+)__")
_PLAIN = re.compile(r"__|[./-]")
_FIELD = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*\Z", re.ASCII)


@cache
def escape(name: str) -> str | None:
    """A property's name as an expression spells it; None when it cannot. Source: the API reference of CRDs."""
    if not _FIELD.match(name):
        return None
    if name in KEYWORDS:
        return f"__{name}__"
    return _PLAIN.sub(lambda match: _ESCAPES[match.group()], name)


@cache
def unescape(field: str) -> str:
    """The property's name that was escaped."""
    if "__" not in field:
        return field
    return _ESCAPED.sub(_meant, field)


def _meant(match: re.Match[str]) -> str:
    word = match.group(1)
    for plain, escaped in _ESCAPES.items():
        if match.group() == escaped:
            return plain
    return word if word in KEYWORDS else match.group()


def converter(kind: Type) -> Convert | None:
    """What makes the declared type's value of a property's; None when there is nothing to do."""
    return _CONVERTERS.get(kind.name)


def _double(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise EvaluationError(f"invalid base64: {error}") from None


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return parse_timestamp(value if "T" in value else f"{value}T00:00:00Z")


def _span(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


_CONVERTERS: dict[str, Convert] = {
    "double": _double,
    "bytes": _bytes,
    "google.protobuf.Timestamp": _time,
    "google.protobuf.Duration": _span,
}
