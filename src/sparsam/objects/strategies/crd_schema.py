"""Schemas within CustomResourceDefinitions: the rules that make one structural, and defaults that fit their type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required, type_invalid
from sparsam.objects.strategy import Obj

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_INT_OR_STRING = "x-kubernetes-int-or-string"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_MAP_TYPE = "x-kubernetes-map-type"
_UNSUPPORTED = ("id", "$ref", "definitions", "dependencies", "patternProperties", "additionalItems")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# What only the structure itself may say, not a condition within `allOf` and its like.
_STRUCTURE_ONLY = ("type", "description", "title", "default", "nullable", _PRESERVE, _EMBEDDED, _INT_OR_STRING)
_STRICT_SCHEMA_NOTE = "must be empty to be structural"


def validate_schema(schema: Obj, path: str) -> list[Cause]:
    """Causes for the schema of one version."""
    kind = schema.get("type", "")
    causes: list[Cause] = []
    if not kind:
        causes.append(required(f"{path}.type", "must not be empty at the root"))
    elif kind != "object":
        causes.append(invalid(f"{path}.type", kind, "must be object at the root"))
    for child, here, noun in _children(schema, path):
        causes += _structure(child, here, noun)
    causes += _defaults(schema, path)
    return causes + _rules(schema, path)


def _children(schema: Obj, path: str) -> Iterator[tuple[Obj, str, str]]:
    for name, child in (schema.get("properties") or {}).items():
        yield child, f"{path}.properties[{name}]", "object fields"
    if isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"], f"{path}.additionalProperties", "object fields"
    if isinstance(schema.get("items"), dict):
        yield schema["items"], f"{path}.items", "array items"


def _structure(schema: Obj, path: str, noun: str) -> list[Cause]:
    """Each value has a type, unless it may have any."""
    causes: list[Cause] = []
    if not schema.get("type") and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        causes.append(required(f"{path}.type", f"must not be empty for specified {noun}"))
    if schema.get("type") and schema.get(_INT_OR_STRING):
        causes.append(invalid(f"{path}.type", schema["type"], "must be empty if x-kubernetes-int-or-string is true"))
    if schema.get("type") == "array" and schema.get("items") is None:
        causes.append(required(f"{path}.items", "must be specified"))
    for child, here, inner in _children(schema, path):
        causes += _structure(child, here, inner)
    return causes + _conditions(schema, path)


def _conditions(schema: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    places = [(each, f"{path}.{name}[{i}]") for name in _JUNCTORS for i, each in enumerate(schema.get(name) or [])]
    if schema.get("not") is not None:
        places.append((schema["not"], f"{path}.not"))
    for condition, here in places:
        if schema.get(_INT_OR_STRING) and set(condition) == {"type"}:
            continue
        causes += [forbidden(f"{here}.{name}", _STRICT_SCHEMA_NOTE) for name in _STRUCTURE_ONLY if condition.get(name)]
        causes += _conditions(condition, here)
    return causes


def _defaults(schema: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if schema.get("default") is not None:
        causes += _typed(schema["default"], schema, f"{path}.default")
    for child, here, _noun in _children(schema, path):
        causes += _defaults(child, here)
    return causes


def _typed(value: Any, schema: Obj, path: str) -> list[Cause]:
    kind, actual = schema.get("type", ""), _type_of(value)
    if not kind or kind == actual or (kind == "number" and actual == "integer"):
        return []
    causes = [type_invalid(path, actual, f' in body must be of type {kind}: "{actual}"')]
    if kind == "integer" and actual == "number":
        causes.append(invalid(path, "", "Checked value must be of type integer (default format) in "))
    return causes


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _rules(schema: Obj, path: str) -> list[Cause]:
    """What a schema may not use, wherever it stands."""
    kind = schema.get("type", "")
    causes = [forbidden(f"{path}.{name}", f"{name} is not supported") for name in _UNSUPPORTED if schema.get(name)]
    if kind and kind not in _TYPES:
        causes.append(not_supported(f"{path}.type", kind, _TYPES))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(forbidden(f"{path}.uniqueItems", detail))
    if schema.get("additionalProperties") is not None and schema.get("properties"):
        detail = "additionalProperties and properties are mutual exclusive"
        causes.append(forbidden(f"{path}.additionalProperties", detail))
    if isinstance(schema.get("items"), list):
        causes.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    causes += _lists(schema, path)
    map_type = schema.get(_MAP_TYPE)
    if map_type is not None and map_type not in ("atomic", "granular"):
        causes.append(not_supported(f"{path}.{_MAP_TYPE}", map_type, ("atomic", "granular")))
    for child, here, _noun in _children(schema, path):
        causes += _rules(child, here)
    for name in _JUNCTORS:
        for position, each in enumerate(schema.get(name) or []):
            causes += _rules(each, f"{path}.{name}[{position}]")
    return causes + (_rules(schema["not"], f"{path}.not") if schema.get("not") is not None else [])


def _lists(schema: Obj, path: str) -> list[Cause]:
    kind, keys = schema.get(_LIST_TYPE), schema.get(_LIST_KEYS) or []
    causes: list[Cause] = []
    if kind is None:
        if keys:
            detail = "must be map if x-kubernetes-list-map-keys is non-empty"
            causes.append(required(f"{path}.{_LIST_TYPE}", detail))
        return causes
    if schema.get("type") != "array":
        detail = "must be array if x-kubernetes-list-type is specified"
        causes.append(invalid(f"{path}.type", schema.get("type", ""), detail))
    if kind not in ("atomic", "map", "set"):
        causes.append(not_supported(f"{path}.{_LIST_TYPE}", kind, ("atomic", "map", "set")))
    if kind != "map":
        return causes
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        causes.append(required(f"{path}.{_LIST_KEYS}", detail))
    items = schema.get("items")
    properties = (items.get("properties") or {}) if isinstance(items, dict) else {}
    for position, name in enumerate(keys):
        if name not in properties:
            detail = "entries must all be names of item properties"
            causes.append(invalid(f"{path}.{_LIST_KEYS}[{position}]", name, detail))
    return causes
