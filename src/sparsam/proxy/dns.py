"""The DNS wire format, as far as a cluster's DNS server needs it. Pure.

Reads one question with its EDNS options, and writes answers with name compression, cut to the size that the client
can take. Names inside are lower-case tuples of labels, without the root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address

Name = tuple[str, ...]
UDP_SIZE = 512
"""What a client without EDNS can take."""
EDNS_SIZE = 1232
"""What surely passes every link without fragments."""
TCP_SIZE = 65535

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!2HIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_IN, _ANY_CLASS = 1, 255
_POINTER = 0xC0
_MAX_POINTER = 0x3FFF
_MAX_NAME_BYTES = 255
_MAX_LABEL_BYTES = 63
_REFRESH, _RETRY, _EXPIRE = 7200, 1800, 86400


class Type(IntEnum):
    """Record types that this server knows by name."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    ANY = 255


ADDRESS_BYTES: Mapping[int, int] = {Type.A: 4, Type.AAAA: 16}
"""Types of records that hold an address, and its length."""


class Code(IntEnum):
    """Response codes."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class MalformedMessage(ValueError):
    """A message that does not follow the format; `code` and `identifier` say what to answer, if anything."""

    def __init__(self, detail: str, code: Code = Code.FORMAT_ERROR) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and how its asker wants the answer."""

    identifier: int
    flags: int
    name: Name
    type: int
    question: bytes
    """As it stood in the message: clients compare it, letter case included."""
    edns_size: int | None = None
    """Largest answer over UDP that the client takes; None without EDNS."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a service listens: the data of SRV."""

    port: int
    target: Name
    weight: int = 100
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Authority:
    """Who answers for a zone: the data of SOA."""

    server: Name
    mailbox: Name
    serial: int


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of class IN."""

    name: Name
    type: Type
    data: str | Name | Location | Authority
    """Address of A and AAAA, text of TXT, name of CNAME, NS and PTR."""
    ttl: int = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said about a question."""

    code: Code = Code.NO_ERROR
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


