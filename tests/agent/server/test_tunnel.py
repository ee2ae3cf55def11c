"""Forwarded connections through a tunnel, with pods that are servers of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sparsam.agent.server import spdy
from sparsam.agent.server.dialing import Connection, DialFailed
from sparsam.agent.server.tunnel import Tunnel

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ERROR, DATA = 1, 3


class Dialer:
    """Connects to one server of this process; port 9 answers nothing."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self, port: int) -> Connection:
        if port == 9:
            raise DialFailed("nobody there")
        return await asyncio.open_connection("127.0.0.1", self._port)


class Client:
    """Both ends of a WebSocket in memory: frames in, frames out."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self.frames: list[spdy.Frame] = []

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._incoming.get()) is not None:
            yield message

    async def send(self, data: bytes) -> None:
        await self._outgoing.put(data)

    def say(self, *frames: spdy.Frame) -> None:
        for frame in frames:
            self._incoming.put_nowait(self._encoder.encode(frame))

    def say_raw(self, data: bytes) -> None:
        self._incoming.put_nowait(data)

    def leave(self) -> None:
        self._incoming.put_nowait(None)

    def open(self, port: int = 80, number: int = ERROR) -> None:
        headers = {"port": str(port), "requestid": str(number)}
        self.say(spdy.SynStream(number, {**headers, "streamtype": "error"}, fin=True))
        self.say(spdy.SynStream(number + 2, {**headers, "streamtype": "data"}))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.frames += self._decoder.feed(await self._outgoing.get())

    async def until_frame(self, frame: spdy.Frame) -> None:
        await self.until(lambda: frame in self.frames)

    def text(self, stream: int = DATA) -> bytes:
        return b"".join(f.payload for f in self.frames if isinstance(f, spdy.DataFrame) and f.stream == stream)


@contextlib.asynccontextmanager
async def tunnel(serve: Serve) -> AsyncIterator[Client]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client: Any = Client()
    dialer: Any = Dialer(server.sockets[0].getsockname()[1])
    task = asyncio.create_task(Tunnel(client, dialer, "web_default").run())
    try:
        yield client
        client.leave()
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once the client has said everything."""
    writer.write(await reader.read())
    writer.close()


async def test_a_client_ends_its_half_and_still_gets_the_answer():
    async with tunnel(echo) as client:
        client.open()
        client.say(spdy.DataFrame(DATA, b"one "), spdy.DataFrame(DATA, b"two", fin=True))
        await client.until_frame(spdy.DataFrame(DATA, b"", fin=True))
        assert client.text() == b"one two"
        assert client.frames[:2] == [spdy.SynReply(ERROR), spdy.SynReply(DATA)]
        assert spdy.DataFrame(ERROR, b"", fin=True) in client.frames


async def test_the_error_stream_says_why_a_connection_failed_and_the_tunnel_goes_on():
    async with tunnel(echo) as client:
        client.open(port=9)
        await client.until_frame(spdy.DataFrame(DATA, b"", fin=True))
        assert client.text(ERROR) == b"error forwarding port 9 to pod web_default: nobody there"
        client.open(number=5)
        client.say(spdy.DataFrame(7, b"again", fin=True))
        await client.until_frame(spdy.DataFrame(7, b"", fin=True))
        assert client.text(7) == b"again"


async def test_a_reset_cuts_the_connection_to_the_pod():
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    async with tunnel(serve) as client:
        client.open()
        await client.until(lambda: client.text() == b"here")
        client.say(spdy.RstStream(DATA, spdy.CANCEL))
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_client_that_leaves_cuts_all_connections():
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    async with tunnel(serve) as client:
        client.open()
        await client.until(lambda: client.text() == b"here")
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_pod_that_closes_early_does_not_stop_others_while_input_still_comes():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with tunnel(serve) as client:
        client.open()
        for _ in range(300):
            client.say(spdy.DataFrame(DATA, b"x" * 1000))
        client.say(spdy.Ping(1))
        await client.until_frame(spdy.Ping(1))


async def test_broken_frames_end_the_tunnel_with_a_farewell():
    async with tunnel(echo) as client:
        client.say_raw(b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01")
        await client.until_frame(spdy.GoAway(0, spdy.PROTOCOL_ERROR))
