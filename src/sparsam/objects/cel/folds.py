"""What macros make of the elements of a list or the entries of a map, and what an evaluation carries along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparsam.objects.cel.errors import CostExceeded, EvaluationError
from sparsam.objects.cel.values import Optional, has_key


class Frame:
    """One evaluation: the variables, and what may still be spent."""

    __slots__ = ("left", "variables")

    def __init__(self, variables: Mapping[str, Any], limit: int) -> None:
        self.variables = dict(variables)
        self.left = limit

    def spend(self, cost: int) -> None:
        """Raises CostExceeded."""
        self.left -= cost
        if self.left < 0:
            raise CostExceeded

    def weigh(self, value: Any) -> None:
        """Pay for all parts of a value; raises CostExceeded on the way, however large it is."""
        rest = [value]
        while rest:
            each = rest.pop()
            self.spend(1 + (len(each) // 10 if isinstance(each, (str, bytes)) else 0))
            if isinstance(each, list):
                rest += each
            elif isinstance(each, Mapping):
                rest += each.values()
            elif isinstance(each, Optional):
                rest.append(each.value)


Run = Callable[[Frame], Any]


def truth(value: Any) -> bool:
    """A value that must be true or false; raises EvaluationError."""
    if isinstance(value, bool):
        return value
    raise EvaluationError("no such overload")


Ask = Callable[[Run, tuple[Any, ...]], Any]


def _any_is(sought: bool) -> Callable[..., bool]:
    """`exists` and `all`: one element settles it, and then errors of others do not matter."""

    def fold(entries: Sequence[tuple[Any, ...]], _condition: Run | None, body: Run, ask: Ask) -> bool:
        fault: EvaluationError | None = None
        for each in entries:
            try:
                if truth(ask(body, each)) is sought:
                    return sought
            except CostExceeded:
                raise
            except EvaluationError as error:
                fault = fault or error
        if fault:
            raise fault
        return not sought

    return fold


def _exists_one(entries: Sequence[tuple[Any, ...]], _condition: Run | None, body: Run, ask: Ask) -> bool:
    return sum(truth(ask(body, each)) for each in entries) == 1


def _filter(entries: Sequence[tuple[Any, ...]], _condition: Run | None, body: Run, ask: Ask) -> list[Any]:
    return [each[0] for each in entries if truth(ask(body, each))]


def _map(entries: Sequence[tuple[Any, ...]], condition: Run | None, body: Run, ask: Ask) -> list[Any]:
    return [ask(body, each) for each in entries if condition is None or truth(ask(condition, each))]


def _transform_map(entries: Sequence[tuple[Any, ...]], condition: Run | None, body: Run, ask: Ask) -> dict[Any, Any]:
    return {each[0]: ask(body, each) for each in entries if condition is None or truth(ask(condition, each))}


def _transform_entry(entries: Sequence[tuple[Any, ...]], condition: Run | None, body: Run, ask: Ask) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for each in _map(entries, condition, body, ask):
        if not isinstance(each, Mapping):
            raise EvaluationError("no such overload")
        for key, value in each.items():
            if has_key(found, key):
                raise EvaluationError(f"insert failed: key {key} already exists")
            found[key] = value
    return found


FOLDS: dict[str, Callable[..., Any]] = {
    "all": _any_is(False),
    "exists": _any_is(True),
    "existsOne": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entry,
}
