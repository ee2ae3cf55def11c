"""Expressions as trees. Each node knows where in the text it begins; the checker writes down its type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparsam.objects.cel.types import DYN, Type


@dataclass(slots=True, eq=False)
class Node:
    """A part of an expression."""

    position: int
    type: Type = field(default=DYN, init=False)


@dataclass(slots=True, eq=False)
class Literal(Node):
    """A value written down."""

    value: Any


@dataclass(slots=True, eq=False)
class Name(Node):
    """A variable, a type, or the first part of a qualified name."""

    name: str


@dataclass(slots=True, eq=False)
class Select(Node):
    """`operand.field`, `operand.?field`, or the question `has(operand.field)`."""

    operand: Node
    key: str
    optional: bool = False
    test_only: bool = False
    qualified: str = field(default="", init=False)
    """Set by the checker when the whole chain is one name, of a variable or a type."""


@dataclass(slots=True, eq=False)
class Call(Node):
    """A function, a method of `target`, or an operator."""

    function: str
    target: Node | None
    arguments: list[Node]

    def operands(self) -> list[Node]:
        """The target, if there is one, and the arguments."""
        return self.arguments if self.target is None else [self.target, *self.arguments]


@dataclass(slots=True, eq=False)
class ListLiteral(Node):
    """`[a, ?b]`."""

    elements: list[tuple[Node, bool]]
    """With whether it is there only if it has a value."""


@dataclass(slots=True, eq=False)
class MapLiteral(Node):
    """`{k: v, ?k: v}`."""

    entries: list[tuple[Node, Node, bool]]


@dataclass(slots=True, eq=False)
class Struct(Node):
    """`Name{field: value, ?field: value}`."""

    name: str
    fields: list[tuple[int, str, Node, bool]]


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """A macro over the elements of a list or the entries of a map."""

    macro: str
    """all, exists, existsOne, map, filter, transformList, transformMap or transformMapEntry."""
    range: Node
    variables: tuple[str, ...]
    condition: Node | None
    """Which elements are taken, for the macros that make something of them."""
    body: Node


@dataclass(slots=True, eq=False)
class OptionalMap(Node):
    """`x.optMap(v, e)` and `x.optFlatMap(v, e)`."""

    operand: Node
    variable: str
    body: Node
    flat: bool


def qualified(node: Node) -> str:
    """The name that a chain of selections spells, such as `sets.contains`; empty for anything else."""
    if isinstance(node, Name):
        return node.name.removeprefix(".")
    if isinstance(node, Select) and not node.optional and not node.test_only:
        first = qualified(node.operand)
        return first and f"{first}.{node.key}"
    return ""


def parts(node: Node) -> list[Node]:
    """The nodes right below."""
    match node:
        case Select():
            return [] if node.qualified else [node.operand]
        case Call():
            return node.operands()
        case ListLiteral():
            return [each for each, _ in node.elements]
        case MapLiteral():
            return [each for key, value, _ in node.entries for each in (key, value)]
        case Struct():
            return [each for _, _, each, _ in node.fields]
        case Comprehension():
            return [node.range, *([node.condition] if node.condition else []), node.body]
        case OptionalMap():
            return [node.operand, node.body]
        case _:
            return []
