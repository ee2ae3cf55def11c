"""Typed reading of JSON, compiled once for each definition: checks types, drops what Go drops, adds what Go adds.

`read` is the fast way through: nested closures over plain dicts, which drop nulls, unknown fields and empty optional
values, bring quantities, times and base64 to their canonical form, and add required zero values. It stops at the first
wrong type without knowing where it is; `diagnosis` then tells, in Go's words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sparsam.objects.scalars import SCALARS, Mismatch, Zero
from sparsam.objects.schema import JSON_PROPS, Field, definition

Reader = Callable[[Any, list[str]], Any]
"""(value, names of unknown fields) -> value; raises Mismatch."""

DROP = object()


def read(name: str, value: Any) -> tuple[dict[str, Any], bool]:
    """`value` as an object of the definition, and whether unknown fields were dropped; raises Mismatch."""
    unknown: list[str] = []
    read_value: dict[str, Any] = struct(name)(value, unknown)
    return read_value, bool(unknown)


@cache
def struct(name: str) -> Reader:
    """The reader of a definition; its fields are compiled when first used."""
    fields: dict[str, Reader] = {}
    zeros: list[tuple[str, Zero]] = []
    compiled = False

    def read_struct(value: Any, unknown: list[str]) -> Any:
        nonlocal compiled
        if value.__class__ is not dict:
            raise Mismatch
        if not compiled:
            _compile(name, fields, zeros)
            compiled = True
        out = {}
        for field, item in value.items():
            reader = fields.get(field)
            if reader is None:
                unknown.append(field)
            elif item is not None:
                item = reader(item, unknown)
                if item is not DROP:
                    out[field] = item
        for field, zero in zeros:
            if field not in out:
                out[field] = zero()
        return out

    return read_struct


def _compile(name: str, fields: dict[str, Reader], zeros: list[tuple[str, Zero]]) -> None:
    for field, entry in definition(name).fields.items():
        fields[field] = _field_reader(entry)
        zero = _zero(entry)
        if zero is not None:
            zeros.append((field, zero))


def _zero(entry: Field) -> Zero | None:
    """What stands for a missing field that is always written; nulls are left to `complete`."""
    if entry.emit == "value" and entry.type.startswith("@"):
        reader = struct(entry.definition)
        return lambda: reader({}, [])
    if entry.emit in ("always", "value") and entry.type in SCALARS:
        zero = SCALARS[entry.type].zero
        return None if zero is None else lambda: zero
    return None


def _field_reader(entry: Field) -> Reader:
    reader = value_reader(entry.type)
    # Stored as protobuf, an empty list is no list: even those that are always written come back as null.
    if entry.emit and not (entry.emit == "always" and entry.type.startswith("[]")):
        return reader
    if entry.type.startswith("@") or entry.type == "raw":
        return reader

    def read_unless_empty(value: Any, unknown: list[str]) -> Any:
        value = reader(value, unknown)
        return value if value else DROP

    return read_unless_empty


@cache
def value_reader(kind: str) -> Reader:
    """The reader of a type."""
    if kind.startswith("[]"):
        return _list_reader(kind[2:])
    if kind.startswith("map[string]"):
        return _map_reader(kind[11:])
    if kind.startswith("@"):
        return struct(kind[1:])
    if kind.startswith("props-or-"):
        return _props_reader(kind)
    if kind == "raw":
        return lambda value, _unknown: value
    scalar = SCALARS[kind].read
    return lambda value, _unknown: scalar(value)


def _list_reader(element: str) -> Reader:
    reader = value_reader(element)
    null = _null(element)

    def read_list(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not list:
            raise Mismatch
        return [reader(item, unknown) if item is not None else null() for item in value]

    if element == "string":
        return _read_strings
    return read_list


def _read_strings(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not list:
        raise Mismatch
    for item in value:
        if item.__class__ is not str:
            return [_string_or_null(each) for each in value]
    return value


def _string_or_null(value: Any) -> str:
    if value is None:
        return ""
    if value.__class__ is str:
        return str(value)
    raise Mismatch


def _map_reader(element: str) -> Reader:
    reader = value_reader(element)
    null = _null(element)

    def read_map(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise Mismatch
        # Go writes maps in order of their keys.
        return {name: reader(item, unknown) if item is not None else null() for name, item in sorted(value.items())}

    return read_map


def _null(element: str) -> Zero:
    """What null means for an item of a list or a value of a map."""
    if element.startswith("@"):
        return lambda: struct(element[1:])({}, [])
    if element in SCALARS:
        zero = "" if element == "bytes" else SCALARS[element].zero
        return lambda: zero
    return lambda: None


def _props_reader(kind: str) -> Reader:
    props = struct(JSON_PROPS)

    def read_props(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is dict:
            return props(value, unknown)
        if kind == "props-or-bool" and value.__class__ is bool:
            return value
        if kind == "props-or-array" and value.__class__ is list:
            return [props(item, unknown) for item in value]
        if kind == "props-or-strings" and value.__class__ is list:
            return _read_strings(value, unknown)
        raise Mismatch

    return read_props


@cache
def _completer(name: str) -> Callable[[dict[str, Any]], None] | None:
    """Writes the nulls that Go writes for missing lists and times; None where a definition has none within."""
    if name in _within:
        return None
    _within.add(name)
    try:
        nulls: list[str] = []
        inner: list[tuple[str, str, Callable[[dict[str, Any]], None]]] = []
        for field, entry in definition(name).fields.items():
            is_null = entry.type.startswith("[]") or entry.type in ("time", "microtime", "bytes")
            if entry.emit == "always" and is_null:
                nulls.append(field)
            elif entry.definition:
                complete_inner = _completer(entry.definition)
                if complete_inner is not None:
                    inner.append((field, entry.type, complete_inner))
    finally:
        _within.discard(name)
    if not nulls and not inner:
        return None

    def complete_struct(value: dict[str, Any]) -> None:
        for field in nulls:
            if not value.get(field):
                value[field] = None
        for field, kind, complete_inner in inner:
            item = value.get(field)
            if item is not None:
                _complete_items(item, kind, complete_inner)

    return complete_struct


_within: set[str] = set()


def _complete_items(item: Any, kind: str, complete_inner: Callable[[dict[str, Any]], None]) -> None:
    if kind.startswith("@"):
        complete_inner(item)
    else:
        for each in item.values() if kind.startswith("map") else item:
            if isinstance(each, dict):
                complete_inner(each)


def complete(name: str, value: dict[str, Any]) -> None:
    """Add, in place, the nulls with which Go writes missing required lists and unset times."""
    completer = _completer(name)
    if completer is not None:
        completer(value)
