"""OpenAPI documents of the served resources: version 2 whole, version 3 by group and version.

They are made from the schema table and, for custom resources, from definitions. Clients read them for field
documentation (`kubectl explain`), client-side validation and how lists merge. The documents are large and stay as they
are as long as the catalog does: callers cache their encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sparsam.objects import customopenapi
from sparsam.objects.catalog import BUILT_IN, Catalog
from sparsam.objects.kinds import RESOURCES, Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.schema import Definition, Field, definition, definition_names, descriptions, kind_definition
from sparsam.objects.schema import kubernetes_version as schema_version

Document = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL_NAMES = {
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "intstr": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "time": _META + "Time",
    "microtime": _META + "MicroTime",
}
_SCALARS: dict[str, Document] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "raw": {"type": "object"},
}
_VERB_METHODS = {
    "create": ("post", "post", False),
    "deletecollection": ("delete", "deletecollection", False),
    "list": ("get", "list", False),
    "delete": ("delete", "delete", True),
    "get": ("get", "get", True),
    "patch": ("patch", "patch", True),
    "update": ("put", "put", True),
}
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_OBJECT_TYPES = ("application/json", "application/yaml")
_SUBRESOURCE_METHODS = {
    "status": ("get", "put", "patch"),
    "scale": ("get", "put", "patch"),
    "resize": ("get", "put", "patch"),
    "ephemeralcontainers": ("get", "put", "patch"),
    "approval": ("get", "put", "patch"),
    "finalize": ("put",),
    "binding": ("post",),
    "eviction": ("post",),
    "token": ("post",),
    "log": ("get",),
    "exec": ("get", "post"),
    "attach": ("get", "post"),
    "portforward": ("get", "post"),
    "proxy": ("get", "post", "put", "patch", "delete"),
}
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "binding": ("", "v1", "Binding"),
}


def group_versions(catalog: Catalog = BUILT_IN) -> list[str]:
    """The paths of all OpenAPI v3 documents: `api/v1`, `apis/apps/v1`, ..."""
    return list(dict.fromkeys(_root(resource).removeprefix("/") for resource in catalog.resources))


def openapi_v2(catalog: Catalog = BUILT_IN) -> Document:
    """The whole API as one Swagger 2.0 document."""
    emitter = _Emitter("#/definitions/", catalog, version=2)
    paths: Document = {}
    for resource in catalog.resources:
        paths |= emitter.paths(resource)
    return {
        "swagger": "2.0",
        "info": _info(),
        "paths": paths,
        "definitions": emitter.definitions(definition_names(), catalog.resources),
    }


def openapi_v3(group_version: str, catalog: Catalog = BUILT_IN) -> Document:
    """The OpenAPI 3.0 document of one `api/v1` or `apis/<group>/<version>`; raises KeyError when there is none."""
    served = [resource for resource in catalog.resources if _root(resource) == f"/{group_version}"]
    if not served:
        raise KeyError(group_version)
    emitter = _Emitter("#/components/schemas/", catalog, version=3)
    paths: Document = {}
    for resource in served:
        paths |= emitter.paths(resource)
    names = _reachable(name for resource in served for name in _kinds_of(resource))
    return {
        "openapi": "3.0.0",
        "info": _info(),
        "paths": paths,
        "components": {"schemas": emitter.definitions(names, served)},
    }


def _info() -> Document:
    return {"title": "Kubernetes", "version": f"v{schema_version()}"}


def _root(resource: Resource) -> str:
    return f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"


def _kinds_of(resource: Resource) -> list[str]:
    kinds = [
        (resource.group, resource.version, resource.kind),
        (resource.group, resource.version, resource.list_kind),
        ("", "v1", "Status"),
        ("", "v1", "DeleteOptions"),
        *(_SUBRESOURCE_KINDS[name] for name in resource.subresources if name in _SUBRESOURCE_KINDS),
    ]
    metadata = [_META + "ObjectMeta", _META + "ListMeta"] if isinstance(resource, CustomResource) else []
    return metadata + [name for name in (kind_definition(*kind) for kind in kinds) if name]


def _reachable(names: Iterable[str]) -> list[str]:
    pending, seen = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += [field.definition for field in definition(name).fields.values() if field.definition]
    return sorted(seen)


class _Emitter:
    """Writes one document's schemas and paths; the two versions differ in where things stand."""

    def __init__(self, prefix: str, catalog: Catalog, *, version: int) -> None:
        self._prefix = prefix
        self._version = version
        self._kinds = _kinds_by_definition()
        self._custom = {
            (resource.group, resource.version, kind): customopenapi.definition_name(
                resource.group, resource.version, kind
            )
            for resource in catalog.custom
            for kind in (resource.kind, resource.list_kind)
        }

    def definitions(self, names: Iterable[str], served: Iterable[Resource]) -> Document:
        """Those named, and those of the custom resources among the served."""
        found = {name: self._definition(definition(name)) for name in names}
        for resource in served:
            found |= customopenapi.definitions(resource, openapi=self._version)
        for kind, name in _SPECIAL_NAMES.items():
            text = descriptions().get(name, ("", {}))[0]
            found[name] = {"description": text} | self._special(kind)
        return dict(sorted(found.items()))

    def _special(self, kind: str) -> Document:
        if kind == "intstr":
            if self._version == 2:
                return {"type": "string", "format": "int-or-string"}
            return {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}
        if kind == "quantity":
            return {"type": "string"} if self._version == 2 else {"oneOf": [{"type": "string"}, {"type": "number"}]}
        return {"type": "string", "format": "date-time"}

    def _definition(self, struct: Definition) -> Document:
        text, field_texts = descriptions().get(struct.name, ("", {}))
        out: Document = {"description": text, "type": "object"}
        if struct.fields:
            out["properties"] = {
                name: self._property(field, field_texts.get(name, "")) for name, field in struct.fields.items()
            }
        required = sorted(name for name, field in struct.fields.items() if field.required)
        if required:
            out["required"] = required
        if struct.map:
            out["x-kubernetes-map-type"] = struct.map
        if struct.name in self._kinds:
            out["x-kubernetes-group-version-kind"] = self._kinds[struct.name]
        return out

    def _property(self, field: Field, text: str) -> Document:
        out = self._type(field.type)
        extras: Document = {"description": text} if text else {}
        if field.enum:
            extras["enum"] = list(field.enum)
        for name, value in (
            ("x-kubernetes-list-type", field.list),
            ("x-kubernetes-list-map-keys", list(field.keys)),
            ("x-kubernetes-patch-merge-key", field.merge_key),
            ("x-kubernetes-patch-strategy", field.strategy),
            ("x-kubernetes-map-type", field.map),
        ):
            if value:
                extras[name] = value
        if "$ref" in out and self._version == 3:
            out = {"allOf": [out], "default": {}} if field.emit == "value" else {"allOf": [out]}
        return out | extras

    def _type(self, kind: str) -> Document:
        if kind.startswith("[]"):
            return {"type": "array", "items": self._item(kind[2:])}
        if kind.startswith("map[string]"):
            return {"type": "object", "additionalProperties": self._item(kind[11:])}
        if kind.startswith("@"):
            return {"$ref": self._prefix + kind[1:]}
        if kind in _SPECIAL_NAMES:
            return {"$ref": self._prefix + _SPECIAL_NAMES[kind]}
        return dict(_SCALARS.get(kind, {}))

    def _item(self, kind: str) -> Document:
        item = self._type(kind)
        return {"allOf": [item], "default": {}} if "$ref" in item and self._version == 3 else item

    def paths(self, resource: Resource) -> Document:
        """Each path of a resource with its operations."""
        found: Document = {}
        scopes = ("",) if not resource.namespaced else ("/namespaces/{namespace}", "")
        for scope in scopes:
            base = f"{_root(resource)}{scope}/{resource.plural}"
            everywhere = resource.namespaced and not scope
            verbs = [verb for verb in resource.verbs if not everywhere or verb == "list"]
            for path, method, operation in self._operations(resource, base, verbs, everywhere=everywhere):
                found.setdefault(path, _parameters(path, self._version))[method] = operation
            if not everywhere:
                found |= self._subresource_paths(resource, base)
        return found

    def _operations(
        self, resource: Resource, base: str, verbs: Iterable[str], *, everywhere: bool
    ) -> Iterator[tuple[str, str, Document]]:
        kind = (resource.group, resource.version, resource.kind)
        for verb in verbs:
            if verb not in _VERB_METHODS:
                continue
            method, action, single = _VERB_METHODS[verb]
            scope = "Namespaced" if resource.namespaced and not everywhere else ""
            suffix = "ForAllNamespaces" if everywhere else ""
            name = f"{action}{_camel(resource)}{scope}{resource.kind}{suffix}"
            answer = resource.list_kind if verb == "list" else resource.kind
            path = f"{base}/{{name}}" if single else base
            yield path, method, self._operation(name, action, method, kind, answer)

    def _subresource_paths(self, resource: Resource, base: str) -> Document:
        found: Document = {}
        for part in resource.subresources:
            kind = _SUBRESOURCE_KINDS.get(part, (resource.group, resource.version, resource.kind))
            path = f"{base}/{{name}}/{part}"
            item = _parameters(path, self._version)
            for method in _SUBRESOURCE_METHODS.get(part, ("get",)):
                action = "connect" if part in ("exec", "attach", "portforward", "proxy") else method
                scope = "Namespaced" if resource.namespaced else ""
                name = f"{action}{method.title() if action == 'connect' else ''}{_camel(resource)}{scope}"
                name += f"{resource.kind}{part.title()}"
                item[method] = self._operation(name, action, method, kind, kind[2])
            found[path] = item
        return found

    def _name(self, group: str, version: str, kind: str) -> str:
        return self._custom.get((group, version, kind)) or kind_definition(group, version, kind)

    def _operation(self, name: str, action: str, method: str, kind: tuple[str, str, str], answer: str) -> Document:
        group, version, word = kind
        body = self._name(group, version, word)
        reply = self._name(group, version, answer) or body
        operation: Document = {
            "operationId": name,
            "tags": [f"{group.partition('.')[0] or 'core'}_{version}"],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": word},
        }
        schema = {"$ref": self._prefix + reply}
        takes_body = method in ("post", "put", "patch") and action != "connect"
        given = {"$ref": self._prefix + body}
        if self._version == 2:
            operation |= _operation_v2(method, schema, given if takes_body else None)
        else:
            operation |= _operation_v3(method, schema, given if takes_body else None)
        return operation


