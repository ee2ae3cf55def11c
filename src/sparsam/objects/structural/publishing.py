"""OpenAPI documents of custom resources: a version's schema as clients read it, complete (v3) or cut down (v2).

Swagger 2.0 knows neither alternatives nor null, and its readers take an object with properties for one without
others. Upstream hence drops what version 2 cannot say, and publishes what keeps unknown fields as untyped.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsam.objects.schema import OBJECT_META
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.nodes import EMBEDDED, INT_OR_STRING, JUNCTORS, PRESERVE

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
LIST_META = _META + "ListMeta"
_V3, _V2 = "#/components/schemas/", "#/definitions/"
_TYPE_META = {
    "apiVersion": (
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert "
        "recognized schemas to the latest internal value, and may reject unrecognized values. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
    ),
    "kind": (
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from "
        "the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
    ),
}
_TEXTS = {
    "metadata": (
        "Standard object's metadata. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    ),
    "list": (
        "Standard list metadata. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
    ),
}
_INT_OR_STRING_TYPES = [{"type": "integer"}, {"type": "string"}]
_UNPUBLISHED = frozenset({"externalDocs", "example", "id", "$schema"})

Kind = tuple[str, str, str]
"""Group, version and kind."""


def publish_v3(schema: Obj, kind: Kind) -> Obj:
    """The schema of a kind for OpenAPI 3."""
    return _whole(_v3(schema), _V3, kind)


def publish_v2(schema: Obj, kind: Kind) -> Obj:
    """The schema of a kind for OpenAPI 2: without what only version 3 can say."""
    if schema.get(PRESERVE):
        # With any property given, kubectl would take each other one for a mistake.
        return {"type": "object"} | _kinds(kind)
    return _whole(_v2(schema), _V2, kind)


def publish_list(item: str, plural: str, kind: Kind, list_kind: str, *, openapi: int) -> Obj:
    """The schema of a list of a kind, whose own schema is found under the name `item`; for OpenAPI 2 or 3."""
    group, version, word = kind
    prefix = _V2 if openapi == 2 else _V3
    text = (
        f"List of {plural}. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
    )
    properties = _type_meta() | {
        "items": {"description": text, "type": "array", "items": {"$ref": prefix + item}},
        "metadata": _reference(prefix, LIST_META, _TEXTS["list"]),
    }
    published: Obj = {"description": f"{list_kind} is a list of {word}", "type": "object", "required": ["items"]}
    return published | {"properties": properties} | _kinds((group, version, list_kind))


def _whole(published: Obj, prefix: str, kind: Kind) -> Obj:
    """A schema with what every object has."""
    published["properties"] = dict(published.get("properties") or {}) | _object_fields(prefix)
    return published | _kinds(kind)


def _kinds(kind: Kind) -> Obj:
    group, version, word = kind
    return {"x-kubernetes-group-version-kind": [{"group": group, "kind": word, "version": version}]}


def _type_meta() -> Obj:
    return {name: {"description": text, "type": "string"} for name, text in _TYPE_META.items()}


def _object_fields(prefix: str) -> Obj:
    return _type_meta() | {"metadata": _reference(prefix, OBJECT_META, _TEXTS["metadata"])}


def _reference(prefix: str, name: str, text: str) -> Obj:
    if prefix == _V2:
        return {"description": text, "$ref": prefix + name}
    return {"description": text, "allOf": [{"$ref": prefix + name}]}


def _embedded(published: Obj, prefix: str) -> Obj:
    """An embedded resource has the fields of every object, too."""
    if published.get(EMBEDDED):
        published["properties"] = dict(published.get("properties") or {}) | _object_fields(prefix)
        needed = published.get("required") or []
        published["required"] = [*needed, *(name for name in ("kind", "apiVersion") if name not in needed)]
    return published


def _v3(schema: Obj) -> Obj:
    published = _each(schema, _v3)
    if schema.get(INT_OR_STRING) and not _says_int_or_string(schema):
        if schema.get("anyOf"):
            published["allOf"] = [{"anyOf": _INT_OR_STRING_TYPES}, *(schema.get("allOf") or [])]
        else:
            published["anyOf"] = _INT_OR_STRING_TYPES
    return _embedded(published, _V3)


def _says_int_or_string(schema: Obj) -> bool:
    first = (schema.get("allOf") or [{}])[0]
    return _INT_OR_STRING_TYPES in (schema.get("anyOf"), first.get("anyOf"))


def _v2(schema: Obj) -> Obj:
    published = _each(schema, _v2)
    for name in (*JUNCTORS, "not"):
        published.pop(name, None)
    if published.pop("nullable", False):
        # Null is of no type, and readers stumble over parts of what has none.
        for name in ("type", "items", "properties"):
            published.pop(name, None)
    if schema.get(PRESERVE):
        for name in ("items", "properties", "type"):
            published.pop(name, None)
    _require_less(schema, published)
    return published if schema.get(PRESERVE) else _embedded(published, _V2)


def _require_less(schema: Obj, published: Obj) -> None:
    """What may be null need not be there for a reader who knows no null."""
    others = schema.get("additionalProperties")
    properties = published.get("properties") or {}
    needed = [
        name
        for name in published.pop("required", ())
        if not (name in properties and schema["properties"][name].get("nullable"))
    ]
    if needed and not (isinstance(others, dict) and others.get("nullable")):
        published["required"] = needed


def _each(schema: Obj, publish: Callable[[Obj], Obj]) -> Obj:
    """A schema with all schemas within its structure published; conditions stay as they are."""
    published: Obj = {}
    for name, value in schema.items():
        if name == "properties":
            published[name] = {key: publish(each) for key, each in value.items()}
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            published[name] = publish(value)
        elif name not in _UNPUBLISHED:
            published[name] = value
    return published
