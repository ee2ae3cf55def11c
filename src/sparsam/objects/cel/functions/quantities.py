"""Quantities and semantic versions: Kubernetes' quantity and semver libraries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from typing import Any

from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.values import INT_MAX, INT_MIN
from sparsam.objects.quantity import Amount, QuantityError, amount

_NUMBER = r"(0|[1-9][0-9]*)"
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_WORDS}))?(?:\+({_WORDS}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of a resource."""

    amount: Amount
    type_name = "kubernetes.Quantity"

    def __eq__(self, other: object) -> bool:
        """By value, however it is written."""
        return isinstance(other, Quantity) and self.amount.value == other.amount.value

    def __hash__(self) -> int:
        """By value."""
        return hash(self.amount.value)

    def __str__(self) -> str:
        """The canonical form."""
        return str(self.amount)


@total_ordering
@dataclass(frozen=True, slots=True)
class Semver:
    """A semantic version; what comes after `+` does not count. Source: semver.org, 2.0.0."""

    numbers: tuple[int, int, int]
    before: tuple[str, ...] = ()
    build: str = ""
    type_name = "kubernetes.Semver"

    def __eq__(self, other: object) -> bool:
        """By precedence."""
        return isinstance(other, Semver) and (self.numbers, self.before) == (other.numbers, other.before)

    def __hash__(self) -> int:
        """By precedence."""
        return hash((self.numbers, self.before))

    def __lt__(self, other: Semver) -> bool:
        """By precedence."""
        return (self.numbers, self._rank()) < (other.numbers, other._rank())

    def _rank(self) -> tuple[Any, ...]:
        # A release is after everything that came before it; numbers are before words.
        words = tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in self.before)
        return (not self.before, words)


def parse_quantity(text: str) -> Quantity:
    """A quantity; raises EvaluationError."""
    try:
        return Quantity(amount(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def parse_version(text: str, normalize: bool = False) -> Semver:
    """A version, with `normalize` also one such as `v1.2`; raises EvaluationError."""
    found = _VERSION.match(_normal(text) if normalize else text)
    if found is None:
        raise EvaluationError(f'No Major.Minor.Patch elements found in "{text}"')
    major, minor, patch, before, build = found.groups()
    words = tuple(before.split(".")) if before else ()
    if any(each.isdigit() and len(each) > 1 and each[0] == "0" for each in words):
        raise EvaluationError(f'Numeric PreRelease version must not contain leading zeroes in "{text}"')
    return Semver((int(major), int(minor), int(patch)), words, build or "")


def _normal(text: str) -> str:
    text = text.removeprefix("v")
    head = re.split(r"[-+]", text, maxsplit=1)[0]
    numbers = [each.lstrip("0") or "0" for each in head.split(".")] if head else []
    return ".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + text[len(head) :]


def _holds(parse: Callable[..., Any]) -> Callable[..., bool]:
    def run(*arguments: Any) -> bool:
        try:
            parse(*arguments)
        except EvaluationError:
            return False
        return True

    return run


def _compared(first: Any, second: Any) -> int:
    return int(first > second) - int(first < second)


def _is_integer(quantity: Quantity) -> bool:
    value = quantity.amount.value
    return value == value.to_integral_value() and INT_MIN <= value <= INT_MAX


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise EvaluationError("cannot convert value to integer")
    return int(quantity.amount.value)


def _sign(quantity: Quantity) -> int:
    return _compared(quantity.amount.value, 0)


def _sum(first: Quantity, second: Quantity | int) -> Quantity:
    return Quantity(first.amount + _amount(second))


def _difference(first: Quantity, second: Quantity | int) -> Quantity:
    return Quantity(first.amount - _amount(second))


def _amount(value: Quantity | int) -> Amount:
    return value.amount if isinstance(value, Quantity) else Amount(Decimal(value))


def _ordered(kind: str, key: Callable[[Any], Any]) -> list[tuple[str, Overload]]:
    def member(name: str, result: str, run: Callable[[Any, Any], Any]) -> tuple[str, Overload]:
        return overload(name, f"({kind}, {kind}) -> {result}", lambda a, b: run(key(a), key(b)), member=True)

    return [
        member("isGreaterThan", "bool", lambda a, b: a > b),
        member("isLessThan", "bool", lambda a, b: a < b),
        member("compareTo", "int", _compared),
    ]


_QUANTITY, _SEMVER = "kubernetes.Quantity", "kubernetes.Semver"

FUNCTIONS = table(
    overload("quantity", f"(string) -> {_QUANTITY}", parse_quantity),
    overload("isQuantity", "(string) -> bool", _holds(parse_quantity)),
    overload("sign", f"({_QUANTITY}) -> int", _sign, member=True),
    overload("isInteger", f"({_QUANTITY}) -> bool", _is_integer, member=True),
    overload("asInteger", f"({_QUANTITY}) -> int", _as_integer, member=True),
    overload("asApproximateFloat", f"({_QUANTITY}) -> double", lambda each: float(each.amount.value), member=True),
    *(
        overload(name, f"({_QUANTITY}, {kind}) -> {_QUANTITY}", run, member=True)
        for name, run in (("add", _sum), ("sub", _difference))
        for kind in (_QUANTITY, "int")
    ),
    *_ordered(_QUANTITY, lambda each: each.amount.value),
    overload("semver", f"(string) -> {_SEMVER}", parse_version),
    overload("semver", f"(string, bool) -> {_SEMVER}", parse_version),
    overload("isSemver", "(string) -> bool", _holds(parse_version)),
    overload("isSemver", "(string, bool) -> bool", _holds(parse_version)),
    *(
        overload(name, f"({_SEMVER}) -> int", lambda each, place=place: each.numbers[place], member=True)
        for place, name in enumerate(("major", "minor", "patch"))
    ),
    *_ordered(_SEMVER, lambda each: each),
)
