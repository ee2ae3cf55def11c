"""The string extension (version 2) and the regular expressions of Kubernetes' CEL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sparsam.objects.cel import regex
from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.functions.standard import number_text, to_text
from sparsam.objects.cel.types import Type
from sparsam.objects.cel.values import Duration, Timestamp, UInt

_QUOTED = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def _char_at(text: str, place: int) -> str:
    if not 0 <= place <= len(text):
        raise EvaluationError(f"index out of range: {place}")
    return text[place : place + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}") if part else EvaluationError("index out of range: -1")
    return text.find(part, start)


def _last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(change(each) if each.isascii() else each for each in text)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, max(count, -1))


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not separator:
        parts = list(text)
        return parts if count < 0 or len(parts) <= count else [*parts[: count - 1], "".join(parts[count - 1 :])]
    return text.split(separator, count - 1 if count > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    for place in (start, end):
        if not 0 <= place <= len(text):
            raise EvaluationError(f"index out of range: {place}")
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    return text[start:end]


def _join(parts: list[Any], separator: str = "") -> str:
    if not all(isinstance(each, str) for each in parts):
        raise EvaluationError("no such overload")
    return separator.join(parts)


def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(each, each) for each in text) + '"'


def format_text(pattern: str, values: list[Any]) -> str:
    """`pattern.format(values)`; raises EvaluationError."""
    parts, position, used = [], 0, 0
    while (percent := pattern.find("%", position)) >= 0:
        parts.append(pattern[position:percent])
        if pattern[percent + 1 : percent + 2] == "%":
            parts.append("%")
            position = percent + 2
            continue
        end, precision = percent + 1, 6
        if pattern[end : end + 1] == ".":
            digits = end + 1
            end = digits
            while pattern[end : end + 1].isdigit() and end - digits < 4:
                end += 1
            precision = int(pattern[digits:end] or 0)
        verb = pattern[end : end + 1]
        if verb not in _VERBS or not verb:
            raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        parts.append(_VERBS[verb](values[used], precision))
        used, position = used + 1, end + 1
    return "".join([*parts, pattern[position:]])


def _shown(value: Any, _precision: int = 0) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        pairs = sorted((_shown(key), _shown(each)) for key, each in value.items())
        return "{" + ", ".join(f"{key}: {each}" for key, each in pairs) + "}"
    if value is None:
        return "null"
    if isinstance(value, Type):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return number_text(value).lstrip("+").replace("Inf", "Infinity")
    return to_text(value) if isinstance(value, (bool, int, float, str, bytes, Timestamp, Duration)) else str(value)


def _wrong(verb: str, value: Any) -> EvaluationError:
    return EvaluationError(f"error during formatting: {verb} clause cannot be used on {type(value).__name__}")


def _in_base(base: str) -> Callable[[Any, int], str]:
    def show(value: Any, _precision: int) -> str:
        if base in "xX" and isinstance(value, (str, bytes)):
            found = (value.encode() if isinstance(value, str) else value).hex()
            return found.upper() if base == "X" else found
        if base == "b" and isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(base, value)
        return format(int(value), base)

    return show


def _decimal(value: Any, _precision: int) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, UInt, float)):
        raise _wrong("decimal", value)
    return number_text(value) if isinstance(value, float) else str(int(value))


def _real(style: str) -> Callable[[Any, int], str]:
    def show(value: Any, precision: int) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong("fixed-point" if style == "f" else "scientific", value)
        return (
            _shown(float(value))
            if not math.isfinite(value)
            else format(float(value), f".{min(precision, 1000)}{style}")
        )

    return show


_VERBS: dict[str, Callable[[Any, int], str]] = {
    "s": _shown,
    "d": _decimal,
    "f": _real("f"),
    "e": _real("e"),
    "b": _in_base("b"),
    "o": _in_base("o"),
    "x": _in_base("x"),
    "X": _in_base("X"),
}


def _member(name: str, run: Callable[..., Any], *signatures: str, reads: str = "flat") -> list[tuple[str, Overload]]:
    return [overload(name, each, run, member=True, reads=reads) for each in signatures]


FUNCTIONS = table(
    *_member("charAt", _char_at, "(string, int) -> string"),
    *_member("indexOf", _index_of, "(string, string) -> int", "(string, string, int) -> int"),
    *_member("lastIndexOf", _last_index_of, "(string, string) -> int", "(string, string, int) -> int"),
    *_member("lowerAscii", _ascii(str.lower), "(string) -> string"),
    *_member("upperAscii", _ascii(str.upper), "(string) -> string"),
    *_member(
        "replace",
        _replace,
        "(string, string, string) -> string",
        "(string, string, string, int) -> string",
        reads="product",
    ),
    *_member("split", _split, "(string, string) -> list(string)", "(string, string, int) -> list(string)"),
    *_member("substring", _substring, "(string, int) -> string", "(string, int, int) -> string"),
    *_member("trim", str.strip, "(string) -> string"),
    *_member("join", _join, "(list(string)) -> string", "(list(string), string) -> string", reads="product"),
    *_member("format", format_text, "(string, list(dyn)) -> string", reads="deep"),
    overload("strings.quote", "(string) -> string", _quote),
    overload("jsonpatch.escapeKey", "(string) -> string", lambda key: key.replace("~", "~0").replace("/", "~1")),
    *_member("find", regex.find, "(string, string) -> string", reads="product"),
    *_member(
        "findAll",
        regex.find_all,
        "(string, string) -> list(string)",
        "(string, string, int) -> list(string)",
        reads="product",
    ),
)
