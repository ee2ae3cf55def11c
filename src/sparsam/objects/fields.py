"""Causes of a 422, built and worded as upstream's `field.Error`: one function for each error type.

A field path is plain text such as `spec.containers[0].ports[1].hostPort`; `index` and `key` extend one as upstream
prints it. A value is printed as Go prints it: strings quoted, numbers and booleans bare, everything else as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from sparsam.errors import Cause, Invalid

Value = Any

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def quote(text: str) -> str:
    """Text in double quotes with Go's escapes (`%q`)."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    point = ord(character)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def render(value: Value) -> str:
    """A value as it stands in a message."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # encoding/json escapes HTML's characters.
    return msgspec.json.encode(value).decode().translate(_HTML)


def index(path: str, position: int) -> str:
    """The path of one list item: `spec.containers[0]`."""
    return f"{path}[{position}]"


def key(path: str, name: str) -> str:
    """The path of one map entry: `metadata.labels[a/b]`."""
    return f"{path}[{name}]"


def child(path: str, name: str) -> str:
    """The path of a field: `spec.replicas`; at the top just the name."""
    return f"{path}.{name}" if path else name


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def invalid(field: str, value: Value, detail: str) -> Cause:
    """The value breaks a rule."""
    return Cause("FieldValueInvalid", _with_detail(f"Invalid value: {render(value)}", detail), field)


def type_invalid(field: str, value: Value, detail: str) -> Cause:
    """The value has a wrong type."""
    return Cause("FieldValueTypeInvalid", _with_detail(f"Invalid value: {render(value)}", detail), field)


def required(field: str, detail: str = "") -> Cause:
    """A value is missing."""
    return Cause("FieldValueRequired", _with_detail("Required value", detail), field)


def not_supported(field: str, value: Value, supported: Iterable[Value]) -> Cause:
    """The value is none of the supported ones; they are listed in the order given."""
    known = ", ".join(quote(str(each)) for each in supported)
    detail = f"supported values: {known}" if known else ""
    return Cause("FieldValueNotSupported", _with_detail(f"Unsupported value: {render(value)}", detail), field)


def duplicate(field: str, value: Value) -> Cause:
    """The value must be unique and is not."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {render(value)}", field)


def forbidden(field: str, detail: str) -> Cause:
    """The field may not be set (like this, or by this request)."""
    return Cause("FieldValueForbidden", _with_detail("Forbidden", detail), field)


def too_long(field: str, max_bytes: int) -> Cause:
    """The value has more than `max_bytes` bytes."""
    detail = f"may not be more than {max_bytes} bytes" if max_bytes >= 0 else "value is too long"
    return Cause("FieldValueTooLong", f"Too long: {detail}", field)


def too_many(field: str, actual: int, max_items: int) -> Cause:
    """The list has more than `max_items` items."""
    noun = "item" if max_items == 1 else "items"
    return Cause("FieldValueTooMany", f"Too many: {actual}: must have at most {max_items} {noun}", field)


def not_found(field: str, value: Value) -> Cause:
    """The value refers to something that does not exist."""
    return Cause("FieldValueNotFound", f"Not found: {render(value)}", field)


def internal_error(field: str, detail: str) -> Cause:
    """Validation itself failed."""
    return Cause("InternalError", f"Internal error: {detail}", field)


def invalid_object(group: str, kind: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """The 422 that carries these causes, as upstream's `errors.NewInvalid` words it.

    The message names equal errors once; `details.causes` keeps all of them.
    """
    lines = list(dict.fromkeys(f"{cause.field or '<nil>'}: {cause.message}" for cause in causes))
    qualified = f"{kind}.{group}" if group else kind
    message = f"{qualified} {quote(name)} is invalid"
    if lines:
        message += ": " + (lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]")
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    details = {name: value for name, value in details.items() if value}
    if causes:
        details["causes"] = [cause.as_json() for cause in causes]
    return Invalid(message, details=details)
