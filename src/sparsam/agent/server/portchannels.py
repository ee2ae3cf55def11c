"""Port-forward over the channels of one WebSocket: two for each port, data and error, for clients without SPDY.

The first message on each channel is ours: the port as two bytes, low byte first.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from sparsam.agent.server import channels
from sparsam.agent.server.dialing import PodDialer
from sparsam.agent.server.forwarding import Send, forward
from sparsam.agent.server.http import Query
from sparsam.agent.server.websocket import WebSocket
from sparsam.errors import BadRequest

_QUEUED_MESSAGES = 64


def wanted_ports(query: Query) -> list[int]:
    """The ports that a URL asks for; raises BadRequest."""
    texts = [text for value in query.all("port", "ports") for text in value.split(",")]
    if not texts:
        raise BadRequest('query parameter "port" is required')
    ports = []
    for text in texts:
        if not text.isdigit() or not 0 < int(text) < 1 << 16:
            raise BadRequest(f'invalid port "{text}": must be between 1 and 65535')
        ports.append(int(text))
    return ports


class PortChannels:
    """One client's connections, one for each port."""

    def __init__(self, socket: WebSocket, protocol: str, dialer: PodDialer, pod: str) -> None:
        self._socket = socket
        self._protocol = protocol
        self._dialer = dialer
        self._pod = pod

    async def run(self, ports: list[int]) -> None:
        """Serve until every connection has ended, or the client has left."""
        queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(_QUEUED_MESSAGES) for _ in ports]
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await self._socket.send(channels.encode(channel, struct.pack("<H", port)))
        listening = asyncio.ensure_future(self._listen(queues))
        serving = asyncio.ensure_future(self._serve(ports, queues))
        try:
            await asyncio.wait({listening, serving}, return_when=asyncio.FIRST_COMPLETED)
            await self._socket.close()
        finally:
            for task in (listening, serving):
                task.cancel()
            await asyncio.gather(listening, serving, return_exceptions=True)

    async def _serve(self, ports: list[int], queues: list[asyncio.Queue[bytes]]) -> None:
        async with asyncio.TaskGroup() as group:
            for index, port in enumerate(ports):
                group.create_task(self._forward(index, port, queues[index]))

    async def _listen(self, queues: list[asyncio.Queue[bytes]]) -> None:
        async for message in self._socket.messages():
            # The fourth channel of exec is its sizes; here every channel but the last is plain data.
            closing = len(message) == 2 and message[0] == channels.CLOSE and self._protocol == channels.V5
            channel, payload = (message[1], b"") if closing else (message[0] if message else 1, message[1:])
            if channel % 2 == 0 and channel // 2 < len(queues) and (payload or closing):
                await queues[channel // 2].put(payload)

    async def _forward(self, index: int, port: int, queue: asyncio.Queue[bytes]) -> None:
        async def send(payload: bytes) -> None:
            await self._socket.send(channels.encode(2 * index, payload))

        with contextlib.suppress(OSError):
            await self._carry(index, port, queue, send)

    async def _carry(self, index: int, port: int, queue: asyncio.Queue[bytes], send: Send) -> None:
        problem = await forward(self._dialer, port, queue.get, send)
        if problem:
            text = f"error forwarding port {port} to pod {self._pod}: {problem}"
            await self._socket.send(channels.encode(2 * index + 1, text.encode()))
        elif self._protocol == channels.V5:
            await self._socket.send(bytes((channels.CLOSE, 2 * index)))
