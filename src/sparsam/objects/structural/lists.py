"""Lists that promise no duplicates: sets by their items, keyed lists by their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid
from sparsam.objects.structural.nodes import Node


def duplicates(node: Node, value: Any, path: str = "") -> Iterator[Cause]:
    """Causes for every list within a value that breaks its promise, each duplicate named once."""
    if value.__class__ is dict:
        for name, item in value.items():
            declared = node.properties.get(name)
            if declared is not None and declared.holds_lists:
                yield from duplicates(declared, item, f"{path}.{name}" if path else name)
            elif declared is None and node.values is not None and node.values.holds_lists:
                yield from duplicates(node.values, item, f"{path}[{name}]")
    elif value.__class__ is list:
        if node.list_type == "set":
            yield from (duplicate(f"{path}[{position}]", value[position]) for position in _again(value))
        elif node.list_type == "map":
            yield from _keyed(node.list_keys, value, path)
        if node.items is not None and node.items.holds_lists:
            for position, item in enumerate(value):
                yield from duplicates(node.items, item, f"{path}[{position}]")


def _keyed(keys: tuple[str, ...], value: list[Any], path: str) -> Iterator[Cause]:
    for position, item in enumerate(value):
        if item is not None and item.__class__ is not dict:
            yield invalid(f"{path}[{position}]", item, "must be an object for an array of list-type map")
            return
    found = [{key: item[key] for key in keys if key in item} if item else {} for item in value]
    yield from (duplicate(f"{path}[{position}]", found[position]) for position in _again(found))


def _again(values: list[Any]) -> list[int]:
    """The place of each value's second appearance."""
    if len(values) < 2:
        return []
    times: dict[bytes, int] = {}
    places = []
    for position, value in enumerate(values):
        known = msgspec.json.encode(value, order="sorted")
        times[known] = times.get(known, 0) + 1
        if times[known] == 2:
            places.append(position)
    return places
