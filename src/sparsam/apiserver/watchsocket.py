"""Watches over a WebSocket, one event to a message: the way of Java's Kubernetes client, and of browsers."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from sparsam.apiserver.http import Receive, Send, StreamReply

log = logging.getLogger(__name__)

_GOING_AWAY = 1001


async def serve_watch(
    answer: StreamReply, receive: Receive, send: Send, *, stopping: asyncio.Event, send_seconds: float
) -> None:
    """Accept the WebSocket and send the events until the client leaves, time is up or the server stops."""
    await send({"type": "websocket.accept"})
    pump = asyncio.ensure_future(_pump(answer, send, send_seconds))
    ends = [asyncio.ensure_future(_left(receive)), asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait({pump, *ends}, timeout=answer.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        client_left = ends[0].done()
    finally:
        for task in (pump, *ends):
            task.cancel()
        outcomes = await asyncio.gather(pump, *ends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            log.warning("watch over a WebSocket ended error=%r", outcome)
    if not client_left:
        await send({"type": "websocket.close", "code": _GOING_AWAY if stopping.is_set() else 1000})


async def _pump(answer: StreamReply, send: Send, send_seconds: float) -> None:
    async with contextlib.aclosing(answer.chunks) as chunks:
        async for chunk in chunks:
            for line in chunk.splitlines():
                async with asyncio.timeout(send_seconds):
                    await send({"type": "websocket.send", "text": line.decode()})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
