"""Exec and attach through the engine's own streaming server: messages carried one by one, as they are.

Any CRI engine offers this. One without v5 cannot end stdin before the command ends; that wish is dropped then.
"""

from __future__ import annotations

import asyncio

import aiohttp

from sparsam.agent.server import channels
from sparsam.agent.server.websocket import WebSocket
from sparsam.errors import SparsamError

_CONNECT_SECONDS = 10.0


class StreamingFailed(SparsamError):
    """The engine's streaming server did not take the connection."""


async def bridge(socket: WebSocket, protocol: str, url: str) -> None:
    """Carry messages between a client and an engine's streaming address until one of them leaves.

    Raises StreamingFailed. The address is good for one handshake only, so both protocols are offered at once.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            engine = await session.ws_connect(url, protocols=channels.PROTOCOLS, max_msg_size=0)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StreamingFailed(f"engine's streaming server: {error}") from error
        async with engine:
            await _carry(socket, protocol, engine)


async def _carry(socket: WebSocket, protocol: str, engine: aiohttp.ClientWebSocketResponse) -> None:
    tasks = {
        asyncio.ensure_future(_to_engine(socket, protocol, engine)),
        asyncio.ensure_future(_to_client(socket, engine)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await socket.close()
    except (OSError, aiohttp.ClientError):
        # One side broke off; the other is closed on the way out.
        return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _to_engine(socket: WebSocket, protocol: str, engine: aiohttp.ClientWebSocketResponse) -> None:
    async for message in socket.messages():
        closing = isinstance(channels.decode(message, protocol), channels.Closed)
        if not closing or engine.protocol == channels.V5:
            await engine.send_bytes(message)


async def _to_client(socket: WebSocket, engine: aiohttp.ClientWebSocketResponse) -> None:
    async for message in engine:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send(message.data)
