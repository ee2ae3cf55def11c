"""Operators, conversions and the functions that every CEL has; with optional values, which Kubernetes' CEL has too."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sparsam.objects.cel import regex
from sparsam.objects.cel.checker import TYPE_NAMES
from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.types import Type
from sparsam.objects.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    Duration,
    Optional,
    Timestamp,
    UInt,
    duration,
    equal,
    has_key,
    is_number,
    parse_duration,
    parse_timestamp,
    timestamp,
    type_name,
)

_NO_OVERLOAD = "no such overload"
_NUMBERS = ("int", "uint", "double")
_ORDERED = (*_NUMBERS, "bool", "string", "bytes", "timestamp", "duration")


def _whole(value: int, kind: type) -> int:
    """A result within the bounds of its type; raises EvaluationError."""
    if kind is UInt:
        if not 0 <= value <= UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(value)
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return int(value)


def _both(first: Any, second: Any, *kinds: type) -> bool:
    return type(first) is type(second) and type(first) in kinds


def _add(first: Any, second: Any) -> Any:
    if _both(first, second, int, UInt):
        return _whole(int(first) + int(second), type(first))
    if _both(first, second, float, str, bytes, list):
        return first + second
    if _both(first, second, Duration):
        return duration(first.nanos + second.nanos)
    if {type(first), type(second)} == {Timestamp, Duration}:
        return timestamp(first.nanos + second.nanos)
    raise EvaluationError(_NO_OVERLOAD)


def _subtract(first: Any, second: Any) -> Any:
    if _both(first, second, int, UInt):
        return _whole(int(first) - int(second), type(first))
    if _both(first, second, float):
        return first - second
    if _both(first, second, Duration, Timestamp):
        return duration(first.nanos - second.nanos)
    if type(first) is Timestamp and type(second) is Duration:
        return timestamp(first.nanos - second.nanos)
    raise EvaluationError(_NO_OVERLOAD)


def _multiply(first: Any, second: Any) -> Any:
    if _both(first, second, int, UInt):
        return _whole(int(first) * int(second), type(first))
    if _both(first, second, float):
        return first * second
    raise EvaluationError(_NO_OVERLOAD)


def _divide(first: Any, second: Any) -> Any:
    if _both(first, second, int, UInt):
        if not second:
            raise EvaluationError("division by zero")
        return _whole(truncated(int(first), int(second)), type(first))
    if _both(first, second, float):
        if second:
            return first / second
        return math.nan if not first or math.isnan(first) else math.copysign(math.inf, first) * math.copysign(1, second)
    raise EvaluationError(_NO_OVERLOAD)


def truncated(first: int, second: int) -> int:
    """A quotient without what is behind its point."""
    whole = abs(first) // abs(second)
    return whole if (first < 0) == (second < 0) else -whole


def _modulo(first: Any, second: Any) -> Any:
    if not _both(first, second, int, UInt):
        raise EvaluationError(_NO_OVERLOAD)
    if not second:
        raise EvaluationError("modulus by zero")
    return _whole(int(first) - int(second) * truncated(int(first), int(second)), type(first))


def _negate(value: Any) -> Any:
    if type(value) is int:
        return _whole(-value, int)
    if type(value) is float:
        return -value
    raise EvaluationError(_NO_OVERLOAD)


def _not(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EvaluationError(_NO_OVERLOAD)
    return not value


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def run(first: Any, second: Any) -> bool:
        numbers = is_number(first) and is_number(second)
        if numbers or _both(first, second, bool, str, bytes, Timestamp, Duration):
            return compare(first, second)
        raise EvaluationError(_NO_OVERLOAD)

    return run


def _differs(first: Any, second: Any) -> bool:
    return not equal(first, second)


def contains(value: Any, found: Any) -> bool:
    """Whether a list has an element, or a map a key."""
    if isinstance(found, list):
        return any(equal(value, each) for each in found)
    if isinstance(found, Mapping):
        return has_key(found, value)
    raise EvaluationError(_NO_OVERLOAD)


def _size(value: Any) -> int:
    return len(value)


def _lookup(found: Any, key: Any) -> Any:
    if isinstance(found, Optional):
        return _lookup_optional(found, key)
    if isinstance(found, list):
        return found[_place(found, key)]
    if isinstance(found, Mapping):
        if not has_key(found, key):
            raise EvaluationError(f"no such key: {to_text(key) if not isinstance(key, (list, Mapping)) else key}")
        return found[key]
    raise EvaluationError(_NO_OVERLOAD)


def _place(found: list[Any], key: Any) -> int:
    if not is_number(key) or key != int(key):
        raise EvaluationError(f"unsupported index type '{type_name(key)}' in list")
    if not 0 <= key < len(found):
        raise EvaluationError(f"index out of bounds: {int(key)}")
    return int(key)


def _lookup_optional(found: Any, key: Any) -> Optional:
    if isinstance(found, Optional):
        return _lookup_optional(found.value, key) if found.present else NONE
    if isinstance(found, Mapping):
        return Optional(True, found[key]) if has_key(found, key) else NONE
    if isinstance(found, list):
        return Optional(True, found[int(key)]) if is_number(key) and 0 <= key < len(found) else NONE
    raise EvaluationError(_NO_OVERLOAD)


def to_text(value: Any) -> str:
    """A value as `string()` gives it; raises EvaluationError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    return str(value)


