"""Rules of a schema that look at one value and not within it: ranges, lengths, patterns, formats, enumerations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, quote, too_many, type_invalid
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.formats import check_of
from sparsam.objects.structural.patterns import compile_pattern

Check = Callable[[Any, Any, str, list[Cause]], None]

NOWHERE = "<nil>"
"""The path that upstream prints for causes of a whole value."""
TYPES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
# int64 and double are as wide as numbers are read.
_WIDTHS = {("integer", "int32"): 2**31 - 1, ("number", "float"): 3.4028234663852886e38}
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


def json_type(value: Any) -> str:
    """The JSON type of a value; a number without a fraction is an integer."""
    if value.__class__ is float:
        return "integer" if value.is_integer() and abs(value) <= 2**53 else "number"
    if value.__class__ is int and not _MIN_INT64 <= value <= _MAX_INT64:
        return "number"
    return TYPES[value.__class__]


def shown(number: float) -> str:
    """A number as Go's `%v` prints it."""
    if isinstance(number, int):
        return str(number)
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return repr(number)


def text_rules(schema: Obj) -> Iterable[Check]:
    """Length, pattern and format of a text."""
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None or least is not None:
        yield _length(least or 0, most)
    if schema.get("pattern"):
        yield _pattern(schema["pattern"])
    name = schema.get("format") or ""
    matches = check_of(name) if schema.get("type") in (None, "", "string") else None
    if matches is not None:
        yield _format(name, matches)


def _length(least: int, most: int | None) -> Check:
    def check(value: str, _old: Any, path: str, causes: list[Cause]) -> None:
        size = len(value)
        if most is not None and size > most:
            causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path))
        if size < least:
            causes.append(invalid(path, value, f"{path} in body should be at least {least} chars long"))

    return check


def _pattern(pattern: str) -> Check:
    matches = compile_pattern(pattern)

    def check(value: str, _old: Any, path: str, causes: list[Cause]) -> None:
        if not matches(value):
            causes.append(invalid(path, value, f"{path} in body should match '{pattern}'"))

    return check


def _format(name: str, matches: Callable[[str], object]) -> Check:
    def check(value: str, _old: Any, path: str, causes: list[Cause]) -> None:
        if not matches(value):
            causes.append(type_invalid(path, value, f"{path} in body must be of type {name}: {quote(value)}"))

    return check


def number_rules(schema: Obj) -> Iterable[Check]:
    """Range and factor of a number; that of its format."""
    kind, name = schema.get("type", ""), schema.get("format", "")
    if (kind, name) in _WIDTHS:
        yield _width(kind, name, _WIDTHS[kind, name])
    if schema.get("multipleOf") is not None:
        yield _multiple(schema["multipleOf"])
    if schema.get("maximum") is not None:
        yield _bound(schema["maximum"], is_upper=True, is_exclusive=bool(schema.get("exclusiveMaximum")))
    if schema.get("minimum") is not None:
        yield _bound(schema["minimum"], is_upper=False, is_exclusive=bool(schema.get("exclusiveMinimum")))


def _width(kind: str, name: str, largest: float) -> Check:
    def check(value: float, _old: Any, path: str, causes: list[Cause]) -> None:
        if not -largest - (kind == "integer") <= value <= largest:
            detail = f"Checked value must be of type {kind} with format {name} in {path}"
            causes.append(invalid(NOWHERE, "", detail))

    return check


def _multiple(factor: float) -> Check:
    def check(value: float, _old: Any, path: str, causes: list[Cause]) -> None:
        if factor and not _is_multiple(value, factor):
            causes.append(invalid(path, value, f"{path} in body should be a multiple of {shown(factor)}"))

    return check


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and float(factor).is_integer():
        return value % int(factor) == 0
    # As upstream: fractions are compared after a division, within its rounding.
    quotient = value * (1 / factor) if factor < 1 else value / factor
    return abs(quotient - round(quotient)) <= 1e-9 * max(1.0, abs(quotient))


def _bound(bound: float, *, is_upper: bool, is_exclusive: bool) -> Check:
    words = "less than" if is_upper else "greater than"
    text = f"in body should be {words} {shown(bound)}"
    if not is_exclusive:
        text = f"in body should be {words} or equal to {shown(bound)}"

    def check(value: float, _old: Any, path: str, causes: list[Cause]) -> None:
        beyond = value > bound if is_upper else value < bound
        if beyond or (is_exclusive and value == bound):
            causes.append(invalid(path, value, f"{path} {text}"))

    return check


def size_rules(schema: Obj) -> Iterable[Check]:
    """How many items a list has, and whether one comes twice."""
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None or most is not None:
        yield _size(least or 0, most)
    if schema.get("uniqueItems"):
        yield _unique


def _size(least: int, most: int | None) -> Check:
    def check(value: list[Any], _old: Any, path: str, causes: list[Cause]) -> None:
        size = len(value)
        if size < least:
            causes.append(invalid(path, size, f"{path} in body should have at least {least} items"))
        if most is not None and size > most:
            causes.append(too_many(path, size, most))

    return check


def _unique(value: list[Any], _old: Any, path: str, causes: list[Cause]) -> None:
    if len({msgspec.json.encode(item, order="sorted") for item in value}) < len(value):
        causes.append(invalid(path, "", f"{path} in body shouldn't contain duplicates"))


def property_count(schema: Obj) -> Callable[[Obj, str, list[Cause]], bool] | None:
    """Whether an object has too few or too many fields, noted as a cause; None when there is no such rule."""
    least, most = schema.get("minProperties") or 0, schema.get("maxProperties")
    if not least and most is None:
        return None

    def check(value: Obj, path: str, causes: list[Cause]) -> bool:
        size = len(value)
        if size < least:
            causes.append(invalid(path or NOWHERE, size, f"{path} in body should have at least {least} properties"))
            return True
        if most is not None and size > most:
            causes.append(too_many(path or NOWHERE, size, most))
            return True
        return False

    return check


def enum_rules(schema: Obj) -> Iterable[Check]:
    """The values that are allowed, whatever their type."""
    allowed = schema.get("enum")
    if not allowed:
        return
    known = {_canonical(value) for value in allowed}
    names = [value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in allowed]

    def check(value: Any, _old: Any, path: str, causes: list[Cause]) -> None:
        if _canonical(value) not in known:
            causes.append(not_supported(path, value, names))

    yield check


def _canonical(value: Any) -> Any:
    """A value as something that is equal for the same JSON only: 1 is 1.0 but not true."""
    if value.__class__ is str:
        return value
    if value.__class__ is int or value.__class__ is float:
        return (float, value)
    return (None, msgspec.json.encode(value, order="sorted"))
