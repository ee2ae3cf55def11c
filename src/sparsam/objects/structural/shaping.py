"""How fields of custom resources are owned and merged: the shapes that server-side apply walks along."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any

from sparsam.objects import shapes
from sparsam.objects.fieldsets import SELF, FieldSet
from sparsam.objects.schema import OBJECT_META, definition
from sparsam.objects.shapes import LEAF, UNTYPED, List, Map, Shape, Struct
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

    def with_parents(self, fields: FieldSet) -> FieldSet:
        out: FieldSet = {}
        for step, node in fields.items():
            name = step[2:]
            if node:
                node = self.part(name)[1].with_parents(node)
                if name in self._parts:
                    node = node | {SELF: {}}
            out[step] = node
        return out


def of_root(node: Node) -> Struct:
    """The shape of a whole object: what names it, and what only the server writes, is nobody's."""
    parts = {name: of_node(child) for name, child in node.properties.items() if name not in META_FIELDS}
    parts["metadata"] = shapes.of_metadata()
    return Declared(parts, UNTYPED if node.preserve else LEAF, frozenset({"apiVersion", "kind"}))


def of_node(node: Node) -> Shape:
    """The shape of a value."""
    if node.type == "array":
        return _of_list(node)
    if node.map_type == "atomic":
        return LEAF
    if node.properties:
        parts = {name: of_node(child) for name, child in node.properties.items()}
        if node.embedded:
            parts |= {"metadata": Struct(definition(OBJECT_META).fields), "apiVersion": LEAF, "kind": LEAF}
        others = UNTYPED if node.preserve else LEAF
        return Declared(parts, of_node(node.values) if node.values else others)
    if node.values is not None:
        return Map(of_node(node.values))
    if node.type == "object" or (node.preserve and not node.int_or_string):
        return UNTYPED
    return LEAF


def _of_list(node: Node) -> Shape:
    if node.list_type == "set":
        return List(LEAF)
    if node.list_type != "map" or node.items is None:
        return LEAF
    items = node.items
    defaults = {name: default for name, default in items.defaults if name in node.list_keys}
    return List(of_node(items), node.list_keys, defaults)
