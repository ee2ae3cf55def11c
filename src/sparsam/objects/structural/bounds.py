"""How large the values of a schema can be at most: by its own limits, else by what fits into one request.

Source: upstream's SchemaDeclType, whose sizes decide which rules a definition may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sparsam.objects.cel.conversion import escape
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.nodes import EMBEDDED, INT_OR_STRING

REQUEST_BYTES = 3 * 1024 * 1024
_TEXT, _NUMBER, _BOOLEAN, _EMPTY = 2, 1, 4, 2
# The shortest and the longest text of a format, in JSON.
_FORMATS = {"duration": (3, 32), "date": (12, 12), "date-time": (21, 37)}


@dataclass(frozen=True, slots=True)
class Bound:
    """The bounds of a value."""

    most: int = 0
    """Bytes of a text, items of a list, entries of a map; 0 for what has no size."""
    least_bytes: int = 1
    """What it takes in JSON at least."""
    fields: Mapping[str, Bound] = field(default_factory=dict)
    """By the names that expressions use."""
    element: Bound | None = None


_NAME = Bound(REQUEST_BYTES - 2, _TEXT)
_OBJECT_FIELDS = {
    "apiVersion": _NAME,
    "kind": _NAME,
    "metadata": Bound(0, _EMPTY, {"name": _NAME, "generateName": _NAME}),
}


def bound_of(schema: Obj, *, is_root: bool = False) -> Bound | None:
    """The bounds of a schema's values; None where expressions cannot reach them."""
    kind = schema.get("type", "")
    if schema.get(INT_OR_STRING):
        return Bound(_longest_text(schema), _NUMBER)
    if kind == "array":
        return _list(schema)
    if kind == "object":
        return _object(schema, is_root=is_root)
    if kind == "string":
        least, most = _FORMATS.get(schema.get("format", ""), (_TEXT, 0))
        return Bound(most or _longest_text(schema), least)
    return {"boolean": Bound(0, _BOOLEAN), "number": Bound(0, _NUMBER), "integer": Bound(0, _NUMBER)}.get(kind)


def cardinality(schema: Obj) -> int | None:
    """How many children a schema has at most for each of its own values; None where it sets no limit."""
    if schema.get("type") == "array":
        limit = schema.get("maxItems")
    elif schema.get("type") == "object" and schema.get("additionalProperties") is not None:
        limit = schema.get("maxProperties")
    else:
        return 1
    return None if limit is None else max(limit, 0)


def most_in_a_request(bound: Bound) -> int:
    """How many values fit into one request."""
    return REQUEST_BYTES // (bound.least_bytes + 1)


def _longest_text(schema: Obj) -> int:
    limit: int | None = schema.get("maxLength")
    if limit is not None:
        # A character takes up to four bytes; base64 takes one each.
        return max(limit, 0) * (1 if schema.get("format") == "byte" else 4)
    if schema.get("enum") and not schema.get(INT_OR_STRING):
        return max((len(value.encode()) for value in schema["enum"] if isinstance(value, str)), default=0)
    return REQUEST_BYTES - 2


def _list(schema: Obj) -> Bound | None:
    items = schema.get("items")
    element = bound_of(items) if isinstance(items, dict) else None
    if element is None:
        return None
    limit = schema.get("maxItems")
    most = max(limit, 0) if limit is not None else (REQUEST_BYTES - 2) // (element.least_bytes + 1)
    return Bound(most, _EMPTY, element=element)


def _object(schema: Obj, *, is_root: bool) -> Bound | None:
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        element = bound_of(others)
        if element is None:
            return None
        limit = schema.get("maxProperties")
        most = max(limit, 0) if limit is not None else (REQUEST_BYTES - 2) // (element.least_bytes + 6)
        return Bound(most, _EMPTY, element=element)
    least, fields = _EMPTY, dict(_OBJECT_FIELDS) if is_root or schema.get(EMBEDDED) else {}
    for name, each in (schema.get("properties") or {}).items():
        bound = bound_of(each)
        if bound is None:
            continue
        if (escaped := escape(name)) and escaped not in fields:
            fields[escaped] = bound
        if name in (schema.get("required") or ()) and each.get("default") is None:
            least += len(name) + bound.least_bytes + 4
    return Bound(0, least, fields)
