import asyncio
import contextlib
import socket

import aiohttp
import pytest

from sparsam.serving.pages import serve_pages
from tests.support.apiserver import free_port


async def test_metrics_and_health_are_served_until_cancelled():
    port = free_port()
    task = asyncio.create_task(serve_pages(("127.0.0.1", port), lambda: "up 1\n"))
    async with aiohttp.ClientSession() as session:

        async def page(path):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        return answer.status, await answer.text()
                await asyncio.sleep(0.01)

        assert await page("/metrics") == (200, "up 1\n")
        assert await page("/healthz") == (200, "ok\n")
        assert (await page("/secrets"))[0] == 404
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_an_address_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        await serve_pages(other.getsockname(), lambda: "")
