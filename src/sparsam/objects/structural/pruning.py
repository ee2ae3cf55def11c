"""Fields that a schema does not know: found, named and taken away."""

from __future__ import annotations

from typing import Any

from sparsam.objects.strategy import Obj
from sparsam.objects.structural import embedded
from sparsam.objects.structural.nodes import META_FIELDS, Node

Surplus = list[tuple[Obj, str, str]]
"""Each field too many: the object that holds it, its name and its path."""


def prune(node: Node, obj: Obj) -> None:
    """Take away, in place, what a root schema does not know; what every object has stays."""
    surplus: Surplus = []
    _fields(node, obj, "", surplus, keeps_meta=True)
    _take_away(surplus)
    if node.holds_embedded:
        for resource, _path in embedded.find(node, obj):
            read = embedded.read_metadata(resource.get("metadata"))
            if read is not None and "metadata" in resource:
                resource["metadata"] = read[0]


def prune_value(node: Node, value: Any) -> None:
    """The same for a value within an object."""
    surplus: Surplus = []
    _search(node, value, "", surplus)
    _take_away(surplus)


def _take_away(surplus: Surplus) -> None:
    for holder, name, _path in surplus:
        del holder[name]


def unknown_fields(node: Node, obj: Obj) -> list[str]:
    """Paths of everything that `prune` takes away: `spec.list[0].bar`, sorted."""
    surplus: Surplus = []
    _fields(node, obj, "", surplus, keeps_meta=True)
    paths = [path for _holder, _name, path in surplus]
    if node.holds_embedded:
        for resource, path in embedded.find(node, obj):
            read = embedded.read_metadata(resource.get("metadata"))
            if read is not None:
                paths += [f"{path}.metadata.{each}" for each in read[1]]
    return sorted(paths)


def _search(node: Node | None, value: Any, path: str, surplus: Surplus) -> None:
    """Search a value; a node of None knows no field at all."""
    if value.__class__ is dict:
        _fields(node, value, f"{path}.", surplus, keeps_meta=node is not None and node.embedded)
    elif value.__class__ is list:
        items = None if node is None else node.items
        if items is None and node is not None and node.preserve:
            return
        for position, item in enumerate(value):
            if item.__class__ is dict or item.__class__ is list:
                _search(items, item, f"{path}[{position}]", surplus)


def _fields(node: Node | None, value: Obj, prefix: str, surplus: Surplus, *, keeps_meta: bool) -> None:
    for name, item in value.items():
        if keeps_meta and name in META_FIELDS:
            continue
        declared = None if node is None else node.properties.get(name)
        if declared is None and node is not None and node.has_values:
            if item.__class__ is dict or item.__class__ is list:
                _search(node.values, item, prefix + name, surplus)
        elif declared is not None:
            if item.__class__ is dict or item.__class__ is list:
                _search(declared, item, prefix + name, surplus)
        elif node is None or not node.preserve:
            surplus.append((value, name, prefix + name))
