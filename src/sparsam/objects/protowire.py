"""Protocol buffers' wire format, as much as small messages need that are read and written by field number.

A message to be written is a mapping of field numbers to values; zero values are left out, as proto3 does.
Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Value = int | bool | str | bytes | None
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


def encode(message: Mapping[int, Value]) -> bytes:
    """A message's bytes."""
    parts = bytearray()
    for number, value in message.items():
        if not value:
            continue
        if isinstance(value, int):
            parts += _varint(number << 3 | _VARINT) + _varint(int(value))
        else:
            parts += field(number, value)
    return bytes(parts)


def field(number: int, value: str | bytes) -> bytes:
    """One text, bytes or message field, empty ones too."""
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message, in order; raises ValueError."""
    at = 0
    while at < len(raw):
        key, at = _read_varint(raw, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(raw, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(raw, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise ValueError(f"wire type {kind} is not used")
        if at + size > len(raw):
            raise ValueError("unexpected EOF")
        yield key >> 3, raw[at : at + size]
        at += size


def decode(raw: bytes) -> dict[int, int | bytes]:
    """Fields by number, the last value of each; raises ValueError."""
    return dict(fields(raw))


def number(message: Mapping[int, int | bytes], field_number: int) -> int:
    """A numeric field, 0 when absent."""
    value = message.get(field_number, 0)
    return value if isinstance(value, int) else 0


def content(message: Mapping[int, int | bytes], field_number: int) -> bytes:
    """A text, bytes or message field, empty when absent."""
    value = message.get(field_number, b"")
    return value if isinstance(value, bytes) else b""


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("integer overflow")
    raise ValueError("unexpected EOF")
