"""What OpenAPI documents say of custom resources: their schemas, and those of their lists.

Version 3 takes a schema as its definition has it. Version 2 cannot say all of it, and kubectl, which validates by it,
takes what is not said for forbidden: what would mislead it is left out, as upstream does.
Source: upstream's pkg/controller/openapi of apiextensions-apiserver.
"""

from __future__ import annotations

from typing import Any

from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.schema import OBJECT_META, descriptions
from sparsam.objects.structural.nodes import EMBEDDED, JUNCTORS, PRESERVE

Document = dict[str, Any]

_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_DESCRIBED = "io.k8s.api.core.v1.ConfigMap"
"""Any kind whose texts of the fields that all kinds have are as good as another's."""


def definition_name(group: str, version: str, kind: str) -> str:
    """`com.example.stable.v1.CronTab`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def definitions(resource: CustomResource, prefix: str, version: int) -> Document:
    """The schema of a resource's objects and of their list, by name; `prefix` stands before what is referred to."""
    name = definition_name(resource.group, resource.version, resource.kind)
    list_name = definition_name(resource.group, resource.version, resource.list_kind)
    return {
        name: _object(resource, prefix, version),
        list_name: _list(resource, name, prefix, version),
    }


def _object(resource: CustomResource, prefix: str, version: int) -> Document:
    schema: Document = dict(resource.type.schema)
    if version == 2 and schema.get(PRESERVE):
        # With but some properties named kubectl would take all others for mistakes.
        schema = {"type": "object"}
    else:
        schema = _plain(schema) if version == 2 else schema
        schema = _with_embedded(schema, prefix, version, is_root=True)
        schema["properties"] = {**(schema.get("properties") or {}), **_type_meta(), "metadata": _meta(prefix, version)}
    return schema | {"x-kubernetes-group-version-kind": [_gvk(resource, resource.kind)]}


def _list(resource: CustomResource, name: str, prefix: str, version: int) -> Document:
    text = f"List of {resource.plural}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/"
    items = {"type": "array", "items": {"$ref": prefix + name}, "description": f"{text}api-conventions.md"}
    metadata = _referred(prefix + _LIST_META, "Standard list metadata.", version)
    return {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {**_type_meta(), "metadata": metadata, "items": items},
        "x-kubernetes-group-version-kind": [_gvk(resource, resource.list_kind)],
    }


def _gvk(resource: CustomResource, kind: str) -> Document:
    return {"group": resource.group, "version": resource.version, "kind": kind}


def _type_meta() -> Document:
    texts = descriptions()[_DESCRIBED][1]
    return {name: {"description": texts[name], "type": "string"} for name in ("apiVersion", "kind")}


def _meta(prefix: str, version: int) -> Document:
    return _referred(prefix + OBJECT_META, descriptions()[_DESCRIBED][1]["metadata"], version)


def _referred(name: str, text: str, version: int) -> Document:
    reference = {"$ref": name}
    return reference | {"description": text} if version == 2 else {"allOf": [reference], "description": text}


def _with_embedded(schema: Document, prefix: str, version: int, *, is_root: bool = False) -> Document:
    """A copy of the schema in which whole objects within the object have the fields that all objects have."""
    out = {name: _each(name, value, prefix, version) for name, value in schema.items()}
    if schema.get(EMBEDDED) and not is_root:
        known = {**_type_meta(), "metadata": _meta(prefix, version)}
        out["properties"] = {**(out.get("properties") or {}), **known}
        out["required"] = sorted({*(out.get("required") or ()), "apiVersion", "kind"})
    return out


def _each(name: str, value: Any, prefix: str, version: int) -> Any:
    if name == "properties":
        return {key: _with_embedded(each, prefix, version) for key, each in value.items()}
    if name in ("items", "additionalProperties") and isinstance(value, dict):
        return _with_embedded(value, prefix, version)
    return value


def _plain(schema: Document) -> Document:
    """A copy of the schema with nothing in it that version 2 lacks."""
    out = {name: value for name, value in schema.items() if name not in (*JUNCTORS, "not", "nullable")}
    properties = schema.get("properties") or {}
    nullable = {name for name, each in properties.items() if each.get("nullable")}
    if nullable and "required" in out:
        out["required"] = [name for name in out["required"] if name not in nullable]
        if not out["required"]:
            del out["required"]
    if schema.get("nullable"):
        # There is no word for null: without a type everything goes.
        out.pop("type", None)
    if schema.get("nullable") or schema.get(PRESERVE):
        out.pop("properties", None)
        out.pop("items", None)
    if "properties" in out:
        out["properties"] = {name: _plain(each) for name, each in properties.items()}
    for name in ("items", "additionalProperties"):
        if isinstance(out.get(name), dict):
            out[name] = _plain(out[name])
    return out
