"""Quantities as Kubernetes writes them: the canonical form of `resource.Quantity`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache

WRONG_FORMAT = r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"
WRONG_NUMBER = "unable to parse numeric part of quantity"

_SHAPE = re.compile(r"([+-]?)([0-9]*)(\.?)([0-9]*)([eEinumkKMGTP]*)([-+]?[0-9]*)\Z", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_LARGEST = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_EXACT = Context(prec=200)
_EXPONENT_LIMIT = 100
_DIGITS_LIMIT = 100


class QuantityError(ValueError):
    """The text is no quantity; the message is upstream's."""


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The canonical form: `1000m` becomes `1`, `0.5` `500m`, `1024Mi` `1Gi`; raises QuantityError."""
    return _shown(*_parse(text))


def _shown(value: Decimal, style: str) -> str:
    if not value:
        return "0"
    if style == "binary" and abs(value) >= 1024 and value == value.to_integral_value():
        return _binary(int(value))
    return _decimal(value, exponent_style=style == "exponent")


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity to calculate with: sums are shown in the style of their first part that is not zero, as Go does."""

    value: Decimal = Decimal(0)
    style: str = "decimal"

    def __add__(self, other: Amount) -> Amount:
        """The sum."""
        return Amount(self.value + other.value, self.style if self.value else other.style)

    def __sub__(self, other: Amount) -> Amount:
        """The difference."""
        return Amount(self.value - other.value, self.style if self.value else other.style)

    def __str__(self) -> str:
        """The canonical form."""
        return _shown(self.value, self.style)


def amount(text: str | int | float) -> Amount:
    """A quantity as text (or a plain number) to calculate with; raises QuantityError."""
    return Amount(*_parse(str(text)))


def _parse(text: str) -> tuple[Decimal, str]:
    match = _SHAPE.match(text)
    if match is None:
        raise QuantityError(WRONG_FORMAT)
    sign, whole, _point, fraction, suffix, digits = match.groups()
    if not whole and not fraction:
        raise QuantityError(WRONG_FORMAT)
    if len(text) > _DIGITS_LIMIT:
        raise QuantityError(WRONG_NUMBER)
    number = Decimal(f"{sign}{whole or '0'}.{fraction or '0'}")
    if suffix in ("e", "E") and digits not in ("", "+", "-"):
        exponent = int(digits)
        if abs(exponent) > _EXPONENT_LIMIT:
            raise QuantityError(WRONG_SUFFIX)
        return _bounded(number.scaleb(exponent, context=_EXACT)), "exponent"
    if digits:
        raise QuantityError(WRONG_SUFFIX)
    if suffix in _BINARY:
        return _bounded(_EXACT.multiply(number, Decimal(1024) ** _BINARY[suffix])), "binary"
    if suffix in _DECIMAL:
        return _bounded(number.scaleb(_DECIMAL[suffix], context=_EXACT)), "decimal"
    raise QuantityError(WRONG_SUFFIX)


def _bounded(value: Decimal) -> Decimal:
    """At most the largest int64; finer than nano is rounded away from zero."""
    value = max(min(value, _LARGEST), -_LARGEST)
    return value.quantize(_NANO, rounding=ROUND_UP, context=_EXACT)


def _binary(value: int) -> str:
    power = 0
    while value % 1024 == 0 and power < 6:
        value //= 1024
        power += 1
    return f"{value}{_BINARY_SUFFIX.get(power, '')}"


def _decimal(value: Decimal, *, exponent_style: bool) -> str:
    nano = int(value.scaleb(9, context=_EXACT))
    exponent = -9
    while nano % 1000 == 0 and exponent < 18:
        nano //= 1000
        exponent += 3
    if exponent_style:
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL_SUFFIX[exponent]}"
