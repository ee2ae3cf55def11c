"""Lists and sets: Kubernetes' list library and the sets extension."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.functions.standard import FUNCTIONS as STANDARD
from sparsam.objects.cel.functions.standard import contains
from sparsam.objects.cel.values import Duration, equal, is_number

_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_SUMMABLE = ("int", "uint", "double", "duration")
_less_or_equal = STANDARD["_<=_"][0].run
_less = STANDARD["_<_"][0].run
_add = STANDARD["_+_"][0].run


def _is_sorted(values: list[Any]) -> bool:
    return all(_less_or_equal(first, second) for first, second in pairwise(values))


def _extreme(name: str, *, smallest: bool) -> Callable[[list[Any]], Any]:
    def run(values: list[Any]) -> Any:
        if not values:
            raise EvaluationError(f"{name} called on empty list")
        found = values[0]
        for each in values[1:]:
            if _less(each, found) if smallest else _less(found, each):
                found = each
        return found

    return run


def _sum(zero: Any) -> Callable[[list[Any]], Any]:
    def run(values: list[Any]) -> Any:
        if not values:
            return zero
        found = values[0]
        if not is_number(found) and not isinstance(found, Duration):
            raise EvaluationError("no such overload")
        for each in values[1:]:
            found = _add(found, each)
        return found

    return run


def _index_of(values: list[Any], sought: Any) -> int:
    return next((place for place, each in enumerate(values) if equal(each, sought)), -1)


def _last_index_of(values: list[Any], sought: Any) -> int:
    return next((place for place in reversed(range(len(values))) if equal(values[place], sought)), -1)


def _sets_contains(values: list[Any], others: list[Any]) -> bool:
    return all(contains(each, values) for each in others)


def _sets_equivalent(values: list[Any], others: list[Any]) -> bool:
    return _sets_contains(values, others) and _sets_contains(others, values)


def _sets_intersects(values: list[Any], others: list[Any]) -> bool:
    return any(contains(each, values) for each in others)


_ZERO: dict[str, Any] = {"int": 0, "uint": 0, "double": 0.0, "duration": Duration(0)}


def _of_lists() -> list[tuple[str, Overload]]:
    found: list[tuple[str, Overload]] = []
    for kind in _COMPARABLE:
        found += [
            overload("isSorted", f"(list({kind})) -> bool", _is_sorted, member=True, reads="deep"),
            overload("min", f"(list({kind})) -> {kind}", _extreme("min", smallest=True), member=True, reads="deep"),
            overload("max", f"(list({kind})) -> {kind}", _extreme("max", smallest=False), member=True, reads="deep"),
        ]
    found += [overload("sum", f"(list({kind})) -> {kind}", _sum(_ZERO[kind]), member=True) for kind in _SUMMABLE]
    return found


FUNCTIONS = table(
    *_of_lists(),
    overload("indexOf", "(list(A), A) -> int", _index_of, member=True, reads="deep"),
    overload("lastIndexOf", "(list(A), A) -> int", _last_index_of, member=True, reads="deep"),
    overload("sets.contains", "(list(A), list(A)) -> bool", _sets_contains, reads="product"),
    overload("sets.equivalent", "(list(A), list(A)) -> bool", _sets_equivalent, reads="product"),
    overload("sets.intersects", "(list(A), list(A)) -> bool", _sets_intersects, reads="product"),
)
