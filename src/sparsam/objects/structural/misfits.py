"""Why a configuration cannot be applied to a custom resource: where it does not fit the schema, in the words of
structured merge. The counterpart of `shapeproblems`, which does the same by the schema table.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from sparsam.objects import shapeproblems
from sparsam.objects.schema import OBJECT_META
from sparsam.objects.structural.nodes import META_FIELDS, Node
from sparsam.objects.structural.shaping import of_list

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def find(node: Node, config: dict[str, Any]) -> Iterator[str]:
    """Path and reason of everything in which a whole object is not of the schema."""
    yield from (f".metadata{problem}" for problem in shapeproblems.find(OBJECT_META, config.get("metadata")))
    yield from _fields(node, config, keeps_meta=True)


def _problems(node: Node | None, value: Any) -> Iterator[str]:
    if value is None or node is None or node.int_or_string:
        return
    if node.type == "array":
        yield from shapeproblems.list_problems(of_list(node), value, partial(_problems, node.items))
    elif node.type == "object":
        if not isinstance(value, dict):
            yield f": expected map, got &{{{shapeproblems.shown(value)}}}"
        else:
            yield from _fields(node, value, keeps_meta=node.embedded)
    elif node.type in _SCALARS and (problem := shapeproblems.scalar_problem(_SCALARS[node.type], value)):
        yield f": {problem}"


def _fields(node: Node, value: dict[str, Any], *, keeps_meta: bool) -> Iterator[str]:
    if keeps_meta and node.embedded:
        yield from (f".metadata{problem}" for problem in shapeproblems.find(OBJECT_META, value.get("metadata")))
    is_open = node.preserve or node.has_values or not (node.properties or keeps_meta)
    for name, item in value.items():
        if keeps_meta and name in META_FIELDS:
            continue
        if name in node.properties or is_open:
            yield from (f".{name}{problem}" for problem in _problems(node.child(name), item))
        else:
            yield f".{name}: field not declared in schema"
