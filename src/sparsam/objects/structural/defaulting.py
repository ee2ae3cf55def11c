"""Defaults of a schema, put in where a value is missing; nulls that mean nothing are taken away.

As upstream has it: a null where the schema allows none is as good as missing. A field that has a default gets it, a
field that has none is dropped, an item of a list stays null unless its schema has a default.
"""

from __future__ import annotations

from typing import Any

from sparsam.objects.shapes import ABSENT
from sparsam.objects.structural.nodes import Node


def fill(node: Node, value: Any) -> None:
    """Default a value in place, and everything within it."""
    if value.__class__ is dict:
        _fields(node, value)
    elif value.__class__ is list and node.items is not None:
        _items(node.items, value)


def _fields(node: Node, value: dict[str, Any]) -> None:
    nulls = [name for name, item in value.items() if item is None]
    for name in nulls:
        child = node.child(name)
        if child is not None and not child.nullable:
            if child.default is ABSENT:
                del value[name]
            else:
                value[name] = _copy(child.default)
    for name, default in node.defaults:
        if name not in value:
            value[name] = _copy(default)
    for name, item in value.items():
        if item.__class__ is dict or item.__class__ is list:
            child = node.child(name)
            if child is not None:
                fill(child, item)


def _items(node: Node, value: list[Any]) -> None:
    for position, item in enumerate(value):
        if item is None and not node.nullable and node.default is not ABSENT:
            value[position] = _copy(node.default)
        fill(node, value[position])


def _copy(value: Any) -> Any:
    if value.__class__ is dict:
        return {name: _copy(item) for name, item in value.items()}
    if value.__class__ is list:
        return [_copy(item) for item in value]
    return value
