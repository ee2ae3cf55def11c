"""Answers that go on, over a WebSocket: the way of Java's Kubernetes client, and of browsers.

A watch has one event to a message. A log is cut where its chunks end, in the sub-protocol that the client asks for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sparsam.apiserver.http import Receive, Send, StreamReply
from sparsam.errors import BadRequest

log = logging.getLogger(__name__)

_GOING_AWAY = 1001


Messages = Callable[[bytes], Iterable[Mapping[str, str | bytes]]]
"""A chunk of an answer as WebSocket messages."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How an answer becomes messages, and what the client calls that."""

    messages: Messages
    protocol: str | None = None


def _lines(chunk: bytes) -> Iterable[Mapping[str, str]]:
    return ({"text": line.decode()} for line in chunk.splitlines())


def _binary(chunk: bytes) -> Iterable[Mapping[str, bytes]]:
    return ({"bytes": chunk},)


def _base64(chunk: bytes) -> Iterable[Mapping[str, str]]:
    return ({"text": base64.b64encode(chunk).decode()},)


EVENTS = Framing(_lines)
_LOG_MESSAGES: dict[str, Messages] = {"binary.k8s.io": _binary, "base64.binary.k8s.io": _base64}


def log_framing(offered: list[str]) -> Framing:
    """What a client wants to read a log in, plain bytes if it does not say; raises BadRequest."""
    if not offered:
        return Framing(_binary)
    protocol = next((each for each in offered if each in _LOG_MESSAGES), None)
    if protocol is None:
        raise BadRequest(f"unable to upgrade: none of {', '.join(_LOG_MESSAGES)} is offered")
    return Framing(_LOG_MESSAGES[protocol], protocol)


async def serve_stream(
    answer: StreamReply,
    framing: Framing,
    receive: Receive,
    send: Send,
    *,
    stopping: asyncio.Event,
    send_seconds: float,
) -> None:
    """Accept the WebSocket and send the answer until it ends, the client leaves, time is up or the server stops."""
    await send({"type": "websocket.accept", "subprotocol": framing.protocol})
    pump = asyncio.ensure_future(_pump(answer, framing, send, send_seconds))
    ends = [asyncio.ensure_future(_left(receive)), asyncio.ensure_future(stopping.wait())]
    if answer.until is not None:
        ends.append(asyncio.ensure_future(answer.until.wait()))
    try:
        await asyncio.wait({pump, *ends}, timeout=answer.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        client_left = ends[0].done()
    finally:
        for task in (pump, *ends):
            task.cancel()
        outcomes = await asyncio.gather(pump, *ends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            log.warning("stream over a WebSocket ended error=%r", outcome)
    if not client_left:
        await send({"type": "websocket.close", "code": _GOING_AWAY if stopping.is_set() else 1000})


async def _pump(answer: StreamReply, framing: Framing, send: Send, send_seconds: float) -> None:
    async with contextlib.aclosing(answer.chunks) as chunks:
        async for chunk in chunks:
            for message in framing.messages(chunk):
                async with asyncio.timeout(send_seconds):
                    await send({"type": "websocket.send", **message})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
