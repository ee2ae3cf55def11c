"""Exec and attach through the engine's own streaming server: messages carried one by one, as they are.

Any CRI engine offers this. One without v5 cannot end stdin before the command ends; that wish is dropped then. To
attach, input may go over a connection of its own: closing that one ends the input, whatever the engine speaks.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp

from sparsam.agent.server import channels
from sparsam.agent.server.websocket import WebSocket
from sparsam.errors import SparsamError

_CONNECT_SECONDS = 10.0

Engine = aiohttp.ClientWebSocketResponse


class StreamingFailed(SparsamError):
    """The engine's streaming server did not take the connection."""


async def bridge(socket: WebSocket, protocol: str, url: str, input_url: str = "") -> None:
    """Carry messages between a client and an engine's streaming address until one of them leaves.

    With `input_url` stdin goes there alone. Raises StreamingFailed. An address is good for one handshake only, so
    both protocols are offered at once.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, contextlib.AsyncExitStack() as stack:
        try:
            engine = await stack.enter_async_context(_connect(session, url))
            feed = await stack.enter_async_context(_connect(session, input_url)) if input_url else None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StreamingFailed(f"engine's streaming server: {error}") from error
        await _carry(socket, protocol, engine, feed)


def _connect(session: aiohttp.ClientSession, url: str) -> contextlib.AbstractAsyncContextManager[Engine]:
    return session.ws_connect(url, protocols=channels.WITH_STATUS, max_msg_size=0)


async def _carry(socket: WebSocket, protocol: str, engine: Engine, feed: Engine | None) -> None:
    upward = _to_engine(socket, protocol, engine) if feed is None else _feed(socket, protocol, engine, feed)
    tasks = {asyncio.ensure_future(upward), asyncio.ensure_future(_to_client(socket, protocol, engine))}
    draining = asyncio.ensure_future(_drain(feed)) if feed is not None else None
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await socket.close()
    except (OSError, aiohttp.ClientError):
        # One side broke off; the other is closed on the way out.
        return
    finally:
        every = [*tasks, *([draining] if draining is not None else [])]
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)


async def _to_engine(socket: WebSocket, protocol: str, engine: Engine) -> None:
    async for message in socket.messages():
        closing = isinstance(channels.decode(message, protocol), channels.Closed)
        if not closing or engine.protocol == channels.V5:
            await engine.send_bytes(message)


async def _feed(socket: WebSocket, protocol: str, engine: Engine, feed: Engine) -> None:
    """Input to its own connection, which ends with it; the rest to the other. Returns when the client has gone."""
    async for message in socket.messages():
        match channels.decode(message, protocol):
            case channels.Closed(channels.STDIN):
                await feed.close()
            case channels.Data(channels.STDIN):
                if not feed.closed:
                    with contextlib.suppress(OSError, aiohttp.ClientError):
                        await feed.send_bytes(message)
            case _:
                await engine.send_bytes(message)


async def _drain(feed: Engine) -> None:
    """Read what the engine says on the input's connection: nothing of interest, but pings want answers."""
    with contextlib.suppress(OSError, aiohttp.ClientError):
        async for _ in feed:
            pass


async def _to_client(socket: WebSocket, protocol: str, engine: Engine) -> None:
    async for message in engine:
        if message.type is aiohttp.WSMsgType.BINARY:
            said = channels.from_engine(message.data, protocol)
            if said is not None:
                await socket.send(said)
