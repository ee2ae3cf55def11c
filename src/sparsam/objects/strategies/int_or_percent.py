"""Values that are a number or a percentage, such as `maxSurge: 25%`."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.names import percent_errors
from sparsam.objects.strategies.common import non_negative

IntOrPercent = int | str


def validate_positive(value: IntOrPercent, path: str) -> list[Cause]:
    """Causes for a text that is no percentage or a number below zero."""
    if isinstance(value, str):
        return [invalid(path, value, error) for error in percent_errors(value)]
    return non_negative(value, path)


def percent(value: IntOrPercent) -> int | None:
    """The number before the percent sign; None for plain numbers and for what is no percentage."""
    if isinstance(value, str) and not percent_errors(value):
        return int(value[:-1])
    return None


def at_most_whole(value: IntOrPercent, path: str) -> list[Cause]:
    """A cause for more than 100 %."""
    share = percent(value)
    return [invalid(path, value, "must not be greater than 100%")] if share is not None and share > 100 else []


def amount(value: IntOrPercent) -> int:
    """The number, or that of the percentage: enough to see whether it is zero."""
    return value if isinstance(value, int) else percent(value) or 0
