"""Checked trees as closures that compute values. Everything costs, and what costs too much is broken off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparsam.objects.cel.checker import TYPE_NAMES
from sparsam.objects.cel.conversion import Convert, converter, unescape
from sparsam.objects.cel.declarations import Functions, Overload
from sparsam.objects.cel.errors import CostExceeded, EvaluationError
from sparsam.objects.cel.folds import FOLDS, Frame, Run, truth
from sparsam.objects.cel.tree import (
    Call,
    Comprehension,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    OptionalMap,
    Select,
    Struct,
)
from sparsam.objects.cel.values import NONE, Optional, StructValue, has_key

_MISSING = object()


def build(node: Node, functions: Functions) -> Run:
    """The closure of a checked tree."""
    return _Builder(functions).build(node)


class _Builder:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def build(self, node: Node) -> Run:
        run: Run = getattr(self, f"_{type(node).__name__.lower()}")(node)
        return run

    def _literal(self, node: Literal) -> Run:
        value = node.value
        return lambda _frame: value

    def _name(self, node: Name) -> Run:
        name, is_type = node.name.removeprefix("."), node.name.removeprefix(".") in TYPE_NAMES
        change = converter(node.type)

        def run(frame: Frame) -> Any:
            frame.spend(1)
            value = frame.variables.get(name, _MISSING)
            if value is _MISSING:
                if is_type:
                    return TYPE_NAMES[name]
                raise EvaluationError(f"no such attribute(s): {name}")
            return change(value) if change else value

        return run

    def _select(self, node: Select) -> Run:
        if node.qualified:
            return self._name(Name(node.position, node.qualified))
        operand, field = self.build(node.operand), node.key
        change = converter(node.type.params[0] if node.type.name == "optional_type" else node.type)
        if node.test_only:
            return lambda frame: _present(operand(frame), field)
        if node.optional:
            return lambda frame: _optional_field(operand(frame), field, change)

        def run(frame: Frame) -> Any:
            value = operand(frame)
            frame.spend(1)
            if isinstance(value, Optional):
                return _optional_field(value, field, change)
            found = _field(value, field)
            return change(found) if change else found

        return run

    def _call(self, node: Call) -> Run:
        if node.function in _CONTROL:
            return _CONTROL[node.function]([self.build(each) for each in node.operands()])
        operands = [self.build(each) for each in node.operands()]
        overloads = _candidates(self._functions[node.function], node)
        change = converter(node.type) if node.function in ("_[_]",) else None
        if len(operands) == 2:
            return _binary(operands[0], operands[1], overloads, change)

        def run(frame: Frame) -> Any:
            return _invoke(frame, overloads, tuple(each(frame) for each in operands))

        return run

    def _listliteral(self, node: ListLiteral) -> Run:
        elements = [(self.build(each), optional) for each, optional in node.elements]

        def run(frame: Frame) -> Any:
            frame.spend(len(elements) + 1)
            found = []
            for each, optional in elements:
                value = each(frame)
                if not optional:
                    found.append(value)
                elif value.present:
                    found.append(value.value)
            return found

        return run

    def _mapliteral(self, node: MapLiteral) -> Run:
        entries = [(self.build(key), self.build(value), optional) for key, value, optional in node.entries]

        def run(frame: Frame) -> Any:
            frame.spend(len(entries) + 1)
            found: dict[Any, Any] = {}
            for make_key, make_value, optional in entries:
                key, value = make_key(frame), make_value(frame)
                if not isinstance(key, (str, int, bool)):
                    raise EvaluationError("unsupported key type")
                if has_key(found, key):
                    raise EvaluationError(f"insert failed: key {key} already exists")
                if not optional or value.present:
                    found[key] = value.value if optional else value
            return found

        return run

    def _struct(self, node: Struct) -> Run:
        fields = [(unescape(name), self.build(value), optional) for _, name, value, optional in node.fields]
        name_of_type = node.name.removeprefix(".")

        def run(frame: Frame) -> Any:
            frame.spend(len(fields) + 1)
            found = StructValue(name_of_type)
            for name, make, optional in fields:
                value = make(frame)
                if not optional:
                    found[name] = value
                elif value.present:
                    found[name] = value.value
            return found

        return run

    def _optionalmap(self, node: OptionalMap) -> Run:
        operand, body, name, flat = self.build(node.operand), self.build(node.body), node.variable, node.flat

        def run(frame: Frame) -> Any:
            value = operand(frame)
            if not isinstance(value, Optional):
                raise EvaluationError("no such overload")
            if not value.present:
                return NONE
            outer = frame.variables
            frame.variables = {**outer, name: value.value}
            try:
                made = body(frame)
            finally:
                frame.variables = outer
            return made if flat else Optional(True, made)

        return run

    def _comprehension(self, node: Comprehension) -> Run:
        operand, body = self.build(node.range), self.build(node.body)
        condition = self.build(node.condition) if node.condition else None
        fold, names = FOLDS[node.macro], node.variables
        change = _element_converter(node)

        def run(frame: Frame) -> Any:
            value = operand(frame)
            frame.spend(1)
            entries = _entries(value, len(names), change)
            outer = frame.variables
            inner = frame.variables = dict(outer)

            def ask(part: Run, entry: tuple[Any, ...]) -> Any:
                frame.spend(2)
                inner.update(zip(names, entry, strict=True))
                frame.variables = inner
                return part(frame)

            try:
                return fold(entries, condition, body, ask)
            finally:
                frame.variables = outer

        return run


def _candidates(known: Sequence[Overload], node: Call) -> tuple[Overload, ...]:
    """The overloads that the types leave open."""
    kinds = [each.type for each in node.operands()]
    return tuple(
        each
        for each in known
        if each.is_member == (node.target is not None)
        and len(each.parameters) == len(kinds)
        and all(
            wanted.is_variable or "dyn" in (wanted.name, kind.name) or kind.name in (wanted.name, "null_type")
            for wanted, kind in zip(each.parameters, kinds, strict=True)
        )
    )


def _element_converter(node: Comprehension) -> Convert | None:
    kind = node.range.type
    if kind.name == "list":
        return converter(kind.params[0])
    return converter(kind.params[1]) if kind.name == "map" and len(node.variables) == 2 else None


def _entries(value: Any, width: int, change: Convert | None) -> Sequence[tuple[Any, ...]]:
    if isinstance(value, list):
        values = list(map(change, value)) if change else value
        return [(each,) for each in values] if width == 1 else list(enumerate(values))
    if isinstance(value, Mapping):
        if width == 1:
            return [(each,) for each in value]
        return [(key, change(each) if change else each) for key, each in value.items()]
    raise EvaluationError("no such overload")


def _binary(first: Run, second: Run, overloads: tuple[Overload, ...], change: Convert | None) -> Run:
    def run(frame: Frame) -> Any:
        found = _invoke(frame, overloads, (first(frame), second(frame)))
        return change(found) if change else found

    return run


def _invoke(frame: Frame, overloads: tuple[Overload, ...], values: tuple[Any, ...]) -> Any:
    for each in overloads:
        if each.accepts(values):
            _charge(frame, each, values)
            found = each.run(*values)
            if isinstance(found, (str, bytes)):
                frame.spend(len(found) // 10)
            elif isinstance(found, list):
                frame.spend(len(found))
            return found
    raise EvaluationError("no such overload")


def _charge(frame: Frame, called: Overload, values: tuple[Any, ...]) -> None:
    frame.spend(1)
    if called.reads == "nothing":
        return
    if called.reads == "product":
        sizes = [len(value) for value in values if isinstance(value, (str, list))]
        frame.spend(math.prod(1 + size // 4 for size in sizes))
    for value in values:
        if isinstance(value, (str, bytes)):
            frame.spend(len(value) // 10)
        elif isinstance(value, (list, Mapping)):
            if called.reads == "flat":
                frame.spend(len(value))
            else:
                frame.weigh(value)


def _field(value: Any, field: str) -> Any:
    if not isinstance(value, Mapping):
        raise EvaluationError("no such overload" if value is not None else f"no such key: {field}")
    if field in value:
        return value[field]
    plain = unescape(field)
    if plain in value:
        return value[plain]
    raise EvaluationError(f"no such key: {field}")


def _present(value: Any, field: str) -> bool:
    if isinstance(value, Optional):
        return value.present and _present(value.value, field)
    if not isinstance(value, Mapping):
        raise EvaluationError("no such overload")
    return field in value or unescape(field) in value


def _optional_field(value: Any, field: str, change: Convert | None) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if not _present(value, field):
        return NONE
    found = _field(value, field)
    return Optional(True, change(found) if change else found)


def _either(parts: list[Run], settled: bool) -> Run:
    first, second = parts

    def run(frame: Frame) -> bool:
        try:
            if truth(first(frame)) is settled:
                return settled
        except CostExceeded:
            raise
        except EvaluationError:
            if truth(second(frame)) is settled:
                return settled
            raise
        return truth(second(frame))

    return run


def _choice(parts: list[Run]) -> Run:
    condition, first, second = parts
    return lambda frame: (first if truth(condition(frame)) else second)(frame)


_CONTROL: dict[str, Callable[[list[Run]], Run]] = {
    "_&&_": lambda parts: _either(parts, False),
    "_||_": lambda parts: _either(parts, True),
    "_?_:_": _choice,
}
