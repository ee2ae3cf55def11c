"""A component's metrics and health over plain HTTP, on an address of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from sparsam.serving.embedded import EmbeddedServer

SHUTDOWN_SECONDS = 1
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Scope = dict[str, Any]


class Pages:
    """An ASGI application: /metrics as `metrics` gives them, and health."""

    def __init__(self, metrics: Callable[[], str]) -> None:
        self._metrics = metrics

    async def __call__(
        self, scope: Scope, _receive: Callable[[], Awaitable[Scope]], send: Callable[[Scope], Awaitable[None]]
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, body = 200, b"ok\n"
        if scope["path"] == "/metrics":
            body = self._metrics().encode()
        elif scope["path"] not in ("/healthz", "/livez", "/readyz"):
            status, body = 404, b"404 page not found\n"
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", METRICS_TYPE)]})
        await send({"type": "http.response.body", "body": body})


async def serve_pages(address: tuple[str, int], metrics: Callable[[], str]) -> None:
    """Serve until cancelled; raises OSError when the address cannot be had."""
    settings: Scope = {"lifespan": "off", "log_config": None, "log_level": "warning", "access_log": False}
    with socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as listener:
        config = uvicorn.Config(
            Pages(metrics), interface="asgi3", timeout_graceful_shutdown=SHUTDOWN_SECONDS, **settings
        )
        server = EmbeddedServer(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.stop()
            await serving
