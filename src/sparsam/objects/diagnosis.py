"""What is wrong with a JSON value and where, in the words of Go's decoder. The slow way, walked only after an error.

Go names the struct type that holds the field, then the path of field names from the root, without list positions and
map keys, but with the names of embedded structs on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.objects.scalars import SCALARS, Mismatch, json_type
from sparsam.objects.schema import JSON_PROPS, Definition, Field, definition

_GO_SCALARS = {
    "string": "string",
    "bool": "bool",
    "int32": "int32",
    "int64": "int64",
    "float64": "float64",
    "double": "float64",
    "intstr": "int32",
    "bytes": "[]uint8",
    "quantity": "resource.Quantity",
    "time": "v1.Time",
    "microtime": "v1.MicroTime",
}


def type_error(name: str, value: Any) -> str:
    """The message for the first wrong type in `value`, read as the definition; empty when there is none."""
    return _Walk(definition(name)).struct_error(definition(name), value, ())


def unknown_fields(name: str, value: Any) -> list[str]:
    """Paths of the fields in `value` that the definition does not have, in order of appearance."""
    return list(_unknown(definition(name), value, ""))


def _unknown(struct: Definition, value: dict[str, Any], path: str) -> Iterator[str]:
    for field, item in value.items():
        entry = struct.fields.get(field)
        here = f"{path}.{field}" if path else field
        if entry is None:
            yield here
        elif item is not None:
            yield from _unknown_in(entry.type, item, here)


def _unknown_in(kind: str, item: Any, path: str) -> Iterator[str]:
    if kind.startswith("props-or-"):
        kind = f"@{JSON_PROPS}" if isinstance(item, dict) else f"[]@{JSON_PROPS}"
    if kind.startswith("@") and isinstance(item, dict):
        yield from _unknown(definition(kind[1:]), item, path)
    elif kind.startswith("[]") and isinstance(item, list):
        for position, each in enumerate(item):
            yield from _unknown_in(kind[2:], each, f"{path}[{position}]")
    elif kind.startswith("map[string]") and isinstance(item, dict):
        for name, each in item.items():
            yield from _unknown_in(kind[11:], each, f"{path}.{name}")


class _Walk:
    """One search for the first wrong type."""

    def __init__(self, root: Definition) -> None:
        self._root = root

    def struct_error(self, struct: Definition, value: Any, path: tuple[str, ...], holder: str = "") -> str:
        if not isinstance(value, dict):
            return self._message(value, struct.go_type, holder, path)
        for field, item in value.items():
            entry = struct.fields.get(field)
            if entry is None or item is None:
                continue
            embedded = (*path, *filter(None, entry.embedded.split(".")), field)
            error = self._error(entry.type, entry, item, embedded, struct.go_struct)
            if error:
                return error
        return ""

    def _error(self, kind: str, entry: Field, value: Any, path: tuple[str, ...], holder: str) -> str:
        if kind.startswith("@"):
            return self.struct_error(definition(kind[1:]), value, path, holder)
        if kind.startswith("[]"):
            return self._container_error(kind, entry, value, path, holder)
        if kind.startswith("map[string]"):
            return self._container_error(kind, entry, value, path, holder)
        if kind.startswith("props-or-"):
            return self._props_error(kind, entry, value, path, holder)
        if kind == "raw":
            return ""
        return self._scalar_error(kind, entry, value, path, holder)

    def _container_error(self, kind: str, entry: Field, value: Any, path: tuple[str, ...], holder: str) -> str:
        element = kind[2:] if kind.startswith("[]") else kind[11:]
        if not isinstance(value, list if kind.startswith("[]") else dict):
            return self._message(value, _go_type(kind, entry), holder, path)
        items: list[Any] = value if isinstance(value, list) else list(value.values())
        for item in items:
            error = "" if item is None else self._error(element, entry, item, path, holder)
            if error:
                return error
        return ""

    def _props_error(self, kind: str, entry: Field, value: Any, path: tuple[str, ...], holder: str) -> str:
        if isinstance(value, dict):
            return self.struct_error(definition(JSON_PROPS), value, path, holder)
        if isinstance(value, list) and kind != "props-or-bool":
            element = "string" if kind == "props-or-strings" else f"@{JSON_PROPS}"
            return self._container_error(f"[]{element}", entry, value, path, holder)
        if kind == "props-or-bool":
            return "" if isinstance(value, bool) else "boolean or JSON schema expected"
        return self._message(value, "v1.JSONSchemaProps", holder, path)

    def _scalar_error(self, kind: str, entry: Field, value: Any, path: tuple[str, ...], holder: str) -> str:
        try:
            SCALARS[kind].read(value)
        except Mismatch as mismatch:
            if mismatch.text:
                return mismatch.text
            go_type = _go_type(kind, entry)
            shown = f"number {_number(value)}" if _is_number(value) and kind in ("int32", "int64", "intstr") else ""
            return self._message(value, go_type, holder, path, shown)
        return ""

    def _message(self, value: Any, go_type: str, holder: str, path: tuple[str, ...], shown: str = "") -> str:
        shown = shown or json_type(value)
        if not path:
            return f"json: cannot unmarshal {shown} into Go value of type {go_type}"
        return f"json: cannot unmarshal {shown} into Go struct field {holder}.{'.'.join(path)} of type {go_type}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: float) -> str:
    return repr(value)


def _go_type(kind: str, entry: Field) -> str:
    if kind.startswith("map[string]"):
        return entry.go or "map[string]" + _go_type(kind[11:], entry)
    if kind.startswith("[]"):
        return "[]" + _go_type(kind[2:], entry)
    if kind.startswith("@"):
        return definition(kind[1:]).go_type
    if kind == "string" and entry.go and "ResourceList" not in entry.go:
        return entry.go
    return _GO_SCALARS.get(kind, kind)