def number_text(value: float) -> str:
    """A double in the shortest way that reads back as the same."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _to_int(value: Any) -> int:
    if isinstance(value, Timestamp):
        return value.nanos // 10**9
    if isinstance(value, Duration):
        return value.nanos
    return _whole(_integer(value, "int"), int)


def _to_uint(value: Any) -> int:
    return _whole(_integer(value, "uint"), UInt)


def _integer(value: Any, kind: str) -> int:
    if isinstance(value, str):
        try:
            if value != value.strip() or "_" in value:
                raise ValueError
            return int(value)
        except ValueError:
            raise EvaluationError(f'strconv.Parse{kind.capitalize()}: parsing "{value}": invalid syntax') from None
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("integer overflow")
    return int(value)


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


def _to_bool(value: Any) -> bool:
    found = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    for text in (value, value.lower() if value in ("T", "F", "TRUE", "FALSE", "True", "False") else ""):
        if text in found:
            return found[text]
    raise EvaluationError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _type(value: Any) -> Type:
    name = type_name(value)
    return TYPE_NAMES.get(name) or Type(name)


def _some(value: Any) -> Optional:
    return Optional(True, value)


def _some_nonzero(value: Any) -> Optional:
    is_zero = value in (None, False, 0, "", b"") or (isinstance(value, (list, Mapping)) and not value)
    return NONE if is_zero or value == Duration(0) else Optional(True, value)


def _value(found: Optional) -> Any:
    if not found.present:
        raise EvaluationError("optional.none() dereference")
    return found.value


def _arithmetic() -> list[tuple[str, Overload]]:
    found = [
        overload(name, f"({kind}, {kind}) -> {kind}", run, reads="nothing")
        for name, run in (("_+_", _add), ("_-_", _subtract), ("_*_", _multiply), ("_/_", _divide))
        for kind in _NUMBERS
    ]
    found += [overload("_+_", f"({kind}, {kind}) -> {kind}", _add) for kind in ("string", "bytes", "list(A)")]
    found += [
        overload("_+_", "(duration, duration) -> duration", _add, reads="nothing"),
        overload("_+_", "(timestamp, duration) -> timestamp", _add, reads="nothing"),
        overload("_+_", "(duration, timestamp) -> timestamp", _add, reads="nothing"),
        overload("_-_", "(duration, duration) -> duration", _subtract, reads="nothing"),
        overload("_-_", "(timestamp, duration) -> timestamp", _subtract, reads="nothing"),
        overload("_-_", "(timestamp, timestamp) -> duration", _subtract, reads="nothing"),
    ]
    found += [overload("_%_", f"({kind}, {kind}) -> {kind}", _modulo, reads="nothing") for kind in ("int", "uint")]
    found += [overload("-_", f"({kind}) -> {kind}", _negate, reads="nothing") for kind in ("int", "double")]
    return found


def _comparisons() -> list[tuple[str, Overload]]:
    pairs = [(kind, kind) for kind in _ORDERED]
    pairs += [(first, second) for first in _NUMBERS for second in _NUMBERS if first != second]
    found = [
        overload(f"_{sign}_", f"({first}, {second}) -> bool", run)
        for sign, compare in (("<", operator.lt), ("<=", operator.le), (">", operator.gt), (">=", operator.ge))
        for run in (_ordering(compare),)
        for first, second in pairs
    ]
    return [
        *found,
        overload("_==_", "(A, A) -> bool", equal, reads="deep"),
        overload("_!=_", "(A, A) -> bool", _differs, reads="deep"),
        overload("@in", "(A, list(A)) -> bool", contains, reads="deep"),
        overload("@in", "(A, map(A, B)) -> bool", contains, reads="nothing"),
        overload("!_", "(bool) -> bool", _not, reads="nothing"),
        # These are built into the evaluation; here for their types.
        overload("_&&_", "(bool, bool) -> bool", _not),
        overload("_||_", "(bool, bool) -> bool", _not),
        overload("_?_:_", "(bool, A, A) -> A", _not),
    ]


def _conversions() -> list[tuple[str, Overload]]:
    sources = {
        "int": ("int", "uint", "double", "string", "timestamp", "duration"),
        "uint": ("uint", "int", "double", "string"),
        "double": ("double", "int", "uint", "string"),
        "string": ("string", "bool", "bytes", "double", "duration", "int", "timestamp", "uint"),
        "bool": ("bool", "string"),
        "bytes": ("bytes", "string"),
        "timestamp": ("timestamp", "string", "int"),
        "duration": ("duration", "string", "int"),
    }
    runs: dict[str, Callable[[Any], Any]] = {
        "int": _to_int,
        "uint": _to_uint,
        "double": _to_double,
        "string": to_text,
        "bool": lambda value: _to_bool(value) if isinstance(value, str) else value,
        "bytes": lambda value: value.encode() if isinstance(value, str) else value,
        "timestamp": _to_timestamp,
        "duration": _to_duration,
    }
    found = [overload(name, f"({kind}) -> {name}", runs[name]) for name, kinds in sources.items() for kind in kinds]
    return [
        *found,
        overload("dyn", "(A) -> dyn", lambda value: value, reads="nothing"),
        overload("type", "(A) -> type", _type, reads="nothing"),
    ]


def _to_timestamp(value: Any) -> Timestamp:
    if isinstance(value, str):
        return parse_timestamp(value)
    return value if isinstance(value, Timestamp) else timestamp(int(value) * 10**9)


def _to_duration(value: Any) -> Duration:
    if isinstance(value, str):
        return parse_duration(value)
    return value if isinstance(value, Duration) else duration(int(value))


def _sizes_and_indices() -> list[tuple[str, Overload]]:
    kinds = ("string", "bytes", "list(A)", "map(A, B)")
    found = [overload("size", f"({kind}) -> int", _size, reads="nothing") for kind in kinds]
    found += [overload("size", f"({kind}) -> int", _size, reads="nothing", member=True) for kind in kinds]
    for name, run, wrap in (("_[_]", _lookup, "{}"), ("_[?_]", _lookup_optional, "optional_type({})")):
        found += [
            overload(name, f"(list(A), int) -> {wrap.format('A')}", run, reads="nothing"),
            overload(name, f"(map(A, B), A) -> {wrap.format('B')}", run, reads="nothing"),
            overload(name, "(optional_type(list(A)), int) -> optional_type(A)", run, reads="nothing"),
            overload(name, "(optional_type(map(A, B)), A) -> optional_type(B)", run, reads="nothing"),
        ]
    return found


def _texts() -> list[tuple[str, Overload]]:
    def tests(name: str, run: Callable[[str, str], bool]) -> tuple[str, Overload]:
        return overload(name, "(string, string) -> bool", run, member=True)

    return [
        tests("startsWith", str.startswith),
        tests("endsWith", str.endswith),
        tests("contains", lambda text, part: part in text),
        overload("matches", "(string, string) -> bool", regex.matches, reads="product", member=True),
        overload("matches", "(string, string) -> bool", regex.matches, reads="product"),
    ]


def _optionals() -> list[tuple[str, Overload]]:
    optional = "optional_type(A)"
    return [
        overload("optional.of", f"(A) -> {optional}", _some, reads="nothing"),
        overload("optional.ofNonZeroValue", f"(A) -> {optional}", _some_nonzero, reads="nothing"),
        overload("optional.none", f"() -> {optional}", lambda: NONE),
        overload("hasValue", f"({optional}) -> bool", lambda found: found.present, member=True),
        overload("value", f"({optional}) -> A", _value, member=True),
        overload("or", f"({optional}, {optional}) -> {optional}", lambda a, b: a if a.present else b, member=True),
        overload(
            "orValue",
            f"({optional}, A) -> A",
            lambda found, other: found.value if found.present else other,
            member=True,
        ),
    ]


FUNCTIONS = table(
    *_arithmetic(),
    *_comparisons(),
    *_conversions(),
    *_sizes_and_indices(),
    *_texts(),
    *_optionals(),
)
