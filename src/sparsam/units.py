"""Kubernetes quantities and the few unit conversions of the project.

Inside the code a unit ends the name (`cpu_millicores`, `memory_bytes`, `idle_watts`, `energy_joules`);
text is converted here, at the edge.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

JOULES_PER_KWH = 3_600_000.0

_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    "Ki": Decimal(1 << 10),
    "Mi": Decimal(1 << 20),
    "Gi": Decimal(1 << 30),
    "Ti": Decimal(1 << 40),
    "Pi": Decimal(1 << 50),
    "Ei": Decimal(1 << 60),
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?\Z", re.ASCII)


def parse_quantity(text: str | int | float) -> Decimal:
    """The exact value of a Kubernetes quantity such as `500m`, `1.5Gi` or `2e3`.

    Source: apimachinery `resource.Quantity`. Raises ValueError on anything else.
    """
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ValueError(f"not a quantity: {text!r}")
    number, suffix, exponent = match.groups()
    value = Decimal(number)
    return value.scaleb(int(exponent)) if exponent else value * _SUFFIX[suffix or ""]


def parse_millicores(text: str | int | float) -> int:
    """CPU in thousandths of a core, rounded up as Kubernetes does."""
    return int((parse_quantity(text) * 1000).to_integral_value(ROUND_CEILING))


def parse_bytes(text: str | int | float) -> int:
    """Bytes (or any other whole unit), rounded up as Kubernetes does."""
    return int(parse_quantity(text).to_integral_value(ROUND_CEILING))


def joules_to_kwh(energy_joules: float) -> float:
    """Energy for people."""
    return energy_joules / JOULES_PER_KWH
