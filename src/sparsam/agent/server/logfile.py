"""Reads container logs in CRI format: `<time> <stdout|stderr> <F|P> <text>`, over rotated parts, from any start.

Where to begin is found without reading what comes before: lines are counted from the end, times are bisected.
A `P` line is a part of a longer one and has no line end of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sparsam.agent.logfiles import rotated_files

BLOCK_BYTES = 64 * 1024
FOLLOW_SECONDS = 0.1
"""How often a followed log is looked at; nobody looks when nobody follows."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log is wanted, and how."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: bytes | None = None
    """`stdout` or `stderr` alone; None is both."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one of the parts of a log."""

    path: Path
    offset: int


async def read_log(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """The wanted text in chunks; a followed log ends when `ended` says that nobody writes any more."""
    formatter = Formatter(options)
    async for block in _blocks(path, options, ended):
        text = formatter.feed(block)
        if text:
            yield text
        if formatter.full:
            return
        # A long log is read from memory without ever waiting: others get their turn here.
        await asyncio.sleep(0)


async def _blocks(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    position = start(path, options)
    file = _open(position.path)
    while file is None and options.follow and not ended():
        await asyncio.sleep(FOLLOW_SECONDS)
        file = _open(path)
    while file is not None:
        with file:
            file.seek(position.offset)
            async for block in _part(file, path, options.follow, ended):
                yield block
            following = _next_part(file, path)
        position = Position(following or path, 0)
        file = _open(following) if following else None


async def _part(file: BinaryIO, path: Path, follow: bool, ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Blocks of one part until its end; of the part being written as long as it is."""
    while True:
        # Asked before the read: what was written before the end is then surely read after it.
        last = not follow or ended() or not _is_current(file, path)
        block = file.read(BLOCK_BYTES)
        if block:
            yield block
        elif last:
            return
        else:
            await asyncio.sleep(FOLLOW_SECONDS)


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return None


def _is_current(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def parts(path: Path) -> list[Path]:
    """All parts of a log, oldest first."""
    return [*rotated_files(path), *([path] if path.exists() else [])]


def _next_part(file: BinaryIO, path: Path) -> Path | None:
    """The part after the one that is open; rotation renames parts, so they are known by inode."""
    here, known = os.fstat(file.fileno()), parts(path)
    for index, part in enumerate(known):
        try:
            if os.path.samestat(here, part.stat()):
                return known[index + 1] if index + 1 < len(known) else None
        except FileNotFoundError:
            continue
    # Removed in the meantime as the oldest: everything that is left is newer.
    return known[0] if known else None


def start(path: Path, options: LogOptions) -> Position:
    """Where to begin reading."""
    known = parts(path)
    if not known:
        return Position(path, 0)
    first = Position(known[0], 0)
    if options.since is not None:
        first = since_position(known, options.since)
    if options.tail_lines is not None:
        last = tail_position(known, options.tail_lines, options.stream)
        first = max(first, last, key=lambda position: (known.index(position.path), position.offset))
    return first


def tail_position(known: list[Path], lines: int, stream: bytes | None = None) -> Position:
    """Where the last `lines` lines begin, counted backwards from the end."""
    wanted = lines
    for part in reversed(known):
        with part.open("rb") as file:
            offset, wanted = _count_back(file, wanted, stream)
        if offset is not None:
            return Position(part, offset)
    return Position(known[0], 0)


def _count_back(file: BinaryIO, wanted: int, stream: bytes | None) -> tuple[int | None, int]:
    """Offset after which `wanted` whole lines follow, or None and how many are still missing."""
    end = file.seek(0, os.SEEK_END)
    rest, at_end = b"", True
    while end > 0:
        begin = max(0, end - BLOCK_BYTES)
        file.seek(begin)
        block = file.read(end - begin) + rest
        # The first line of a block may have begun before it: it waits for the block before.
        cut = block.find(b"\n") + 1 if begin else 0
        offset = begin + len(block)
        for line in reversed(block[cut:].splitlines(keepends=True)):
            if counts(line, stream) or (at_end and not line.endswith(b"\n")):
                if wanted == 0:
                    return offset, 0
                wanted -= 1
            at_end = False
            offset -= len(line)
        rest, end = block[:cut], begin
    return None, wanted


def counts(line: bytes, stream: bytes | None) -> bool:
    """Whether a raw line ends a line of the wanted stream."""
    fields = line.split(b" ", 3)
    return len(fields) > 2 and fields[2][:1] == b"F" and stream in (None, fields[1])


def since_position(known: list[Path], since: datetime) -> Position:
    """Where lines as young as `since` begin."""
    for index, part in enumerate(known):
        with part.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            offset = _bisect(file, size, since)
        if offset < size or index == len(known) - 1:
            return Position(part, offset)
    return Position(known[-1], 0)


def _bisect(file: BinaryIO, size: int, since: datetime) -> int:
    """The offset of the first line that is not older."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        begin, line = _line_from(file, middle)
        if begin >= high or not line:
            # No line begins between the middle and the upper bound: one before it is the answer.
            begin, line = _line_from(file, low)
            if begin >= high or not line or _not_older(line, since):
                return low if line and _not_older(line, since) else high
            low = begin + len(line)
        elif _not_older(line, since):
            high = begin if begin > low else low
        else:
            low = begin + len(line)
    return low


def _line_from(file: BinaryIO, offset: int) -> tuple[int, bytes]:
    """The first line that begins at or after an offset."""
    if offset == 0:
        file.seek(0)
        return 0, file.readline()
    file.seek(offset - 1)
    begin = offset - 1 + len(file.readline())
    return begin, file.readline()


def _not_older(line: bytes, since: datetime) -> bool:
    try:
        return parse_stamp(line.split(b" ", 1)[0].decode()) >= since
    except ValueError:
        return True


def parse_stamp(text: str) -> datetime:
    """A log's time, to the microsecond; raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Formatter:
    """Turns raw lines into what a client reads. Bytes in, bytes out."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._rest = b""
        self._inside: set[bytes] = set()
        self._left = options.limit_bytes

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    def feed(self, block: bytes) -> bytes:
        """The text of all lines that are complete now, up to the limit."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        text = b"".join(map(self._line, lines))
        if self._left is None:
            return text
        text = text[: self._left]
        self._left -= len(text)
        return text

    def _line(self, line: bytes) -> bytes:
        fields = line.split(b" ", 3)
        if len(fields) < 3 or self._options.stream not in (None, fields[1]):
            return b""
        stamp, stream, tag = fields[:3]
        text = fields[3] if len(fields) == 4 else b""
        if self._options.timestamps and stream not in self._inside:
            text = fixed_stamp(stamp) + b" " + text
        if tag[:1] == b"P":
            self._inside.add(stream)
            return text
        self._inside.discard(stream)
        return text + b"\n"


def fixed_stamp(stamp: bytes) -> bytes:
    """A time with nine digits of its second, as upstream prints it."""
    whole, dot, fraction = stamp.partition(b".")
    digits = fraction.rstrip(b"Z") if fraction.endswith(b"Z") else fraction[: _zone(fraction)]
    if not dot:
        cut = -1 if whole.endswith(b"Z") else len(whole) - 6
        return whole[:cut] + b".000000000" + whole[cut:]
    return whole + b"." + digits[:9].ljust(9, b"0") + fraction[len(digits) :]


def _zone(fraction: bytes) -> int:
    """Where the zone begins in what follows the dot."""
    return next((at for at, byte in enumerate(fraction) if byte not in b"0123456789"), len(fraction))
