"""Requests and answers of the node's server: as much of HTTP as its few paths need."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from sparsam.errors import BadRequest, StatusError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Query:
    """Parameters of a URL, read as Go's `url.Values` does: the first value counts."""

    def __init__(self, raw: bytes) -> None:
        self._pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)

    def text(self, name: str) -> str:
        """The first value, or an empty string."""
        return next((value for key, value in self._pairs if key == name), "")

    def all(self, *names: str) -> list[str]:
        """Every value of any of the names, in order."""
        return [value for key, value in self._pairs if key in names]

    def flag(self, *names: str) -> bool:
        """Whether any of the names is present and neither false nor 0."""
        return any(value.lower() not in ("false", "0") for value in self.all(*names))

    def number(self, name: str) -> int | None:
        """A whole number, or None when absent; raises BadRequest."""
        text = self.text(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


async def reply(send: Send, body: bytes, *, status: int = 200, content_type: str = TEXT) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: StatusError) -> None:
    """Send an error as a kubelet does: its text, and the code."""
    await reply(send, f"{error.message}\n".encode(), status=error.code)


async def stream(
    receive: Receive, send: Send, chunks: AsyncGenerator[bytes, None], *, content_type: str = TEXT
) -> None:
    """Send chunks as they come; stops asking for more when the client has gone."""
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # An empty part takes the headers onto the wire before the first line of a silent log.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    sending = asyncio.ensure_future(_send_all(send, chunks))
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_all(send: Send, chunks: AsyncGenerator[bytes, None]) -> None:
    async with contextlib.aclosing(chunks) as iterator:
        async for chunk in iterator:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