def parse_query(message: bytes) -> Query:
    """Read a query; raises MalformedMessage."""
    if len(message) < _HEADER.size:
        raise MalformedMessage("shorter than a header")
    identifier, flags, questions, answers, authorities, extra = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        raise MalformedMessage("an answer, not a query")
    if flags & _OPCODE:
        raise MalformedMessage("an operation other than a query", Code.NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities:
        raise MalformedMessage("a query has exactly one question and no answer")
    name, at = read_name(message, _HEADER.size)
    try:
        kind, record_class = struct.unpack_from("!2H", message, at)
    except struct.error as error:
        raise MalformedMessage("the question is cut off") from error
    if record_class not in (_IN, _ANY_CLASS):
        raise MalformedMessage("a class other than IN", Code.REFUSED)
    at += 4
    if at - _HEADER.size != sum(len(label) + 1 for label in name) + 5:
        raise MalformedMessage("a question cannot be compressed")
    size = _read_edns(message, at, extra)
    return Query(identifier, flags, name, kind, message[_HEADER.size : at], size)


def read_name(message: bytes, at: int) -> tuple[Name, int]:
    """A name and the position after it; raises MalformedMessage."""
    labels: list[str] = []
    end, length = -1, 0
    limit = at
    while True:
        if at >= len(message):
            raise MalformedMessage("a name runs over the end")
        size = message[at]
        if size & _POINTER == _POINTER:
            if at + 1 >= len(message):
                raise MalformedMessage("a pointer is cut off")
            target = (size & ~_POINTER) << 8 | message[at + 1]
            end = at + 2 if end < 0 else end
            if target >= limit:
                raise MalformedMessage("a pointer does not point back")
            at = limit = target
            continue
        if size & _POINTER:
            raise MalformedMessage("an unknown kind of label")
        if not size:
            return tuple(labels), at + 1 if end < 0 else end
        label = message[at + 1 : at + 1 + size]
        length += size + 1
        if len(label) != size or length >= _MAX_NAME_BYTES:
            raise MalformedMessage("a name is too long")
        labels.append(label.lower().decode("latin-1"))
        at += 1 + size


def encode_answer(query: Query, answer: Answer, *, limit: int, authoritative: bool = True) -> bytes:
    """The message for an answer; what does not fit in `limit` bytes is left out and the message marked as cut."""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (query.flags & _RECURSION_DESIRED) | answer.code
    if authoritative:
        flags |= _AUTHORITATIVE
    opt = b"" if query.edns_size is None else b"\0" + _RECORD.pack(Type.OPT, EDNS_SIZE, 0, 0)
    body = bytearray(_HEADER.size)
    body += query.question
    offsets: dict[Name, int] = {query.name[at:]: where for at, where in _question_offsets(query)}
    room = limit - len(opt)
    counts, complete = [0, 0, 0], True
    for section, records in enumerate((answer.answers, answer.authority, answer.additional)):
        if not complete:
            break
        for record in records:
            mark = len(body)
            _write_record(body, record, offsets)
            if len(body) > room:
                del body[mark:]
                # Leaving out the additional section alone is no loss that the client must know of.
                complete = section == 2
                flags |= 0 if complete else _TRUNCATED
                break
            counts[section] += 1
    _HEADER.pack_into(body, 0, query.identifier, flags, 1, counts[0], counts[1], counts[2] + bool(opt))
    return bytes(body + opt)


def encode_query(identifier: int, name: Name, kind: int) -> bytes:
    """A recursive query, for a resolver elsewhere."""
    body = bytearray(_HEADER.pack(identifier, _RECURSION_DESIRED, 1, 0, 0, 0))
    _write_name(body, name, {})
    return bytes(body + struct.pack("!2H", kind, _IN))


def encode_error(message: bytes, code: Code) -> bytes:
    """The shortest answer to a message that could not be read, or b"" if it deserves none."""
    if len(message) < _HEADER.size or message[2] & 0x80:
        return b""
    identifier, flags = struct.unpack_from("!2H", message)
    return _HEADER.pack(identifier, _RESPONSE | flags & (_OPCODE | _RECURSION_DESIRED) | code, 0, 0, 0, 0)


def size_limit(query: Query) -> int:
    """How long an answer over UDP may be."""
    return UDP_SIZE if query.edns_size is None else max(UDP_SIZE, min(query.edns_size, EDNS_SIZE))


def parse_addresses(message: bytes) -> tuple[Record, ...]:
    """The A, AAAA and CNAME records of a resolver's answer; raises MalformedMessage."""
    if len(message) < _HEADER.size:
        raise MalformedMessage("shorter than a header")
    _, _, questions, answers, _, _ = _HEADER.unpack_from(message)
    at = _HEADER.size
    for _ in range(questions):
        at = read_name(message, at)[1] + 4
    records = []
    for _ in range(answers):
        name, at = read_name(message, at)
        kind, ttl, start, end = _record_head(message, at)
        if ADDRESS_BYTES.get(kind) == end - start:
            records.append(Record(name, Type(kind), str(ip_address(message[start:end])), ttl))
        elif kind == Type.CNAME:
            records.append(Record(name, Type.CNAME, read_name(message, start)[0], ttl))
        at = end
    return tuple(records)


def address_record(name: Name, address: str) -> Record:
    """A name's address."""
    return Record(name, Type.AAAA if ":" in address else Type.A, address)


def parse_name(text: str) -> Name:
    """A dotted name."""
    return tuple(label for label in text.lower().rstrip(".").split(".") if label)


def _read_edns(message: bytes, at: int, records: int) -> int | None:
    for _ in range(records):
        _, at = read_name(message, at)
        kind, _, _, end = _record_head(message, at)
        if kind == Type.OPT:
            return int(struct.unpack_from("!H", message, at + 2)[0])
        at = end
    return None


def _record_head(message: bytes, at: int) -> tuple[int, int, int, int]:
    """Type, TTL, and where the data starts and ends."""
    try:
        kind, _, ttl, length = _RECORD.unpack_from(message, at)
    except struct.error as error:
        raise MalformedMessage("a record is cut off") from error
    start = at + _RECORD.size
    if start + length > len(message):
        raise MalformedMessage("a record runs over the end")
    return kind, ttl, start, start + length


def _question_offsets(query: Query) -> Iterable[tuple[int, int]]:
    where = _HEADER.size
    for at, label in enumerate(query.name):
        yield at, where
        where += len(label) + 1


def _write_record(body: bytearray, record: Record, offsets: dict[Name, int]) -> None:
    _write_name(body, record.name, offsets)
    body += _RECORD.pack(record.type, _IN, record.ttl, 0)
    start = len(body)
    match record.data:
        case str(text) if record.type in ADDRESS_BYTES:
            body += ip_address(text).packed
        case str(text):
            body += bytes((len(text),)) + text.encode("ascii")
        case Location(port, target, weight, priority):
            body += struct.pack("!3H", priority, weight, port)
            # A target is never compressed (RFC 2782).
            _write_name(body, target, {})
        case Authority(server, mailbox, serial):
            _write_name(body, server, offsets)
            _write_name(body, mailbox, offsets)
            body += struct.pack("!5I", serial, _REFRESH, _RETRY, _EXPIRE, record.ttl)
        case name:
            _write_name(body, name, offsets)
    struct.pack_into("!H", body, start - 2, len(body) - start)


def _write_name(body: bytearray, name: Name, offsets: dict[Name, int]) -> None:
    for at, label in enumerate(name):
        rest = name[at:]
        where = offsets.get(rest)
        if where is not None:
            body += struct.pack("!H", _POINTER << 8 | where)
            return
        if len(body) <= _MAX_POINTER:
            offsets[rest] = len(body)
        raw = label.encode("latin-1")
        if not 0 < len(raw) <= _MAX_LABEL_BYTES:
            raise ValueError(f"bad label {label!r}")
        body += bytes((len(raw),)) + raw
    body.append(0)
