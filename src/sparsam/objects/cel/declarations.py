"""Functions as they are declared: each name with its overloads, written as `(string, int) -> string`.

Capital letters are type variables. Which overload runs is settled when the expression is compiled if the types say so,
else by the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sparsam.objects.cel.types import BY_NAME, DYN, Type
from sparsam.objects.cel.values import type_name


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function."""

    parameters: tuple[Type, ...]
    result: Type
    is_member: bool
    run: Callable[..., Any]
    reads: str = "flat"
    """What a call costs: `nothing` of its arguments is read, each `flat`, with all its parts (`deep`), or each part
    of one for each part of the other (`product`)."""

    def accepts(self, values: tuple[Any, ...]) -> bool:
        """Whether it is made for these values."""
        return len(values) == len(self.parameters) and all(map(_fits, self.parameters, values))


Functions = Mapping[str, tuple[Overload, ...]]


def _fits(kind: Type, value: Any) -> bool:
    return kind.is_variable or kind.name in ("dyn", type_name(value))


def overload(
    name: str, signature: str, run: Callable[..., Any], *, reads: str = "flat", member: bool = False
) -> tuple[str, Overload]:
    """An overload from `(parameters) -> result`; with `member`, the first parameter is the target."""
    left, _, right = signature.rpartition(" -> ")
    parts = _split(left.strip()[1:-1])
    kinds = tuple(parse_type(each) for each in parts)
    return name, Overload(kinds, parse_type(right), member, run, reads)


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()] if text.strip() else []


@cache
def parse_type(text: str) -> Type:
    """A type from its text, such as `map(string, A)`."""
    name, bracket, rest = text.partition("(")
    if bracket:
        return Type(name, tuple(parse_type(each) for each in _split(rest[:-1])))
    if len(name) == 1:
        return Type(name, is_variable=True)
    return BY_NAME.get(name) or _with_parts(name)


def _with_parts(name: str) -> Type:
    return {"list": Type("list", (DYN,)), "map": Type("map", (DYN, DYN))}.get(name) or Type(name)


def table(*parts: tuple[str, Overload]) -> dict[str, tuple[Overload, ...]]:
    """Overloads by name."""
    found: dict[str, tuple[Overload, ...]] = {}
    for name, each in parts:
        found[name] = (*found.get(name, ()), each)
    return found


def merged(*tables: Functions) -> dict[str, tuple[Overload, ...]]:
    """Several tables as one: a name may have overloads in each."""
    found: dict[str, tuple[Overload, ...]] = {}
    for each in tables:
        for name, overloads in each.items():
            found[name] = (*found.get(name, ()), *overloads)
    return found
