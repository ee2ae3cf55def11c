"""Requests for groups that other servers answer for: passed on to them with the name of who asks.

The servers behind know this one by its front-proxy certificate, and believe what it says of the user. Whether one is
available is found out elsewhere (`availability`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sparsam.apiserver import outward
from sparsam.apiserver.agents import AgentLink, Upstream, passed_headers
from sparsam.apiserver.aggregation.apiservices import (
    AGGREGATOR,
    Backend,
    Documents,
    RemoteVersion,
    backend_of,
    by_priority,
    identity_headers,
)
from sparsam.apiserver.endpoints import at, resolve
from sparsam.apiserver.http import TEXT, Answer, Receive, Reply, Request, Scope, Send, offered_protocols
from sparsam.apiserver.mirror import Mirror
from sparsam.apiserver.reader import StoreReader
from sparsam.errors import ServiceUnavailable, StatusError, Timeout
from sparsam.objects.kinds import APISERVICES
from sparsam.store.interface import Store

UNAVAILABLE = Reply(b"service unavailable\n", 503, TEXT, [("x-content-type-options", "nosniff")])
ANSWER_SECONDS = 60.0
"""Until an answer begins, upstream's limit for requests; how long it goes on then is the client's affair."""
_OPENAPI = "/openapi/v3"


def _nothing() -> None:
    """Nobody listens yet."""


class Aggregator:
    """Knows which servers there are; calls `changed` when discovery may have to say something else."""

    def __init__(self, store: Store, link: AgentLink, pki_dir: Path, *, max_body_bytes: int) -> None:
        self.mirror = Mirror(store, APISERVICES, self._read)
        self._reader, self._link = StoreReader(store), link
        self._certificate = pki_dir / "front-proxy-client.crt"
        self._max_body_bytes = max_body_bytes
        self.changed: Callable[[], None] = _nothing
        self.woken = asyncio.Event()
        """Set when there are other APIServices than before; who waits for it clears it."""
        self._backends: dict[tuple[str, str], Backend] = {}
        self._documents: dict[str, Documents] = {}
        self._trust: dict[tuple[str, bool], ssl.SSLContext] = {}

    def remote_versions(self) -> list[RemoteVersion]:
        """What other servers serve, for discovery."""
        return [
            RemoteVersion(each.group, each.version, self._documents.get(each.name) if each.available else None)
            for each in by_priority(self._backends.values())
        ]

    def openapi_urls(self) -> dict[str, str]:
        """The OpenAPI documents of other servers, by their path in the index."""
        available = {each.name for each in self._backends.values() if each.available}
        known = (each.openapi for name, each in self._documents.items() if name in available)
        return {path: url for urls in known for path, url in urls.items()}

    def learn(self, name: str, documents: Documents) -> None:
        """Remember what the server of an APIService says of itself."""
        if documents != self._documents.get(name):
            self._documents[name] = documents
            self.changed()

    def backend_of(self, path: str) -> Backend | None:
        """The server that answers for a path; None when this one does."""
        if not self._backends:
            return None
        parts = path.removeprefix(_OPENAPI).split("/", 4)
        return self._backends.get((parts[2], parts[3])) if len(parts) > 3 and parts[1] == "apis" else None

    async def answer(self, request: Request, backend: Backend) -> Answer:
        """Pass a request on."""
        if not backend.available:
            return UNAVAILABLE
        body = await request.body(self._max_body_bytes)
        query = f"?{request.raw_query}" if request.raw_query else ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                upstream = await self.upstream(backend, quote(request.path) + query)
                return await self._link.stream(upstream, request.method, headers=self._headers(request), body=body)
        except TimeoutError:
            raise Timeout("Timeout: request did not complete within the allotted timeout", details={}) from None
        except ServiceUnavailable as error:
            return Reply(f"{error.message}\n".encode(), 503, TEXT)
        except StatusError:
            return UNAVAILABLE

    async def websocket(self, request: Request, backend: Backend, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry a WebSocket; raises StatusError."""
        if not backend.available:
            raise ServiceUnavailable("service unavailable")
        query = f"?{request.raw_query}" if request.raw_query else ""
        upstream = await self.upstream(backend, quote(request.path) + query)
        await self._link.websocket(upstream, offered_protocols(scope), receive, send, headers=self._headers(request))

    async def upstream(self, backend: Backend, path: str) -> Upstream:
        """Where a path of a server is reached; raises StatusError."""
        host, port = await resolve(self._reader, backend.namespace, backend.service, backend.port)
        try:
            tls = self._tls(backend)
        except (ValueError, OSError) as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from None
        return Upstream(f"https://{at(host, port)}{path}", is_agent=False, tls=tls, name=backend.server_name)

    async def read(self, backend: Backend, path: str, most_bytes: int) -> bytes:
        """A whole document of a server; raises StatusError, and ValueError for what is no success."""
        upstream = await self.upstream(backend, path)
        headers = [*identity_headers(AGGREGATOR), ("accept", "application/json"), ("accept-encoding", "identity")]
        answer = await self._link.stream(upstream, headers=headers)
        parts = bytearray()
        async with contextlib.aclosing(answer.chunks) as chunks:
            if not 200 <= answer.status < 300:
                raise ValueError(f"bad status from {upstream.url}: {answer.status}")
            async for chunk in chunks:
                parts += chunk
                if len(parts) > most_bytes:
                    raise ValueError(f"the answer is longer than {most_bytes} bytes")
        return bytes(parts)

    def _tls(self, backend: Backend) -> ssl.SSLContext:
        key = backend.ca_bundle, backend.is_verified
        if key not in self._trust:
            context = outward.identified(backend.ca_bundle, self._certificate, verify=backend.is_verified)
            self._trust[key] = context
        return self._trust[key]

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        kept = [(key, value) for key, value in passed_headers(request) if not key.startswith("x-remote-")]
        return [*kept, *identity_headers(request.user)]

    def _read(self) -> None:
        self.woken.set()
        found = {each.name: each for api in self.mirror.objects.values() if (each := backend_of(api)) is not None}
        backends = {(each.group, each.version): each for each in found.values()}
        if backends == self._backends:
            return
        self._backends = backends
        self._documents = {name: each for name, each in self._documents.items() if name in found}
        trusted = {(each.ca_bundle, each.is_verified) for each in found.values()}
        self._trust = {key: context for key, context in self._trust.items() if key in trusted}
        self.changed()
