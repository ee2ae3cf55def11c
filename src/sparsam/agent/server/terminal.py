"""The client's end of exec and attach: input, output and sizes over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from sparsam.agent.server import channels
from sparsam.agent.server.websocket import WebSocket

_BUFFER_BYTES = 1 << 20
_PROBE_SECONDS = 1.0
_FIRST_SIZE_SECONDS = 0.1


class Terminal:
    """Input is buffered to a bound, so that a client's leave is noticed while the command reads nothing."""

    def __init__(self, socket: WebSocket, protocol: str) -> None:
        self._socket = socket
        self._protocol = protocol
        self._input: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._size: channels.Resized | None = None
        self._sized = asyncio.Event()

    async def listen(self) -> None:
        """Receive until the client has gone."""
        async for message in self._socket.messages():
            event = channels.decode(message, self._protocol)
            if isinstance(event, channels.Resized):
                self._size = event
                self._sized.set()
            elif isinstance(event, channels.Closed) and event.channel == channels.STDIN:
                self._ended = True
                self._changed.set()
            elif isinstance(event, channels.Data) and event.channel == channels.STDIN and event.payload:
                await self._take(event.payload)

    async def _take(self, data: bytes) -> None:
        if self._ended:
            return
        self._input.append(data)
        self._buffered += len(data)
        self._changed.set()
        while self._buffered > _BUFFER_BYTES:
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), _PROBE_SECONDS)
            except TimeoutError:
                # Nothing is received meanwhile, not even a leave; sending nothing finds out.
                await self.write(channels.STDOUT, b"")

    async def read(self) -> bytes:
        """Some input, or none at its end."""
        while not self._input:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._input.popleft()
        self._buffered -= len(data)
        self._room.set()
        return data

    async def first_size(self) -> channels.Resized | None:
        """The size that a client with a terminal sends right away; None when it does not."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._sized.wait(), _FIRST_SIZE_SECONDS)
        return self._size

    async def resized(self) -> channels.Resized:
        """The newest size that was not asked for yet."""
        await self._sized.wait()
        self._sized.clear()
        assert self._size is not None
        return self._size

    async def write(self, channel: int, data: bytes) -> None:
        """Send output."""
        await self._socket.send(channels.encode(channel, data))