def _operation_v2(method: str, reply: Document, body: Document | None) -> Document:
    out: Document = {
        "consumes": list(_PATCH_TYPES) if method == "patch" else ["*/*"],
        "produces": list(_OBJECT_TYPES),
        "schemes": ["https"],
        "responses": {"200": {"description": "OK", "schema": reply}, "401": {"description": "Unauthorized"}},
    }
    parameters = [{"name": name, "in": "query", "type": "string", "uniqueItems": True} for name in _query(method)]
    if body is not None:
        given: Document = {"type": "object"} if method == "patch" else body
        parameters.append({"name": "body", "in": "body", "required": True, "schema": given})
    return out | ({"parameters": parameters} if parameters else {})


def _operation_v3(method: str, reply: Document, body: Document | None) -> Document:
    content = {media: {"schema": reply} for media in _OBJECT_TYPES}
    out: Document = {
        "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}},
    }
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _query(method)
    ]
    if parameters:
        out["parameters"] = parameters
    if body is not None:
        given: Document = {"type": "object"} if method == "patch" else body
        media_types = _PATCH_TYPES if method == "patch" else ("*/*",)
        out["requestBody"] = {"content": {media: {"schema": given} for media in media_types}, "required": True}
    return out


def _query(method: str) -> tuple[str, ...]:
    """Query parameters that clients look for: kubectl asks for `fieldValidation` before it relies on it."""
    if method in ("post", "put"):
        return ("dryRun", "fieldManager", "fieldValidation")
    if method == "patch":
        return ("dryRun", "fieldManager", "fieldValidation", "force")
    return ()


