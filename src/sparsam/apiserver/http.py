"""A request as handlers see it, and the two shapes of an answer: all there is between ASGI and the handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from sparsam.apiserver.authentication import ANONYMOUS, User
from sparsam.errors import RequestEntityTooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON = "application/json"
YAML = "application/yaml"
TEXT = "text/plain; charset=utf-8"


class Disconnected(Exception):
    """The client went away before its request was complete."""


@dataclass(slots=True)
class Reply:
    """A whole answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class StreamReply:
    """An answer in chunks. The server closes the iterator when the client leaves, time is up or it shuts down."""

    chunks: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    timeout_seconds: float | None = None
    until: asyncio.Event | None = None
    """Ends the stream when set: what it tells of is not served any more."""


Answer = Reply | StreamReply
PathHandler = Callable[["Request"], Awaitable[Answer]]


class Request:
    """One HTTP request."""

    __slots__ = ("_receive", "headers", "method", "path", "query", "raw_query", "user")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.headers: Headers = scope["headers"]
        self.raw_query: str = scope["query_string"].decode("latin-1")
        self.query: dict[str, str] = parse_query(self.raw_query) if self.raw_query else {}
        self.user: User = ANONYMOUS
        self._receive = receive

    def header(self, name: bytes) -> str:
        """The first value of a header (lower-case name), or an empty string."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    def flag(self, name: str) -> bool:
        """A boolean parameter as upstream reads it: present counts as true unless it says false or 0."""
        return self.query.get(name, "false").lower() not in ("false", "0")

    async def body(self, limit: int) -> bytes:
        """The whole body; raises RequestEntityTooLarge beyond `limit` and Disconnected."""
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            if len(whole) > limit:
                raise _too_large(limit)
            return whole
        return await self._rest(message, limit)

    async def _rest(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        parts = bytearray()
        while True:
            if message["type"] != "http.request":
                raise Disconnected
            parts += message.get("body", b"")
            if len(parts) > limit:
                raise _too_large(limit)
            if not message.get("more_body"):
                return bytes(parts)
            message = await self._receive()

    async def gone(self) -> None:
        """Return once the client has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def parse_query(raw: str) -> dict[str, str]:
    """Parameters by name, the first value of each, as Go's url.Values.Get gives it."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        query.setdefault(name, value)
    return query


def offered_protocols(scope: Scope) -> list[str]:
    """The sub-protocols that a WebSocket's client would speak, without the token that may be among them."""
    return [each for each in scope.get("subprotocols") or () if not each.startswith("base64url.bearer.")]


def _too_large(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"limit is {limit}")
