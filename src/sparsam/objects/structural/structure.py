"""Whether a schema is structural: each value's shape is said once, outside of conditions, and completely.

The rules and words are those of apiextensions' `ValidateStructural`; causes come sorted, as upstream sorts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, required
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.nodes import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    VALIDATIONS,
    Node,
)
from sparsam.objects.structural.patterns import BadPattern, compile_pattern

_ROOT, _ITEM, _FIELD = "at the root", "for specified array items", "for specified object fields"
_INT_OR_STRING_TYPES = [{"type": "integer"}, {"type": "string"}]
# What only the structure may say, in the order in which upstream looks for it, and how it has to be within a condition.
_STRUCTURE_ONLY = (
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("externalDocs", "undefined"),
    (PRESERVE, "false"),
    (EMBEDDED, "false"),
    (INT_OR_STRING, "false"),
    (LIST_KEYS, "empty"),
    (LIST_TYPE, "undefined"),
    (MAP_TYPE, "undefined"),
    (VALIDATIONS, "empty"),
)
_METADATA_NAMES = frozenset({"name", "generateName"})
_METADATA_WORDS = frozenset({"type", "default", "properties", "example"})


def structure_causes(root: Node, path: str) -> list[Cause]:
    """Causes for a schema that is not structural."""
    causes = [*_invariants(root, _ROOT, path), *_complete(root.json, root, path, path)]
    return sorted(causes, key=lambda cause: f"{cause.field}: {cause.message}")


def _invariants(node: Node, level: str, path: str) -> Iterator[Cause]:
    schema = node.json
    if node.type == "array" and node.items is None:
        yield required(f"{path}.items", "must be specified")
    if node.items is not None:
        yield from _invariants(node.items, _ITEM, f"{path}.items")
    for name, child in node.properties.items():
        yield from _invariants(child, _FIELD, f"{path}.properties[{name}]")
    if schema.get("additionalProperties") is not None:
        if level == _ROOT:
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if node.values is not None:
            yield from _invariants(node.values, _FIELD, f"{path}.additionalProperties")
        if node.embedded:
            detail = "must not be used if x-kubernetes-embedded-resource is set"
            yield forbidden(f"{path}.additionalProperties", detail)
    yield from _extensions(node, path)
    yield from _conditions(schema, path, spares_types=True)
    yield from _type(node, level, path)
    yield from _object_fields(node, level, path)


def _extensions(node: Node, path: str) -> Iterator[Cause]:
    for name, is_set in ((PRESERVE, node.preserve), (EMBEDDED, node.embedded)):
        if node.int_or_string and is_set:
            yield invalid(f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true")
    if node.embedded and not node.preserve and not node.properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        yield required(f"{path}.properties", detail)


def _type(node: Node, level: str, path: str) -> Iterator[Cause]:
    here = f"{path}.type"
    if node.embedded and node.type != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(here, node.type, detail) if node.type else required(here, detail)
    elif not node.type and not node.int_or_string and not node.preserve:
        yield required(here, f"must not be empty {level}")
    if level == _ROOT and node.type and node.type != "object":
        yield invalid(here, node.type, "must be object at the root")


def _object_fields(node: Node, level: str, path: str) -> Iterator[Cause]:
    """What the schema of a whole object says of the fields that every object has."""
    is_object = level == _ROOT or node.embedded
    for name in ("kind", "apiVersion"):
        field = node.properties.get(name)
        if is_object and field is not None and field.type != "string":
            yield invalid(f"{path}.properties[{name}].type", field.type, "must be string")
    metadata = node.properties.get("metadata")
    if metadata is None:
        return
    here = f"{path}.properties[metadata]"
    if is_object and metadata.type != "object":
        yield invalid(f"{here}.type", metadata.type, "must be object")
    if level == _ROOT and not (
        metadata.json.keys() <= _METADATA_WORDS and metadata.properties.keys() <= _METADATA_NAMES
    ):
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden(here, detail)


def _conditions(schema: Obj, path: str, *, spares_types: bool = False) -> Iterator[Cause]:
    """What a schema's conditions may not say, and its pattern.

    `spares_types`: integer or string may be told as `anyOf`, or as the first part of `allOf`.
    """
    any_of, all_of = schema.get("anyOf") or [], schema.get("allOf") or []
    if not (spares_types and any_of == _INT_OR_STRING_TYPES):
        for position, each in enumerate(any_of):
            yield from _nested(each, f"{path}.anyOf[{position}]")
    for position, each in enumerate(all_of):
        spared = spares_types and position == 0 and each.get("anyOf") == _INT_OR_STRING_TYPES
        yield from _nested(each, f"{path}.allOf[{position}]", spares_types=spared)
    for position, each in enumerate(schema.get("oneOf") or []):
        yield from _nested(each, f"{path}.oneOf[{position}]")
    if schema.get("not") is not None:
        yield from _nested(schema["not"], f"{path}.not")
    if schema.get("pattern"):
        try:
            compile_pattern(schema["pattern"])
        except BadPattern as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(f"{path}.pattern", schema["pattern"], detail)


def _nested(schema: Obj, path: str, *, spares_types: bool = False) -> Iterator[Cause]:
    yield from _conditions(schema, path, spares_types=spares_types)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], f"{path}.items")
    properties = schema.get("properties") or {}
    for name, each in properties.items():
        yield from _nested(each, f"{path}.properties[{name}]")
    for name, wanted in _STRUCTURE_ONLY:
        value = schema.get(name)
        if value or (value is not None and wanted == "undefined"):
            yield forbidden(f"{path}.{name}", f"must be {wanted} to be structural")
    if "metadata" in properties:
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _complete(schema: Any, node: Node | None, path: str, condition: str) -> Iterator[Cause]:
    """Whether the structure has everything that the conditions of a schema speak of."""
    places = [(schema["not"], f"{condition}.not")] if schema.get("not") is not None else []
    for name in ("allOf", "anyOf", "oneOf"):
        places += [(each, f"{condition}.{name}[{place}]") for place, each in enumerate(schema.get(name) or [])]
    for each, here in places:
        yield from _complete_nested(each, node, path, here)


def _complete_nested(schema: Obj, node: Node | None, path: str, condition: str) -> Iterator[Cause]:
    if node is None:
        yield required(path, f"because it is defined in {condition}")
        return
    yield from _complete(schema, node, path, condition)
    if isinstance(schema.get("items"), dict):
        yield from _complete_nested(schema["items"], node.items, f"{path}.items", f"{condition}.items")
    for name, each in (schema.get("properties") or {}).items():
        step = f".properties[{name}]"
        yield from _complete_nested(each, node.properties.get(name), path + step, condition + step)
