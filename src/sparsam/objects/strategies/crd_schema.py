"""Schemas within CustomResourceDefinitions: what OpenAPI and Kubernetes' extensions of it allow.

Upstream looks at a schema three times, and so does this: whether it is structural, whether its defaults are valid,
and what each word of it may say. The first two stand in `sparsam.objects.structural`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.strategies.crd_rules import Compilation, Spot, word_causes
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.bounds import cardinality
from sparsam.objects.structural.defaultrules import default_causes
from sparsam.objects.structural.nodes import (
    EMBEDDED,
    JUNCTORS,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    META_FIELDS,
    PRESERVE,
    VALIDATIONS,
    Uncompilable,
    parse,
)
from sparsam.objects.structural.structure import structure_causes

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
# What keeps its meaning when the schema of the status is taken out of the whole.
_AT_ROOT_BESIDE_STATUS = (
    "description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
    f"maxItems minItems uniqueItems multipleOf required items properties externalDocs example {PRESERVE} {VALIDATIONS}"
).split()
_AT_ROOT_NAMES = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
    "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
    "XValidations"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """What holds at a place of the schema because of where it stands."""

    is_root: bool = False
    in_metadata: bool = False
    no_default: str = ""
    """Why a default may not stand here; empty where it may."""
    uncorrelated: str = ""
    """The path from which on an old value cannot be found; empty where it can."""
    cardinality: int | None = 1
    """How many values an object has here at most; None when only the size of requests limits them."""


def validate_schema(schema: Obj, path: str, *, has_status: bool = False, is_unchanged: bool = False) -> list[Cause]:
    """Causes for the schema of one version.

    `has_status`: the version has the status subresource; `is_unchanged`: the version had this schema before.
    """
    causes = list(_at_root(schema, path)) if has_status else []
    if schema.get("nullable"):
        causes.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    unreadable: list[Cause] = []
    is_sound = False
    try:
        root = parse(schema)
    except Uncompilable as error:
        unreadable.append(invalid(path, "", str(error)))
    else:
        found = structure_causes(root, path) or default_causes(root, path)
        is_sound = not found
        causes += found
    rules = Compilation(is_unchanged)
    causes += _words(schema, path, _Place(is_root=True), rules if is_sound else None)
    # What cannot be read has most often been told by its word already.
    return [*causes, *rules.causes, *rules.total_causes(path)] or unreadable


def _at_root(schema: Obj, path: str) -> Iterator[Cause]:
    if schema.get("type", "object") != "object":
        detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        yield invalid(f"{path}.type", schema["type"], detail)
    elif any(value and name not in _AT_ROOT_BESIDE_STATUS for name, value in schema.items()):
        detail = (
            f"only [{_AT_ROOT_NAMES}] fields are allowed at the root of the schema if the status subresource is enabled"
        )
        yield invalid(path, schema, detail)


def _words(schema: Obj, path: str, place: _Place, rules: Compilation | None) -> list[Cause]:
    """Causes for a schema and all schemas within it; rules are compiled unless there is nothing to take them."""
    causes = list(_own_words(schema, path, place))
    for child, here, inner in _children(schema, path, place):
        causes += _words(child, here, inner, rules)
    for condition, here in _conditions(schema, path):
        causes += _words(condition, here, replace(place, is_root=False), None)
    causes += _map_rules(schema, path)
    causes += _list_rules(schema, path)
    causes += word_causes(schema, path)
    if rules is not None and not causes:
        rules.add(schema, path, Spot(place.is_root, place.uncorrelated, place.cardinality))
    return causes


def _own_words(schema: Obj, path: str, place: _Place) -> Iterator[Cause]:
    kind = schema.get("type", "")
    if kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if schema.get("default") is not None and place.no_default:
        yield forbidden(f"{path}.default", f"must not be set {place.no_default}")
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_metadata and schema.get(EMBEDDED):
        yield forbidden(f"{path}.{EMBEDDED}", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", detail)
    others = schema.get("additionalProperties")
    if schema.get("properties") and others is not None and others is not True:
        detail = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", detail)


def _children(schema: Obj, path: str, place: _Place) -> Iterator[tuple[Obj, str, _Place]]:
    others, items, properties = schema.get("additionalProperties"), schema.get("items"), schema.get("properties")
    if not properties and not isinstance(others, dict) and not isinstance(items, dict):
        return
    times = cardinality(schema)
    inner = replace(
        place,
        is_root=False,
        cardinality=None if times is None or place.cardinality is None else times * place.cardinality,
    )
    if isinstance(others, dict):
        reason = "inside additionalProperties applying to object metadata" if place.in_metadata else place.no_default
        yield others, f"{path}.additionalProperties", replace(inner, no_default=reason)
    for name, child in (properties or {}).items():
        here = inner
        if name in META_FIELDS and (place.is_root or schema.get(EMBEDDED)):
            reason = f"in top-level {name}" if place.is_root else place.no_default
            here = replace(inner, in_metadata=True, no_default=reason)
        yield child, f"{path}.properties[{name}]", here
    if isinstance(items, dict):
        # Only the items of keyed lists have a history.
        lost = place.uncorrelated or ("" if schema.get(LIST_TYPE) == "map" else path)
        yield items, f"{path}.items", replace(inner, uncorrelated=lost)


def _conditions(schema: Obj, path: str) -> Iterator[tuple[Obj, str]]:
    if schema.get("not") is not None:
        yield schema["not"], f"{path}.not"
    for name in (JUNCTORS[0], JUNCTORS[2], JUNCTORS[1]):
        for position, each in enumerate(schema.get(name) or []):
            yield each, f"{path}.{name}[{position}]"


def _map_rules(schema: Obj, path: str) -> Iterator[Cause]:
    if schema.get(PRESERVE) is False:
        yield invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    kind = schema.get(MAP_TYPE)
    if kind is None:
        return
    if schema.get("type") != "object":
        yield from _wrong_type(schema, path, "must be object if x-kubernetes-map-type is specified")
    if kind not in ("atomic", "granular"):
        yield not_supported(f"{path}.{MAP_TYPE}", kind, ("atomic", "granular"))


def _wrong_type(schema: Obj, path: str, detail: str) -> Iterator[Cause]:
    kind = schema.get("type")
    yield invalid(f"{path}.type", kind, detail) if kind else required(f"{path}.type", detail)


def _list_rules(schema: Obj, path: str) -> Iterator[Cause]:
    kind, keys, items = schema.get(LIST_TYPE), schema.get(LIST_KEYS) or [], schema.get("items")
    if kind is not None and schema.get("type") != "array":
        yield from _wrong_type(schema, path, "must be array if x-kubernetes-list-type is specified")
    elif kind == "set" and isinstance(items, dict):
        yield from _set_items(items, f"{path}.items")
    if kind is not None and kind not in ("atomic", "set", "map"):
        yield not_supported(f"{path}.{LIST_TYPE}", kind, ("atomic", "set", "map"))
    if keys and kind != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        here = f"{path}.{LIST_TYPE}"
        yield required(here, detail) if kind is None else invalid(here, kind, detail)
    if kind == "map":
        yield from _keyed_list(keys, items, path)
    if kind in ("map", "set") and isinstance(items, dict):
        if items.get("nullable"):
            yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}")
        if kind == "map":
            yield from _key_properties(keys, items, f"{path}.items")


def _set_items(items: Obj, path: str) -> Iterator[Cause]:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        yield invalid(f"{path}.{LIST_TYPE}", items[LIST_TYPE], detail)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        # Upstream prints the type of a list here, too.
        yield invalid(f"{path}.{MAP_TYPE}", items.get(LIST_TYPE), detail)


def _keyed_list(keys: list[str], items: Obj | list[Obj] | None, path: str) -> Iterator[Cause]:
    here = f"{path}.{LIST_KEYS}"
    if not keys:
        yield required(here, "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
    elif isinstance(items, list):
        yield invalid(f"{path}.items", items, "must only have a single schema if x-kubernetes-list-type is map")
    elif items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type", ""), detail)
    else:
        properties = items.get("properties") or {}
        for position, name in enumerate(keys):
            if name not in properties:
                yield invalid(here, keys, "entries must all be names of item properties")
            elif properties[name].get("type") in ("array", "object"):
                detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
                yield invalid(f"{path}.items.properties[{name}].type", items["type"], detail)
            if name in keys[:position]:
                yield invalid(here, keys, "must not contain duplicate entries")


def _key_properties(keys: list[str], items: Obj, path: str) -> Iterator[Cause]:
    """Keys tell items apart, hence each item must have them."""
    for name in keys:
        key = (items.get("properties") or {}).get(name)
        if key is None:
            continue
        here = f"{path}.properties[{name}]"
        if name not in (items.get("required") or []) and key.get("default") is None:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield required(f"{here}.default", detail)
        if key.get("nullable"):
            detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            yield forbidden(f"{here}.nullable", detail)
