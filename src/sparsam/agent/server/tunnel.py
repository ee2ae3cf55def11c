"""Port-forward as kubectl tunnels it: SPDY/3.1 inside the messages of one WebSocket.

Each forwarded connection is a pair of streams with one `requestID`: `error`, on which only we write, and `data`.
There is no flow control by windows: the peer, like upstream's library on both ends, neither heeds nor sends window
updates. Queues of bounded length take its place: a full one stops the reading of the whole connection.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from sparsam.agent.server import spdy
from sparsam.agent.server.dialing import PodDialer
from sparsam.agent.server.forwarding import forward
from sparsam.agent.server.websocket import WebSocket

log = logging.getLogger(__name__)

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_MAX_STREAMS = 2000
_QUEUED_FRAMES = 64


@dataclass(slots=True)
class _Stream:
    """One stream; `queue` ends with no bytes."""

    id: int
    queue: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(_QUEUED_FRAMES))
    ended: bool = False
    """Whether the client's half is."""


@dataclass(slots=True)
class _Request:
    """The two streams of a forwarded connection."""

    port: int
    data: _Stream | None = None
    error: _Stream | None = None
    task: asyncio.Task[None] | None = None


class Tunnel:
    """One client's tunnel, with all its forwarded connections."""

    def __init__(self, socket: WebSocket, dialer: PodDialer, pod: str) -> None:
        self._socket = socket
        self._dialer = dialer
        self._pod = pod
        self._decoder = spdy.Decoder()
        self._encoder = spdy.Encoder()
        self._streams: dict[int, _Stream] = {}
        self._requests: dict[str, _Request] = {}

    async def run(self) -> None:
        """Serve until the client leaves or breaks the protocol."""
        async with asyncio.TaskGroup() as group:
            try:
                await self._read(group)
            except OSError:
                # The client has gone; there is nobody to tell.
                return
            finally:
                for request in self._requests.values():
                    if request.task is not None:
                        request.task.cancel()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        try:
            async for message in self._socket.messages():
                for frame in self._decoder.feed(message):
                    await self._handle(frame, group)
        except spdy.SpdyError as error:
            log.info("port-forward ended by a protocol error pod=%s error=%s", self._pod, error)
            await self._send(spdy.GoAway(max(self._streams, default=0), spdy.PROTOCOL_ERROR))

    async def _handle(self, frame: spdy.Frame, group: asyncio.TaskGroup) -> None:
        match frame:
            case spdy.SynStream():
                await self._open(frame, group)
            case spdy.DataFrame(stream, payload, fin):
                await self._take(stream, payload, fin)
            case spdy.RstStream(stream):
                self._reset(stream)
            case spdy.Ping(number) if number % 2:
                await self._send(frame)
            case _:
                # Settings and window updates concern a flow control that is not used; a farewell needs no answer.
                return

    async def _open(self, frame: spdy.SynStream, group: asyncio.TaskGroup) -> None:
        port, kind = _port(frame.headers.get("port", "")), frame.headers.get("streamtype", "")
        # Old clients send no id: their data stream comes right after its error stream.
        default_id = str(frame.stream - (2 if kind == "data" else 0))
        key = frame.headers.get("requestid") or default_id
        request = self._requests.get(key) or _Request(port)
        taken = request.data if kind == "data" else request.error
        if (
            not port
            or kind not in ("data", "error")
            or taken is not None
            or frame.stream in self._streams
            or len(self._streams) >= _MAX_STREAMS
        ):
            await self._send(spdy.RstStream(frame.stream, spdy.REFUSED_STREAM))
            return
        stream = _Stream(frame.stream)
        self._streams[frame.stream] = stream
        self._requests[key] = request
        if kind == "data":
            request.data = stream
        else:
            request.error = stream
        await self._send(spdy.SynReply(frame.stream))
        if frame.fin:
            await self._take(frame.stream, b"", True)
        if request.data is not None and request.error is not None:
            request.task = group.create_task(self._forward(key, request, request.data, request.error))

    async def _take(self, number: int, payload: bytes, fin: bool) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.ended:
            # It ended on our side a moment ago; what was on its way is dropped.
            return
        if payload:
            await stream.queue.put(payload)
        if fin:
            stream.ended = True
            await stream.queue.put(b"")

    def _reset(self, number: int) -> None:
        for request in self._requests.values():
            numbers = (request.data.id if request.data else 0, request.error.id if request.error else 0)
            if number in numbers and request.task is not None:
                request.task.cancel()
                return

    async def _forward(self, key: str, request: _Request, data: _Stream, error: _Stream) -> None:
        async def send(payload: bytes) -> None:
            await self._send(spdy.DataFrame(data.id, payload))

        try:
            problem = await forward(self._dialer, request.port, data.queue.get, send)
            if problem:
                text = f"error forwarding port {request.port} to pod {self._pod}: {problem}"
                await self._send(spdy.DataFrame(error.id, text.encode()))
            await self._send(spdy.DataFrame(error.id, b"", fin=True))
            await self._send(spdy.DataFrame(data.id, b"", fin=True))
        except OSError:
            # The client has gone; the reading end notices too.
            return
        finally:
            self._requests.pop(key, None)
            self._drop(data)
            self._drop(error)

    def _drop(self, stream: _Stream) -> None:
        """Forget a stream; a reader that waits for room in its queue may go on."""
        self._streams.pop(stream.id, None)
        stream.ended = True
        while not stream.queue.empty():
            stream.queue.get_nowait()

    async def _send(self, frame: spdy.Frame) -> None:
        await self._socket.send(self._encoder.encode(frame))


def _port(text: str) -> int:
    """A port number, or 0 for what is none."""
    return int(text) if text.isdigit() and len(text) < 6 and int(text) < 1 << 16 else 0
