"""Bodies in Kubernetes' protobuf, which typed Go clients such as `kubectl create` send, turned into JSON.

Only reading is offered: those clients accept JSON answers. Field numbers come from `protobuf_fields.json`, which
tools/protobuf_fields.py reads out of a kubectl binary; the table is loaded when the first such body arrives.
"""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from sparsam.clock import format_micro_time, format_time
from sparsam.errors import BadRequest, UnsupportedMediaType
from sparsam.objects.protowire import fields

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Field = tuple[int, str, str]
_Value = int | bytes


class _Table(msgspec.Struct):
    kinds: dict[str, int]
    types: list[list[Field]]

    @property
    def by_number(self) -> list[dict[int, Field]]:
        return [{field[0]: field for field in fields} for fields in self.types]


def to_json(raw: bytes) -> bytes:
    """The object in an enveloped body as JSON; raises BadRequest and UnsupportedMediaType."""
    if raw[:4] != _MAGIC:
        raise BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(fields(raw[4:]))
        type_meta = {number: _text(value) for number, value in fields(_bytes(envelope.get(1, b"")))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        number = _table().kinds.get(f"{api_version} {kind}")
        if number is None:
            number = _table().kinds.get(f"v1 {kind}") if kind == "DeleteOptions" else None
        if number is None:
            raise UnsupportedMediaType(f'protobuf bodies of kind "{kind}" in version "{api_version}" are not read here')
        message = _message(number, _bytes(envelope.get(2, b"")))
    except (ValueError, struct.error, RecursionError) as error:
        raise BadRequest(f"the protobuf body is malformed: {error}") from error
    return msgspec.json.encode({"kind": kind, "apiVersion": api_version, **message})


@cache
def _table() -> _Table:
    text = resources.files("sparsam.apiserver").joinpath("protobuf_fields.json").read_bytes()
    return msgspec.json.decode(text, type=_Table)


@cache
def _types() -> list[dict[int, Field]]:
    return _table().by_number


def _message(number: int, raw: bytes) -> dict[str, Any]:
    """One message as a JSON object."""
    known, obj = _types()[number], dict[str, Any]()
    for field_number, value in fields(raw):
        field = known.get(field_number)
        if field is not None:
            _put(obj, field[1], field[2], value)
    return obj


def _put(obj: dict[str, Any], name: str, code: str, value: _Value) -> None:
    if not name:
        # A field that lies in its parent.
        obj.update(_message(int(code.lstrip("*+")), _bytes(value)))
    elif code[0] == "[":
        obj.setdefault(name, []).append(_scalar(code[1:], value))
    elif code[0] == "{":
        entry = dict(fields(_bytes(value)))
        obj.setdefault(name, {})[_text(entry.get(1, b""))] = _map_value(code[1:], entry.get(2))
    else:
        optional, bare = code[0] == "*", code.lstrip("*+")
        decoded = _scalar(bare, value)
        # Go encodes the zero value of what is not a pointer; its JSON leaves it out where the field is optional.
        if decoded is not None and not (optional and decoded in ("", 0, False)):
            obj[name] = decoded


def _map_value(code: str, value: _Value | None) -> Any:
    if value is None:
        value = 0 if code in ("i", "b") else b""
    if code.endswith("!"):
        return [_scalar(code[1:-1], each) for _, each in fields(_bytes(value))]
    return _scalar(code, value)


def _scalar(code: str, value: _Value) -> Any:
    if code == "s":
        return _text(value)
    if code == "i":
        return _signed(value)
    if code == "b":
        return bool(value)
    if code == "y":
        return base64.b64encode(_bytes(value)).decode()
    if code == "f":
        return struct.unpack("<d" if len(_bytes(value)) == 8 else "<f", _bytes(value))[0]
    if code.isdigit():
        return _message(int(code), _bytes(value))
    return _special(code, dict(fields(_bytes(value))))


def _special(code: str, parts: dict[int, _Value]) -> Any:
    """Types whose JSON is not an object of their fields."""
    if code == "Q":
        return _text(parts.get(1, b""))
    if code == "I":
        return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
    if code == "R":
        raw = _bytes(parts.get(1, b""))
        return msgspec.json.decode(raw) if raw else None
    seconds, nanoseconds = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not parts or seconds < -62135596800:
        return None
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    return format_micro_time(moment) if code == "M" else format_time(moment)


def _signed(value: _Value) -> int:
    if isinstance(value, bytes):
        raise ValueError("a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: _Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("bytes were expected")
    return value


def _text(value: _Value) -> str:
    return _bytes(value).decode()
