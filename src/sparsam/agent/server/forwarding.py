"""Carries the bytes between one forwarded connection and a pod's port, whatever protocol the client speaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sparsam.agent.server.dialing import Connection, DialFailed, PodDialer, reason

READ_BYTES = 32 * 1024

Receive = Callable[[], Awaitable[bytes]]
Send = Callable[[bytes], Awaitable[None]]


async def forward(dialer: PodDialer, port: int, receive: Receive, send: Send) -> str:
    """Connect and carry until the pod ends the connection; returns what went wrong, or an empty string.

    `receive` gives no bytes at the end of the client's half; the pod then reads the end too and may still answer.
    """
    try:
        connection = await dialer.connect(port)
    except DialFailed as error:
        return str(error)
    upward = asyncio.ensure_future(_upward(connection, receive))
    try:
        return await _downward(connection, send)
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)
        writer = connection[1]
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _upward(connection: Connection, receive: Receive) -> None:
    writer = connection[1]
    with contextlib.suppress(OSError):
        while data := await receive():
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _downward(connection: Connection, send: Send) -> str:
    reader = connection[0]
    while True:
        try:
            data = await reader.read(READ_BYTES)
        except OSError as error:
            return f"read from the pod: {reason(error)}"
        if not data:
            return ""
        await send(data)
