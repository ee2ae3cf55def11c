"""An API server that answers nothing but what a test lays down: stands in for metrics adapters."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sparsam.client.api import ApiClient
from sparsam.client.config import ClusterConfig
from tests.support.apiserver import free_port


@dataclass
class LaidDown:
    """Answers by path, and what was asked."""

    client: ApiClient
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[LaidDown]:
    port = free_port()
    async with ApiClient(ClusterConfig(server=f"http://127.0.0.1:{port}")) as client:
        laid_down = LaidDown(client)

        async def answer(request: web.Request) -> web.Response:
            laid_down.asked.append((request.path, dict(request.query)))
            found = laid_down.answers.get(request.path)
            if found is None:
                return web.json_response({"kind": "Status", "reason": "NotFound", "message": "not here"}, status=404)
            return web.json_response(found)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield laid_down
        finally:
            await runner.cleanup()
