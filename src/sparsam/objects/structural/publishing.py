"""OpenAPI documents of custom resources: a version's schema as clients read it, complete (v3) or cut down (v2).

Swagger 2.0 knows neither alternatives nor null, and its readers take an object with properties for one without
others. Upstream hence drops what version 2 cannot say, and publishes what keeps unknown fields as untyped.
"""

from __future__ import annotations

from typing import Any

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
# What Swagger 2.0, or a client of it, would misread.
_NOT_IN_V2 = frozenset({"nullable", "default", *JUNCTORS, "not"})


def publish_v3(schema: Obj, *, group: str = "", version: str = "", kind: str = "") -> Obj:
    """The schema of a kind for OpenAPI 3."""
    return _whole(_v3(schema), _V3, (group, version, kind))


def publish_v2(schema: Obj, *, group: str = "", version: str = "", kind: str = "") -> Obj:
    """The schema of a kind for OpenAPI 2: without what only version 3 can say."""
    if schema.get(PRESERVE):
        # Clients would take any other field for a mistake.
        schema = {name: value for name, value in schema.items() if name in ("type", "description", PRESERVE)}
    return _whole(_v2(schema), _V2, (group, version, kind))


def publish_list(item: str, *, group: str, version: str, list_kind: str, openapi: int) -> Obj:
    """The schema of a list of a kind, whose own schema is found under the name `item`."""
    prefix = _V2 if openapi == 2 else _V3
    kind = list_kind.removesuffix("List")
    items: Obj = {"type": "array", "items": {"$ref": prefix + item}}
    return {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": _TYPE_META["apiVersion"], "type": "string"},
            "items": {"description": f"List of {kind}."} | items,
            "kind": {"description": _TYPE_META["kind"], "type": "string"},
            "metadata": _reference(prefix, LIST_META, _TEXTS["list"]),
        },
        "x-kubernetes-group-version-kind": [{"group": group, "kind": list_kind, "version": version}],
    }


def _whole(published: Obj, prefix: str, kind: tuple[str, str, str]) -> Obj:
    """A schema with what every object has."""
    if published.get("type") == "object" and (published.get("properties") or not published.get(PRESERVE)):
        published["properties"] = dict(published.get("properties") or {}) | _object_fields(prefix)
    elif published.get(PRESERVE) and prefix == _V3:
        published["properties"] = _object_fields(prefix)
    if kind[2]:
        group, version, word = kind
        published["x-kubernetes-group-version-kind"] = [{"group": group, "kind": word, "version": version}]
    return published


def _object_fields(prefix: str) -> Obj:
    fields: Obj = {name: {"description": text, "type": "string"} for name, text in _TYPE_META.items()}
    return fields | {"metadata": _reference(prefix, OBJECT_META, _TEXTS["metadata"])}


def _reference(prefix: str, name: str, text: str) -> Obj:
    if prefix == _V2:
        return {"description": text, "$ref": prefix + name}
    return {"description": text, "allOf": [{"$ref": prefix + name}]}


def _embedded(schema: Obj, published: Obj, prefix: str) -> Obj:
    """An embedded resource has the fields of every object, too."""
    if schema.get(EMBEDDED) and (schema.get("properties") or prefix == _V3):
        published["properties"] = dict(published.get("properties") or {}) | _object_fields(prefix)
    return published


def _v3(schema: Obj) -> Obj:
    published = {name: _deeper(name, value, _v3) for name, value in schema.items()}
    types = [{"type": "integer"}, {"type": "string"}]
    if schema.get(INT_OR_STRING) and not _says_int_or_string(schema, types):
        if "anyOf" in published:
            published["allOf"] = [{"anyOf": types}, *(published.get("allOf") or [])]
        else:
            published["anyOf"] = types
    return _embedded(schema, published, _V3)


def _says_int_or_string(schema: Obj, types: list[Obj]) -> bool:
    first = (schema.get("allOf") or [{}])[0]
    return schema.get("anyOf") == types or first.get("anyOf") == types


def _v2(schema: Obj) -> Obj:
    published = {name: _deeper(name, value, _v2) for name, value in schema.items() if name not in _NOT_IN_V2}
    if schema.get(INT_OR_STRING):
        published.pop("type", None)
    if schema.get("nullable"):
        # Null is no value of any type, hence no type may be named, and nothing that goes with it.
        for name in ("type", "items", "properties"):
            published.pop(name, None)
        return published
    if schema.get(PRESERVE):
        for name in ("items", "properties"):
            published.pop(name, None)
        if not schema.get("type"):
            published.pop("type", None)
        return published
    return _embedded(schema, published, _V2)


def _deeper(name: str, value: Any, publish: Any) -> Any:
    if name == "properties":
        return {key: publish(each) for key, each in value.items()}
    if name in ("items", "additionalProperties", "not") and isinstance(value, dict):
        return publish(value)
    return [publish(each) for each in value] if name in JUNCTORS else value