def _parameters(path: str, version: int) -> Document:
    """The parameters that stand in the path."""
    shape: Document = {"type": "string", "uniqueItems": True}
    found = [
        {"name": name, "in": "path", "required": True} | (shape if version == 2 else {"schema": shape})
        for name in ("name", "namespace")
        if f"{{{name}}}" in path
    ]
    return {"parameters": found} if found else {}


def _camel(resource: Resource) -> str:
    group = resource.group.removesuffix(".k8s.io").removesuffix(".authorization") or "core"
    words = group.replace(".", " ").replace("-", " ").split()
    return "".join(word[:1].upper() + word[1:] for word in words) + resource.version[:1].upper() + resource.version[1:]


def _kinds_by_definition() -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for resource in RESOURCES:
        for kind in (resource.kind, f"{resource.kind}List"):
            name = kind_definition(resource.group, resource.version, kind)
            if name:
                found.setdefault(name, []).append(_gvk(resource.group, resource.version, kind))
    for group, version, kind in _SUBRESOURCE_KINDS.values():
        name = kind_definition(group, version, kind)
        if name:
            found.setdefault(name, [_gvk(group, version, kind)])
    for kind in ("Status", "DeleteOptions"):
        found[_META + kind] = [_gvk("", "v1", kind)]
    return found


def _gvk(group: str, version: str, kind: str) -> Document:
    return {"group": group, "version": version, "kind": kind}
