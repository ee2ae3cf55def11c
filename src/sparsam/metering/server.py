"""What a meter outside of our own node agent serves: `/metrics` for Prometheus, `/power` for people, `/healthz`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sparsam.metering.exposition import as_json, prometheus
from sparsam.metering.node import NodeMeter

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

METRICS = "text/plain; version=0.0.4; charset=utf-8"
FRESH_SECONDS = 2.0


class MeterApp:
    """The ASGI application of one node's meter; it only reads."""

    def __init__(self, meter: NodeMeter, *, containers: bool = False) -> None:
        self._meter = meter
        self._containers = containers

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a GET."""
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _reply(send, 405, b"405 method not allowed\n")
            return
        match scope["path"]:
            case "/metrics":
                text = prometheus(await self._meter.meter(FRESH_SECONDS), containers=self._containers)
                await _reply(send, 200, text.encode(), METRICS)
            case "/power":
                body = msgspec.json.encode(as_json(await self._meter.meter(FRESH_SECONDS)))
                await _reply(send, 200, body, "application/json")
            case "/healthz":
                await _reply(send, 200, b"ok\n")
            case _:
                await _reply(send, 404, b"404 page not found\n")


async def _reply(send: Send, status: int, body: bytes, content_type: str = "text/plain") -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
