"""Protocol buffers' wire format, as much as a handful of small messages need. No I/O.

A message is a mapping of field numbers to values; zero values are left out, as proto3 does.
"""

from __future__ import annotations

from collections.abc import Mapping

Value = int | bool | str | bytes | None
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def encode(message: Mapping[int, Value]) -> bytes:
    """A message's bytes."""
    parts = bytearray()
    for number, value in message.items():
        if not value:
            continue
        if isinstance(value, int):
            parts += _varint(number << 3 | _VARINT) + _varint(int(value))
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += _varint(number << 3 | _BYTES) + _varint(len(data)) + data
    return bytes(parts)


def decode(data: bytes) -> dict[int, int | bytes]:
    """Fields by number, the last value of each; raises ValueError."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            fields[key >> 3], at = _read_varint(data, at)
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + size > len(data):
            raise ValueError("message is cut short")
        fields[key >> 3] = data[at : at + size]
        at += size
    return fields


def number(fields: Mapping[int, int | bytes], field: int) -> int:
    """A numeric field, 0 when absent."""
    value = fields.get(field, 0)
    return value if isinstance(value, int) else 0


def content(fields: Mapping[int, int | bytes], field: int) -> bytes:
    """A text, bytes or message field, empty when absent."""
    value = fields.get(field, b"")
    return value if isinstance(value, bytes) else b""


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("number is cut short")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
