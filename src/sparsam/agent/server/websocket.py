"""A WebSocket as handlers see it: binary messages in, binary messages out, one orderly end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from sparsam.agent.server.http import TEXT, Receive, Scope, Send
from sparsam.errors import StatusError


class WebSocket:
    """One connection, before and after its handshake."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.protocols: list[str] = list(scope.get("subprotocols") or ())

    async def refuse(self, error: StatusError) -> None:
        """Answer the handshake with an error instead."""
        headers = [(b"content-type", TEXT.encode())]
        await self._send({"type": "websocket.http.response.start", "status": error.code, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": f"{error.message}\n".encode()})

    async def accept(self, protocol: str) -> None:
        """Complete the handshake."""
        await self._receive()
        await self._send({"type": "websocket.accept", "subprotocol": protocol})

    async def messages(self) -> AsyncIterator[bytes]:
        """The client's messages until it leaves."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            yield data if data is not None else (message.get("text") or "").encode()

    async def send(self, data: bytes) -> None:
        """Send a message; waits while the client is slow. Raises OSError when it has gone."""
        await self._send({"type": "websocket.send", "bytes": data})

    async def close(self) -> None:
        """End the connection in good order; one that is gone already is fine."""
        with contextlib.suppress(OSError):
            await self._send({"type": "websocket.close", "code": 1000})
