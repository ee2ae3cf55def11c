"""From request bodies to objects, as Kubernetes' JSON and YAML decoders do it.

The body is parsed, its kind checked against the resource, and the rest read by the schema (`typed`). Every way a body
can be wrong is a BadRequest with upstream's words; unknown and duplicate fields are an error, a warning or nothing,
as the caller's field validation says.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sparsam.errors import BadRequest
from sparsam.objects import diagnosis, documents, typed
from sparsam.objects.fields import invalid, invalid_object, quote
from sparsam.objects.kinds import RESOURCES, Resource
from sparsam.objects.scalars import Mismatch, json_type
from sparsam.objects.schema import kind_definition
from sparsam.objects.strategy import Obj

_TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_SUMMARY_LIMIT = 16384
_UNKNOWN, _DUPLICATE = "unknown field ", "duplicate field "

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "binding": ("", "v1", "Binding"),
}
_REGISTERED = {(each.group, each.version, each.kind) for each in RESOURCES} | set(_SUBRESOURCE_KINDS.values())


def expected_kind(resource: Resource, subresource: str = "") -> tuple[str, str, str]:
    """(group, version, kind) of the bodies that a resource or its subresource takes."""
    return _SUBRESOURCE_KINDS.get(subresource, (resource.group, resource.version, resource.kind))


def decode(
    resource: Resource, raw: bytes, content_type: str, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The object in a request body, complete with kind and apiVersion, and warnings; raises BadRequest."""
    kind = expected_kind(resource, subresource)
    duplicates: list[str] = []
    try:
        if "yaml" in content_type:
            value = documents.parse_yaml(raw)
        elif field_validation == "Ignore":
            value = documents.parse_json(raw)
        else:
            value, duplicates = documents.parse_json_strictly(raw)
    except documents.MalformedYaml as error:
        raise _unrecognized(kind, str(error), raw) from error
    except documents.Malformed as error:
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {error}", raw) from error
    _check_type_meta(kind, value, raw)
    return _read(kind, value, field_validation, duplicates, raw)


def decode_patched(
    resource: Resource, patched: Obj, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The outcome of a patch, read again by the schema; raises Invalid at `patch` for what does not fit."""
    kind = expected_kind(resource, subresource)
    try:
        _check_type_meta(kind, patched, b"{}")
        return _read(kind, patched, field_validation, [], b"")
    except BadRequest as error:
        problem = error.message.partition(": ")[2] if " cannot be handled as a " in error.message else error.message
        shown = msgspec.json.encode(patched).decode()
        raise invalid_object("", "", "", [invalid("patch", shown, problem)]) from error


def _unrecognized(kind: tuple[str, str, str], problem: str, raw: bytes) -> BadRequest:
    text = f"the object provided is unrecognized (must be of type {kind[2]}): {problem} ({_summary(raw)})"
    return BadRequest(text)


def _summary(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    cut, more = raw[:_SUMMARY_LIMIT], " ..." if len(raw) > _SUMMARY_LIMIT else ""
    return (cut.decode(errors="replace") if raw[:1] == b"{" else cut.hex()) + more


def _check_type_meta(kind: tuple[str, str, str], value: Any, raw: bytes) -> None:
    """Raises when the body says that it is of another kind than the one expected."""
    if value is None:
        return
    if not isinstance(value, dict):
        problem = f"json: cannot unmarshal {json_type(value)} into Go value of type {_TYPE_META}"
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {problem}", raw)
    group, version, name = kind
    said_kind, said_version = value.get("kind") or "", value.get("apiVersion") or ""
    for field, said in (("kind", said_kind), ("apiVersion", said_version)):
        if not isinstance(said, str):
            problem = f"json: cannot unmarshal {json_type(said)} into Go struct field .{field} of type string"
            raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {problem}", raw)
    if said_version.count("/") > 1:
        raise _unrecognized(kind, f"couldn't get version/kind; unexpected GroupVersion string: {said_version}", raw)
    said_group, _, short_version = said_version.rpartition("/") if said_version else (group, "", version)
    said = (said_group, short_version, said_kind or name)
    if said == kind:
        return
    prefix = f"{said[2]} in version {quote(short_version)} cannot be handled as a {name}: "
    if said not in _REGISTERED:
        scheme = 'in scheme "pkg/api/legacyscheme/scheme.go:30"'
        version_text = quote(f"{said_group}/{short_version}" if said_group else short_version)
        raise BadRequest(f"{prefix}no kind {quote(said[2])} is registered for version {version_text} {scheme}")
    if said[2] == name:
        expected = f"{group}/{version}" if group else version
        text = f"the API version in the data ({said_version}) does not match the expected API version ({expected})"
        raise BadRequest(text)
    package = group.partition(".")[0] or "core"
    raise BadRequest(f"{prefix}converting ({short_version}.{said[2]}) to ({package}.{name}): unknown conversion")


def _read(
    kind: tuple[str, str, str], value: Any, field_validation: str, duplicates: list[str], raw: bytes
) -> tuple[Obj, list[str]]:
    group, version, name = kind
    api_version = f"{group}/{version}" if group else version
    definition = kind_definition(group, version, name)
    prefix = f"{name} in version {quote(version)} cannot be handled as a {name}: "
    try:
        obj, has_unknown = typed.read(definition, value if value is not None else {})
    except Mismatch:
        raise BadRequest(prefix + diagnosis.type_error(definition, value)) from None
    obj["kind"], obj["apiVersion"] = name, api_version
    if (value or {}).get("metadata") and value["metadata"].get("managedFields") == []:
        # Go tells an empty list from none: it asks to forget who owns what.
        obj["metadata"]["managedFields"] = [{}]
    problems = [_DUPLICATE + quote(path) for path in duplicates]
    if has_unknown and field_validation != "Ignore":
        unknown = diagnosis.unknown_fields(definition, value)
        problems = _in_order(unknown, duplicates, raw) if duplicates else [_UNKNOWN + quote(path) for path in unknown]
    if problems and field_validation == "Strict":
        raise BadRequest(f"{prefix}strict decoding error: {', '.join(problems)}")
    return obj, problems


def _in_order(unknown: list[str], duplicates: list[str], raw: bytes) -> list[str]:
    """Both kinds of problem in the order in which the text gives rise to them."""
    found: dict[str, None] = {}
    for path, again in documents.keys_of(raw):
        if path in duplicates if again else path in unknown:
            found[(_DUPLICATE if again else _UNKNOWN) + quote(path)] = None
    return list(found)
