"""Named pipes without blocking and without threads."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 64 * 1024
_OPEN_SECONDS = 10.0


class FifoReader:
    """The reading end. Make it before the writer opens its own."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._opened = False

    async def read(self) -> bytes:
        """Some bytes, or none at the end."""
        while True:
            # Before a writer has come, reading would already say that this is the end.
            if self._opened:
                try:
                    return os.read(self._fd, READ_BYTES)
                except BlockingIOError:
                    pass
            await _ready(asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader, self._fd)
            self._opened = True

    def close(self) -> None:
        """Close it; twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FifoWriter:
    """The writing end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    async def open(cls, path: Path) -> FifoWriter:
        """Open it once somebody reads; raises TimeoutError when nobody does."""
        async with asyncio.timeout(_OPEN_SECONDS):
            while True:
                try:
                    return cls(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                await asyncio.sleep(0.002)

    async def write(self, data: bytes) -> None:
        """Write everything; waits while the reader is slow. Raises BrokenPipeError when it has gone."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _ready(loop.add_writer, loop.remove_writer, self._fd)

    def close(self) -> None:
        """Close it; twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def _ready(add: Callable[..., object], remove: Callable[[int], object], fd: int) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(fd, _set, waiter)
    try:
        await waiter
    finally:
        remove(fd)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
