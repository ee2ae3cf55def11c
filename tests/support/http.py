"""A small HTTP client for tests of servers: a callable that gives status code and decoded body."""

import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.support.apiserver import RunningServer


class Http:
    """A client that is somebody."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.headers: Any = {}

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        data: Any = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("content-type", "application/json")
            data = io.BytesIO(data)
        async with self.session.request(method, self.server.url + path, data=data, headers=sent) as answer:
            raw = await answer.read()
            self.headers = answer.headers
            try:
                return answer.status, json.loads(raw)
            except ValueError:
                return answer.status, raw.decode()

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator["Events"]:
        async with self.session.get(self.server.url + path) as answer:
            assert answer.status == 200, await answer.text()
            yield Events(answer)


class Events:
    """The lines of a watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._content = answer.content

    async def next(self) -> dict[str, Any]:
        line = await self._content.readline()
        return json.loads(line) if line else {}

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Types and names of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


@contextlib.asynccontextmanager
async def http_client(server: RunningServer, identity: str | None = "admin") -> AsyncIterator[Http]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.tls(identity), limit=0)) as session:
        yield Http(server, session)
