"""JSONPath as definitions of custom resources use it for columns: fields, positions, slices, wildcards, simple filters.

Source: Kubernetes' reference "JSONPath Support". Left out, since nothing in a column can use them: ranges over
several templates, functions and regular expressions.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

Step = Callable[[Any], Iterator[Any]]
"""From one value to those that it leads to."""

_TOKEN = re.compile(
    r"""
      \.\.(?P<descend>[\w$-]+|\*)?
    | \.(?P<field>(?:[\w$/-]|\\.)+)
    | \.(?P<every>\*)
    | \[\s*'(?P<quoted>(?:[^'\\]|\\.)*)'\s*\]
    | \[\s*"(?P<doubly>(?:[^"\\]|\\.)*)"\s*\]
    | \[\s*(?P<all>\*)\s*\]
    | \[\s*(?P<index>-?\d+)\s*\]
    | \[\s*(?P<slice>-?\d*:-?\d*(?::\d*)?)\s*\]
    | \[\s*\?\(\s*(?P<filter>(?:[^()'"]|'[^']*'|"[^"]*")*)\s*\)\s*\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"""@(?P<path>(?:[^=!<>\s'"]|\['[^']*'\])*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*""")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@lru_cache(maxsize=1024)
def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function that finds all values at a path such as `.status.conditions[?(@.type=="Ready")].status`.

    Raises ValueError for what is not understood.
    """
    steps = list(_steps(text.strip().removeprefix("$")))

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [inner for outer in found for inner in step(outer)]
        return found

    return find


def _steps(text: str) -> Iterator[Step]:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            raise ValueError(f"unrecognized character in path at {text[position:]!r}")
        position = token.end()
        yield from _steps_of(token)


def _steps_of(token: re.Match[str]) -> Iterator[Step]:
    kind, text = token.lastgroup, token[token.lastgroup] if token.lastgroup else ""
    if kind in ("field", "quoted", "doubly"):
        yield _field(re.sub(r"\\(.)", r"\1", text))
    elif kind in ("every", "all"):
        yield _every
    elif kind == "index":
        yield _item(int(text))
    elif kind == "slice":
        yield _slice(text)
    elif kind == "filter":
        yield _filter(text)
    else:
        yield _descendants
        if text:
            yield _every if text == "*" else _field(text)


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descendants(value: Any) -> Iterator[Any]:
    yield value
    for inner in _every(value):
        yield from _descendants(inner)


def _item(position: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= position < len(value):
            yield value[position]

    return step


def _slice(text: str) -> Step:
    wanted = slice(*(int(part) if part else None for part in text.split(":")))

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[wanted]

    return step


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise ValueError(f"unrecognized filter {text!r}")
    find = compile_path(match["path"])
    compare = _OPERATORS[match["op"]] if match["op"] else None
    wanted = _literal(match["value"]) if compare else None

    def holds(item: Any) -> bool:
        found = find(item)
        if compare is None or not found:
            return bool(found)
        try:
            return compare(found[0], wanted)
        except TypeError:
            return False

    def step(value: Any) -> Iterator[Any]:
        yield from (item for item in _every(value) if holds(item))

    return step


def _literal(text: str) -> Any:
    if text[0] in "'\"" and text[-1] == text[0] and len(text) > 1:
        return text[1:-1]
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise ValueError(f"unrecognized value {text!r}") from None
