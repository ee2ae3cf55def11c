"""What a rule may cost at most: estimated from its tree and from how large the values of the schema can be.

A definition whose rules may cost too much is refused before any object pays. Upstream promises that the estimate never
changes, since it decides which rules may be written; the factors are those of cel-go and of Kubernetes' libraries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatchmethod

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
from sparsam.objects.structural.bounds import Bound

RULE_LIMIT = 10_000_000
"""Upstream's StaticEstimatedCostLimit, for one rule on all values of one object."""
SCHEMA_LIMIT = 100_000_000
"""Upstream's StaticEstimatedCRDCostLimit, for all rules of a version."""
MOST = 2**64 - 1
_TRAVERSAL, _PATTERN = 0.1, 0.25
_LIST, _MAP, _STRUCT = 10, 30, 40
_SCALAR = Bound(1)
_UNKNOWN = Bound(MOST)
_CHECK = 350_000
# What one step of a macro costs beside its body and its condition, and what all steps together cost once more.
_STEPS = {
    "all": (3, 1),
    "exists": (4, 1),
    "existsOne": (2, 1),
    "filter": (13, 11),
    "map": (12, 11),
    "transformList": (12, 11),
    "transformMap": (32, 31),
    "transformMapEntry": (2, 31),
}
_MAKES_LISTS = frozenset({"map", "filter", "transformList"})
_MAKES_MAPS = frozenset({"transformMap", "transformMapEntry"})
_EQUALITIES = frozenset({"_==_", "_!=_"})
_ORDERS = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_TEXTS = frozenset({"string", "bytes"})
_SCALARS = frozenset({"bool", "int", "uint", "double", "google.protobuf.Duration", "google.protobuf.Timestamp"})
_READ_ONCE = frozenset({"lowerAscii", "upperAscii", "substring", "trim"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What evaluating a part costs at most, and how large its value may be."""

    cost: int
    bound: Bound

    @property
    def size(self) -> int:
        """Of the value."""
        return self.bound.most


def estimate(tree: Node, root: Bound) -> int:
    """The cost of an expression about `self` and `oldSelf`, at most."""
    return min(_Estimator(root).of(tree).cost, MOST)


def excess(name: str, cost: int, limit: int) -> str:
    """The words for a cost beyond a limit."""
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )


def _part(size: int, factor: float) -> int:
    return math.ceil(size * factor)


def _unknown(node: Node) -> Bound:
    """The bound of a value of which only the type is known."""
    return _SCALAR if node.type.name in _SCALARS else _UNKNOWN


class _Estimator:
    def __init__(self, root: Bound) -> None:
        self._root = root
        self._variables: dict[str, Bound] = {}

    @singledispatchmethod
    def of(self, node: Node) -> Estimate:
        """The estimate for a part of the tree."""
        raise TypeError(node)

    @of.register
    def _literal(self, node: Literal) -> Estimate:
        if isinstance(node.value, str):
            return Estimate(0, Bound(len(node.value.encode())))
        return Estimate(0, Bound(len(node.value)) if isinstance(node.value, bytes) else _SCALAR)

    @of.register
    def _name(self, node: Name) -> Estimate:
        # `self` and `oldSelf`; upstream takes the names of types to be as large as these.
        return Estimate(1, self._variables.get(node.name, self._root))

    @of.register
    def _select(self, node: Select) -> Estimate:
        if node.qualified:
            return Estimate(1, self._root)
        operand = self.of(node.operand)
        if node.test_only:
            return Estimate(operand.cost, _SCALAR)
        # An entry of a map that is named like a field is of unknown size for upstream.
        return Estimate(operand.cost + 1, operand.bound.fields.get(node.key) or _unknown(node))

    @of.register
    def _list(self, node: ListLiteral) -> Estimate:
        parts = [self.of(element) for element, _optional in node.elements]
        element = Bound(max((part.size for part in parts), default=0))
        return Estimate(_LIST + sum(part.cost for part in parts), Bound(len(parts), element=element))

    @of.register
    def _map(self, node: MapLiteral) -> Estimate:
        keys = [self.of(key) for key, _value, _optional in node.entries]
        values = [self.of(value) for _key, value, _optional in node.entries]
        element = Bound(max((part.size for part in values), default=0))
        return Estimate(_MAP + sum(part.cost for part in (*keys, *values)), Bound(len(keys), element=element))

    @of.register
    def _struct(self, node: Struct) -> Estimate:
        return Estimate(_STRUCT + sum(self.of(value).cost for _place, _name, value, _opt in node.fields), _UNKNOWN)

    @of.register
    def _optional_map(self, node: OptionalMap) -> Estimate:
        operand = self.of(node.operand)
        body = self._within({node.variable: operand.bound}, node.body)
        # Whether there is a value is asked first, then it is taken: the operand is evaluated for both.
        return Estimate(2 * operand.cost + 2 + _LIST + body.cost + (not node.flat), body.bound)

    @of.register
    def _comprehension(self, node: Comprehension) -> Estimate:
        values = self.of(node.range)
        element = values.bound.element or _UNKNOWN
        is_list = node.range.type.name == "list"
        # What one variable stands for: items of a list, keys of a map.
        names = {node.variables[0]: element if is_list and len(node.variables) == 1 else Bound()}
        if len(node.variables) == 2:
            names[node.variables[1]] = element
        body = self._within(names, node.body)
        condition = self._within(names, node.condition).cost if node.condition is not None else 0
        step, once = _STEPS[node.macro]
        cost = values.cost + once + values.size * (step + body.cost + condition)
        if node.macro in _MAKES_LISTS:
            kept = element if node.macro == "filter" else body.bound
            return Estimate(cost, Bound(values.size, element=kept))
        return Estimate(cost, Bound(values.size, element=body.bound) if node.macro in _MAKES_MAPS else _SCALAR)

    def _within(self, names: Mapping[str, Bound], node: Node) -> Estimate:
        outer = self._variables
        self._variables = {**outer, **names}
        try:
            return self.of(node)
        finally:
            self._variables = outer

    @of.register
    def _call(self, node: Call) -> Estimate:
        operands = [self.of(each) for each in node.operands()]
        paid = sum(each.cost for each in operands)
        if node.function in ("_&&_", "_||_"):
            return Estimate(paid, _SCALAR)
        if node.function == "_?_:_":
            condition, first, second = operands
            larger = first.bound if first.size >= second.size else second.bound
            return Estimate(condition.cost + max(first.cost, second.cost), larger)
        if node.function in ("_[_]", "_[?_]"):
            return Estimate(paid + 1, operands[0].bound.element or _unknown(node))
        if node.function == "dyn":
            return Estimate(paid + 1, operands[0].bound)
        cost, bound = self._function(node, operands)
        return Estimate(paid + cost, bound)

    def _function(self, node: Call, operands: list[Estimate]) -> tuple[int, Bound]:
        """What the call itself costs, and the size of its result."""
        name, sizes = node.function, [each.size for each in operands]
        kinds = [each.type.name for each in node.operands()]
        if name in _EQUALITIES or (name in _ORDERS and kinds[0] in _TEXTS):
            return _part(min(sizes), _TRAVERSAL), _SCALAR
        if name == "_+_" and kinds[0] in (*_TEXTS, "list"):
            total = Bound(sum(sizes), element=operands[0].bound.element)
            return (1 if kinds[0] == "list" else _part(total.most, _TRAVERSAL)), total
        if name == "@in" and kinds[1] == "list":
            return sizes[1], _SCALAR
        if name in _READ_ONCE:
            return _part(sizes[0], _TRAVERSAL), operands[0].bound
        counted = _COUNTED.get(name)
        return counted(operands, kinds) if counted is not None else (1, _unknown(node))


def _of_list(operands: list[Estimate], kinds: list[str]) -> tuple[int, Bound]:
    target = operands[0]
    if kinds[0] != "list":
        return _part(target.size, _TRAVERSAL), _SCALAR
    element = target.bound.element or _UNKNOWN
    return target.size * (1 + _part(element.most, _TRAVERSAL)), _SCALAR


def _matches(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    text, pattern = operands[0].size, operands[1].size
    return _part(text + 1, _TRAVERSAL) * _part(pattern, _PATTERN), Bound(text, element=Bound(text))


def _contains(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return _part(operands[0].size, _TRAVERSAL) * _part(operands[1].size, _TRAVERSAL), _SCALAR


def _argument(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return _part(operands[-1].size, _TRAVERSAL), _UNKNOWN


def _end(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return _part(operands[-1].size, _TRAVERSAL), _SCALAR


def _bytes(operands: list[Estimate], kinds: list[str]) -> tuple[int, Bound]:
    size = operands[0].size
    return (_part(size, _TRAVERSAL), Bound(size * 4)) if kinds[0] == "string" else (1, Bound(size))


def _string(operands: list[Estimate], kinds: list[str]) -> tuple[int, Bound]:
    size = operands[0].size
    return (_part(size, _TRAVERSAL), Bound(size)) if kinds[0] == "bytes" else (1, Bound(size))


def _format(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return _part(operands[0].size, _TRAVERSAL), _UNKNOWN


def _replace(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    text, new = operands[0].size, operands[2].size
    return _part(text, 2 * _TRAVERSAL), Bound((text + 1) * new + text)


def _split(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    size = operands[0].size
    return _part(size, 2 * _TRAVERSAL), Bound(size, element=Bound(size))


def _join(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    target = operands[0]
    size = target.size * (target.bound.element or _UNKNOWN).most
    if len(operands) > 1:
        size += operands[1].size * max(target.size - 1, 0)
    return _part(size, _TRAVERSAL), Bound(size)


def _product(operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return operands[0].size * operands[1].size, _SCALAR


def _authorization(_operands: list[Estimate], _kinds: list[str]) -> tuple[int, Bound]:
    return _CHECK, _UNKNOWN


_Counted = Callable[[list[Estimate], list[str]], tuple[int, Bound]]
_COUNTED: dict[str, _Counted] = {
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _of_list),
    **dict.fromkeys(("matches", "find", "findAll"), _matches),
    **dict.fromkeys(("startsWith", "endsWith"), _end),
    **dict.fromkeys(("sets.contains", "sets.intersects", "sets.equivalent"), _product),
    "contains": _contains,
    "url": _argument,
    "bytes": _bytes,
    "string": _string,
    "format": _format,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "check": _authorization,
}
