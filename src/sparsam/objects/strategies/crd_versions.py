"""Versions of CustomResourceDefinitions: schema, subresources, columns and selectable fields of each.

Upstream checks its internal form, in which what all versions share stands once above them. Paths tell: what is wrong
with the only version is found at `spec.validation`, `spec.subresources`, `spec.additionalPrinterColumns` and
`spec.selectableFields`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, required, too_many
from sparsam.objects.names import dns1035_label_errors
from sparsam.objects.strategies.common import text_causes
from sparsam.objects.strategies.crd_schema import validate_schema
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.formats import is_known
from sparsam.objects.structural.nodes import JUNCTORS, Uncompilable, parse

_MOST_SELECTABLE_FIELDS = 8
_LONGEST_WARNING = 256
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_TYPES = ("string", "boolean", "integer")
_SHARED = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")
# Upstream prints its internal struct, whose fields these are.
_VERSION_FIELDS: tuple[tuple[str, Any], ...] = (
    ("Name", ""),
    ("Served", False),
    ("Storage", False),
    ("Deprecated", False),
    ("DeprecationWarning", None),
    ("Schema", None),
    ("Subresources", None),
    ("AdditionalPrinterColumns", None),
    ("SelectableFields", None),
)


def schema_of(version: Obj) -> Obj | None:
    """The schema of a version."""
    schema: Obj | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema


def version_causes(versions: list[Obj], path: str, old: list[Obj]) -> list[Cause]:
    """Causes for what stands in each version, apart from what all share; `old`: the versions before."""
    shared, unchanged = shared_parts(versions), _unchanged(versions, old)
    causes = [
        required(f"{path}[{position}].schema.openAPIV3Schema")
        for position, version in enumerate(versions)
        if schema_of(version) is None
    ]
    for position, version in enumerate(versions):
        here = f"{path}[{position}]"
        causes += text_causes(version.get("name", ""), f"{here}.name", dns1035_label_errors)
        causes += _deprecation(version, f"{here}.deprecationWarning")
        own = {name: value for name, value in version.items() if name not in shared}
        causes += _schema(
            own, f"{here}.schema", has_status=_has_status(version), is_unchanged=version.get("name") in unchanged
        )
        causes += _parts(own, schema_of(version), here)
    return causes


def shared_causes(versions: list[Obj], path: str, old: list[Obj]) -> list[Cause]:
    """Causes for what all versions share; `path` is that of the whole spec."""
    shared = shared_parts(versions)
    is_unchanged = bool(versions) and versions[0].get("name") in _unchanged(versions, old)
    has_status = any(map(_has_status, versions))
    causes = _schema(shared, f"{path}.validation", has_status=has_status, is_unchanged=is_unchanged)
    return causes + _parts(shared, schema_of(shared), path)


def _unchanged(versions: list[Obj], old: list[Obj]) -> set[str]:
    """The names of versions that had their schema before."""
    before = {version.get("name", ""): schema_of(version) for version in old}
    return {
        name
        for version in versions
        if (name := version.get("name", "")) in before and before[name] == schema_of(version)
    }


def shared_parts(versions: list[Obj]) -> Obj:
    """What all versions have alike."""
    if not versions:
        return {}
    first = versions[0]
    return {
        name: first[name]
        for name in _SHARED
        if name in first and all(version.get(name) == first[name] for version in versions)
    }


def _schema(parts: Obj, path: str, *, has_status: bool, is_unchanged: bool) -> list[Cause]:
    schema = schema_of(parts)
    if schema is None:
        return []
    return validate_schema(schema, f"{path}.openAPIV3Schema", has_status=has_status, is_unchanged=is_unchanged)


def _parts(parts: Obj, schema: Obj | None, path: str) -> list[Cause]:
    causes: list[Cause] = []
    causes += _scale((parts.get("subresources") or {}).get("scale"), f"{path}.subresources.scale")
    for position, column in enumerate(parts.get("additionalPrinterColumns") or []):
        causes += _column(column, f"{path}.additionalPrinterColumns[{position}]")
    causes += _selectable_fields(parts.get("selectableFields") or [], schema, f"{path}.selectableFields")
    return causes


def _has_status(version: Obj) -> bool:
    return (version.get("subresources") or {}).get("status") is not None


def _deprecation(version: Obj, path: str) -> Iterator[Cause]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield invalid(path, warning, "can only be set for deprecated versions")
        return
    if len(warning.encode()) > _LONGEST_WARNING:
        yield invalid(path, warning, f"must be <= {_LONGEST_WARNING} characters long")
    if not warning:
        yield invalid(path, warning, "must not be an empty string")
    odd = next((position for position, each in enumerate(warning) if not each.isprintable()), None)
    if odd is not None:
        place = len(warning[:odd].encode())
        detail = f"must only contain printable UTF-8 characters; non-printable character found at index {place}"
        yield invalid(path, warning, detail)


def _column(column: Obj, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield required(f"{path}.name")
    kind, form, json_path = column.get("type", ""), column.get("format", ""), column.get("jsonPath", "")
    if not kind:
        yield required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif kind not in _COLUMN_TYPES:
        yield invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    if form and form not in _COLUMN_FORMATS:
        yield invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not json_path:
        yield required(f"{path}.JSONPath")
    else:
        yield from _json_path(json_path, f"{path}.JSONPath", ())


def _scale(scale: Obj | None, path: str) -> Iterator[Cause]:
    if scale is None:
        return
    for name, under in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        if not scale.get(name):
            yield required(f"{path}.{name}")
        else:
            yield from _json_path(scale[name], f"{path}.{name}", (under,))
    if scale.get("labelSelectorPath"):
        yield from _json_path(scale["labelSelectorPath"], f"{path}.labelSelectorPath", (".spec.", ".status."))


def _json_path(value: str, path: str, under: tuple[str, ...]) -> Iterator[Cause]:
    """A path in dot notation, below one of some fields where there are any."""
    if not value.startswith("."):
        yield invalid(path, value, "must be a simple json path starting with .")
    elif under and not value.startswith(under):
        roots = " or ".join(each.rstrip(".") for each in under)
        yield invalid(path, value, f"should be a json path under {'either ' if len(under) > 1 else ''}{roots}")


def _selectable_fields(fields: list[Obj], schema: Obj | None, path: str) -> Iterator[Cause]:
    if not fields:
        return
    if schema is None:
        detail = "selectableFields may only be set when version.schema.openAPIV3Schema is not included"
        yield invalid(path, "", detail)
        return
    try:
        root = parse(schema)
    except Uncompilable:
        return  # Told where it stands.
    seen: set[str] = set()
    for position, field in enumerate(fields):
        here, json_path = f"{path}[{position}].jsonPath", field.get("jsonPath", "")
        if not json_path:
            yield required(here)
            continue
        try:
            steps, node = resolve(json_path, root, allows_brackets=False)
        except BadFieldPath as error:
            yield invalid(here, json_path, f"is an invalid path: {error}")
            continue
        if steps[0] == ".metadata":
            yield invalid(here, json_path, "must not point to fields in metadata")
        if node.type not in _SELECTABLE_TYPES:
            detail = (
                "must point to a field of type string, boolean or integer. "
                "Enum string fields and strings with formats are allowed."
            )
            yield invalid(here, json_path, detail)
        if "".join(steps) in seen:
            yield duplicate(here, json_path)
        seen.add("".join(steps))
    if len(seen) > _MOST_SELECTABLE_FIELDS:
        yield too_many(path, len(seen), _MOST_SELECTABLE_FIELDS)


def unknown_formats(versions: list[Obj]) -> list[str]:
    """The formats in schemas of versions that say nothing, each once."""
    found: dict[str, None] = {}
    for schema in map(schema_of, versions):
        if schema is not None:
            found |= dict.fromkeys(_unknown_formats(schema))
    return list(found)


def _unknown_formats(schema: Obj) -> Iterator[str]:
    name = schema.get("format")
    if name and not is_known(name, schema.get("type") or ""):
        yield name
    parts = [schema.get("items"), schema.get("not"), schema.get("additionalProperties")]
    parts += [each for junctor in JUNCTORS for each in schema.get(junctor) or []]
    for each in (*parts, *(schema.get("properties") or {}).values()):
        if isinstance(each, dict):
            yield from _unknown_formats(each)


def shown(versions: list[Obj] | None) -> list[Obj] | None:
    """Versions as upstream prints them, without what they share."""
    if versions is None:
        return None
    found = []
    for version in versions:
        fields = {name[0].lower() + name[1:]: name for name, _zero in _VERSION_FIELDS}
        values = {fields[name]: value for name, value in version.items() if name in fields and name not in _SHARED}
        found.append({name: values.get(name, zero) for name, zero in _VERSION_FIELDS})
    return found
