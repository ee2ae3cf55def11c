"""How fields of custom resources are owned and merged: the shapes that server-side apply walks along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import intern
from typing import Any

from sparsam.objects import shapes
from sparsam.objects.fieldsets import SELF, FieldSet
from sparsam.objects.schema import OBJECT_META, definition
from sparsam.objects.shapes import ABSENT, LEAF, UNTYPED, List, Map, Nodes, Shape, Struct
from sparsam.objects.structural.embedded import read_metadata
from sparsam.objects.structural.nodes import META_FIELDS, Node


class Declared(Struct):
    """An object with declared fields, each with the shape of its node; other fields are entries of a map."""

    __slots__ = ("_others",)

    def __init__(self, parts: Mapping[str, Shape], others: Shape = LEAF, hidden: frozenset[str] = frozenset()) -> None:
        super().__init__({}, hidden)
        # Many schemas have fields of the same few names.
        self._parts = {name: (intern(f"f:{name}"), shape) for name, shape in parts.items()}
        self._others = others

    def part(self, name: str) -> tuple[str, Shape]:
        return self._parts.get(name) or (f"f:{name}", self._others)

    def members(self, value: Any) -> FieldSet | None:
        node = super().members(value) or {}
        for name in value or ():
            if name not in self._parts and name not in self._hidden:
                # Who applies an entry that is not declared owns the entry itself, too, as structured merge has it.
                below = node.get(f"f:{name}")
                node[f"f:{name}"] = below | {SELF: {}} if below else {}
        return node or None

    def declares(self, name: str) -> bool:
        return name in self._parts


class Checked(Shape):
    """A shape for values that fit it. What does not (it will be refused, or an older schema let it pass) is one field.

    Who owns what is worked out before an object is validated.
    """

    __slots__ = ("_fits", "_shape")

    def __init__(self, shape: Shape, fits: Callable[[Any], bool]) -> None:
        self._shape = shape
        self._fits = fits

    def _of(self, *values: Any) -> Shape:
        return self._shape if all(value is ABSENT or value is None or self._fits(value) for value in values) else LEAF

    def everything(self, value: Any) -> FieldSet:
        return self._of(value).everything(value)

    def members(self, value: Any) -> FieldSet | None:
        return self._of(value).members(value)

    def compare(self, old: Any, new: Any) -> Nodes:
        return self._of(old, new).compare(old, new)

    def merge(self, live: Any, config: Any) -> Any:
        return self._of(live, config).merge(live, config)

    def prune(self, value: Any, fields: FieldSet) -> Any:
        return self._of(value).prune(value, fields)

    def with_parents(self, fields: FieldSet) -> FieldSet:
        return self._shape.with_parents(fields)


def _is_object(value: Any) -> bool:
    return value.__class__ is dict


def _is_metadata(value: Any) -> bool:
    return value.__class__ is dict and read_metadata(value) is not None


def _is_list(value: Any) -> bool:
    return value.__class__ is list


def _is_list_of_objects(value: Any) -> bool:
    return value.__class__ is list and all(item.__class__ is dict for item in value)


def of_root(node: Node) -> Struct:
    """The shape of a whole object: what names it, and what only the server writes, is nobody's."""
    parts = {name: of_node(child) for name, child in node.properties.items() if name not in META_FIELDS}
    parts["metadata"] = shapes.of_metadata()
    return Declared(parts, UNTYPED if node.preserve else LEAF, frozenset({"apiVersion", "kind"}))


def of_node(node: Node) -> Shape:
    """The shape of a value."""
    if node.type == "array":
        shape = of_list(node)
        if not isinstance(shape, List):
            return shape
        return Checked(shape, _is_list_of_objects if shape.is_keyed else _is_list)
    if node.map_type == "atomic":
        return LEAF
    if node.properties:
        parts = {name: of_node(child) for name, child in node.properties.items()}
        if node.embedded:
            metadata = Checked(Struct(definition(OBJECT_META).fields), _is_metadata)
            parts |= {"metadata": metadata, "apiVersion": LEAF, "kind": LEAF}
        others = UNTYPED if node.preserve else LEAF
        return Checked(Declared(parts, of_node(node.values) if node.values else others), _is_object)
    if node.values is not None:
        return Checked(Map(of_node(node.values)), _is_object)
    if node.type == "object" or (node.preserve and not node.int_or_string):
        return UNTYPED
    return LEAF


def of_list(node: Node) -> Shape:
    """The shape of a list."""
    if node.list_type == "set":
        return List(LEAF)
    if node.list_type != "map" or node.items is None:
        return LEAF
    items = node.items
    defaults = {name: default for name, default in items.defaults if name in node.list_keys}
    return List(of_node(items), node.list_keys, defaults)
