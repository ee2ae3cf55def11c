"""SPDY/3.1 framing, as far as port-forward streams need it: bytes in, frames out, frames in, bytes out. No I/O.

Facts are from the SPDY/3.1 draft: frame layouts in section 2.6, header compression with its dictionary in 2.6.10.
Header blocks of each direction share one compressor, so frames must be read and written in order.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from sparsam.agent.server.spdy_dictionary import DICTIONARY

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN, FLAG_UNIDIRECTIONAL = 1, 2
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, UNSUPPORTED_VERSION, CANCEL = 1, 2, 3, 4, 5
SETTINGS_INITIAL_WINDOW = 7

MAX_FRAME_BYTES = 1 << 22
"""Longest frame that is read; streams send 32 KiB at a time."""
MAX_HEADER_BYTES = 1 << 18
_HEAD = struct.Struct(">II")


class SpdyError(Exception):
    """The peer broke the protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class DataFrame:
    """Bytes of a stream; `fin` ends the sender's half."""

    stream: int
    payload: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynStream:
    """A new stream; header names are lower case, values of a repeated name are joined by NUL."""

    stream: int
    headers: dict[str, str]
    fin: bool = False
    unidirectional: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    """A stream is accepted."""

    stream: int
    headers: dict[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    """A stream is ended at once, both halves."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings by id."""

    values: dict[int, int]


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back unchanged."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No more streams, please."""

    last_stream: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    stream: int
    headers: dict[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """Room for more data of a stream (0: of the connection)."""

    stream: int
    delta: int


Frame = DataFrame | SynStream | SynReply | RstStream | Settings | Ping | GoAway | Headers | WindowUpdate


class Encoder:
    """Frames to bytes, in the order in which they are sent."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """A frame's bytes."""
        match frame:
            case DataFrame(stream, payload, fin):
                return _HEAD.pack(stream, _flags(fin) << 24 | len(payload)) + payload
            case SynStream(stream, headers, fin, unidirectional, priority):
                flags = _flags(fin) | (FLAG_UNIDIRECTIONAL if unidirectional else 0)
                body = struct.pack(">IIBB", stream, 0, priority << 5, 0) + self._block(headers)
                return _control(SYN_STREAM, flags, body)
            case SynReply(stream, headers, fin):
                return _control(SYN_REPLY, _flags(fin), struct.pack(">I", stream) + self._block(headers))
            case Headers(stream, headers, fin):
                return _control(HEADERS, _flags(fin), struct.pack(">I", stream) + self._block(headers))
            case RstStream(stream, status):
                return _control(RST_STREAM, 0, struct.pack(">II", stream, status))
            case Settings(values):
                entries = b"".join(struct.pack(">II", key, value) for key, value in values.items())
                return _control(SETTINGS, 0, struct.pack(">I", len(values)) + entries)
            case Ping(id_):
                return _control(PING, 0, struct.pack(">I", id_))
            case GoAway(last_stream, status):
                return _control(GOAWAY, 0, struct.pack(">II", last_stream, status))
            case WindowUpdate(stream, delta):
                return _control(WINDOW_UPDATE, 0, struct.pack(">II", stream, delta))

    def _block(self, headers: dict[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for text in (text for pair in headers.items() for text in pair):
            data = text.encode("latin-1")
            parts += (struct.pack(">I", len(data)), data)
        return self._compressor.compress(b"".join(parts)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames, however the bytes are cut."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that are complete now; raises SpdyError."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _HEAD.size:
            first, second = _HEAD.unpack_from(self._buffer)
            flags, size = second >> 24, second & 0xFFFFFF
            if size > MAX_FRAME_BYTES:
                raise SpdyError(f"frame of {size} bytes")
            if len(self._buffer) < _HEAD.size + size:
                break
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
            del self._buffer[: _HEAD.size + size]
            frame = self._frame(first, flags, body)
            if frame is not None:
                frames.append(frame)
        return frames

    def _frame(self, first: int, flags: int, body: bytes) -> Frame | None:
        if not first >> 31:
            return DataFrame(first, body, bool(flags & FLAG_FIN))
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"version {version}")
        try:
            return self._control(kind, flags, body)
        except (struct.error, zlib.error) as error:
            raise SpdyError(f"malformed frame of type {kind}: {error}") from error

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & FLAG_FIN)
        match kind:
            case 1:
                stream, _, priority, _ = struct.unpack_from(">IIBB", body)
                headers = self._headers(body[10:])
                return SynStream(_id(stream), headers, fin, bool(flags & FLAG_UNIDIRECTIONAL), priority >> 5)
            case 2:
                return SynReply(_id(*struct.unpack_from(">I", body)), self._headers(body[4:]), fin)
            case 8:
                return Headers(_id(*struct.unpack_from(">I", body)), self._headers(body[4:]), fin)
            case 4:
                (count,) = struct.unpack_from(">I", body)
                pairs = struct.iter_unpack(">II", body[4 : 4 + 8 * min(count, len(body))])
                return Settings({key & 0xFFFFFF: value for key, value in pairs})
            case 6:
                return Ping(*struct.unpack_from(">I", body))
            case 3:
                stream, status = struct.unpack_from(">II", body)
                return RstStream(_id(stream), status)
            case 7:
                stream, status = struct.unpack_from(">II", body)
                return GoAway(_id(stream), status)
            case 9:
                stream, delta = struct.unpack_from(">II", body)
                return WindowUpdate(_id(stream), delta & 0x7FFFFFFF)
            case _:
                # Unknown control frames are to be ignored.
                return None

    def _headers(self, block: bytes) -> dict[str, str]:
        data = self._decompressor.decompress(block, MAX_HEADER_BYTES)
        if self._decompressor.unconsumed_tail:
            raise SpdyError("header block is too long")
        (count,), at = struct.unpack_from(">I", data), 4
        headers: dict[str, str] = {}
        for _ in range(count):
            name, at = _text(data, at)
            value, at = _text(data, at)
            headers[name.lower()] = value
        return headers


def _text(data: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">I", data, at)
    end = at + 4 + size
    if end > len(data):
        raise SpdyError("header block is cut short")
    return data[at + 4 : end].decode("latin-1"), end


def _id(word: int) -> int:
    return word & 0x7FFFFFFF


def _flags(fin: bool) -> int:
    return FLAG_FIN if fin else 0


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return _HEAD.pack(1 << 31 | VERSION << 16 | kind, flags << 24 | len(body)) + body
