"""From request bodies to objects, as Kubernetes' JSON and YAML decoders do it.

The body is parsed, its kind checked against the resource, and the rest read by the schema (`typed`). Every way a body
can be wrong is a BadRequest with upstream's words; unknown and duplicate fields are an error, a warning or nothing,
as the caller's field validation says.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sparsam.errors import BadRequest
from sparsam.objects import documents
from sparsam.objects.fields import invalid, invalid_object, quote
from sparsam.objects.kinds import RESOURCES, Resource
from sparsam.objects.objecttypes import Kind, ObjectType, built_in, type_of
from sparsam.objects.scalars import Mismatch, json_type
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


def expected_type(resource: Resource, subresource: str = "") -> ObjectType:
    """The type of the bodies that a resource or its subresource takes."""
    kind = _SUBRESOURCE_KINDS.get(subresource)
    return built_in(*kind) if kind else type_of(resource)


def decode(
    resource: Resource, raw: bytes, content_type: str, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The object in a request body, complete with kind and apiVersion, and warnings; raises BadRequest."""
    expected = expected_type(resource, subresource)
    kind = expected.kind
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
    _check_type_meta(expected, value, raw)
    return _read(expected, value, field_validation, duplicates, raw)


def decode_patched(
    resource: Resource, patched: Obj, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The outcome of a patch, read again by the schema; raises Invalid at `patch` for what does not fit."""
    expected = expected_type(resource, subresource)
    try:
        _check_type_meta(expected, patched, b"{}")
        return _read(expected, patched, field_validation, [], b"")
    except BadRequest as error:
        problem = error.message.partition(": ")[2] if " cannot be handled as a " in error.message else error.message
        shown = msgspec.json.encode(patched).decode()
        raise invalid_object("", "", "", [invalid("patch", shown, problem)]) from error


def _unrecognized(kind: Kind, problem: str, raw: bytes) -> BadRequest:
    text = f"the object provided is unrecognized (must be of type {kind[2]}): {problem} ({_summary(raw)})"
    return BadRequest(text)


def _summary(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    cut, more = raw[:_SUMMARY_LIMIT], " ..." if len(raw) > _SUMMARY_LIMIT else ""
    return (cut.decode(errors="replace") if raw[:1] == b"{" else cut.hex()) + more


def _check_type_meta(expected: ObjectType, value: Any, raw: bytes) -> None:
    """Raises when the body says that it is of another kind than the one expected."""
    if expected.is_custom:
        _check_custom_type_meta(expected.kind, value, raw)
    elif value is not None:
        _check_built_in_type_meta(expected.kind, value, raw)


def _check_custom_type_meta(kind: Kind, value: Any, raw: bytes) -> None:
    """Custom resources must say what they are; that it is not the right kind is found by validation."""
    said = _said(kind, value, raw)
    if not said[0]:
        raise _unrecognized(kind, f"Object 'Kind' is missing in '{raw.decode(errors='replace')}'", raw)
    if not said[1]:
        raise BadRequest(
            f"{said[0]} in version {quote(kind[1])} cannot be handled as a {kind[2]}: "
            f"Object 'apiVersion' is missing in '{raw.decode(errors='replace')}'"
        )
    if said[1] != f"{kind[0]}/{kind[1]}":
        raise _other_version(said[1], f"{kind[0]}/{kind[1]}")


def _other_version(said: str, expected: str) -> BadRequest:
    return BadRequest(f"the API version in the data ({said}) does not match the expected API version ({expected})")


def _said(kind: Kind, value: Any, raw: bytes) -> tuple[str, str]:
    """Kind and version of the API as the body gives them, empty where it does not."""
    if not isinstance(value, dict):
        problem = f"json: cannot unmarshal {json_type(value)} into Go value of type {_TYPE_META}"
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {problem}", raw)
    said_kind, said_version = value.get("kind") or "", value.get("apiVersion") or ""
    for field, said in (("kind", said_kind), ("apiVersion", said_version)):
        if not isinstance(said, str):
            problem = f"json: cannot unmarshal {json_type(said)} into Go struct field .{field} of type string"
            raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {problem}", raw)
    if said_version.count("/") > 1:
        raise _unrecognized(kind, f"couldn't get version/kind; unexpected GroupVersion string: {said_version}", raw)
    return said_kind, said_version


def _check_built_in_type_meta(kind: Kind, value: Any, raw: bytes) -> None:
    group, version, name = kind
    said_kind, said_version = _said(kind, value, raw)
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
        raise _other_version(said_version, f"{group}/{version}" if group else version)
    package = group.partition(".")[0] or "core"
    raise BadRequest(f"{prefix}converting ({short_version}.{said[2]}) to ({package}.{name}): unknown conversion")


def _read(
    expected: ObjectType, value: Any, field_validation: str, duplicates: list[str], raw: bytes
) -> tuple[Obj, list[str]]:
    group, version, name = expected.kind
    prefix = f"{name} in version {quote(version)} cannot be handled as a {name}: "
    try:
        obj, has_unknown = expected.read(value if value is not None else {})
    except Mismatch:
        raise BadRequest(prefix + expected.type_error(value)) from None
    if not expected.is_custom:
        obj["kind"], obj["apiVersion"] = name, f"{group}/{version}" if group else version
    if (value or {}).get("metadata") and value["metadata"].get("managedFields") == []:
        # Go tells an empty list from none: it asks to forget who owns what.
        obj["metadata"]["managedFields"] = [{}]
    problems = [_DUPLICATE + quote(path) for path in duplicates]
    if has_unknown and field_validation != "Ignore":
        unknown = expected.unknown_fields(value)
        if duplicates and not expected.is_custom:
            problems = _in_order(unknown, duplicates, raw)
        else:
            problems += [_UNKNOWN + quote(path) for path in unknown]
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
