"""WebSocket handshakes that let through kubectl's `SPDY/3.1+portforward.k8s.io`.

RFC 6455 wants the names of sub-protocols to be tokens, without a slash; the websockets library answers 400 to others.
uvicorn chooses the sub-protocol by what the application says, so the library need not look at them at all.
"""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.server import ServerProtocol


class _AnySubprotocol(ServerProtocol):
    def process_subprotocol(self, headers: Headers) -> None:
        """Leave the choice to the application."""


_NOT_A_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with such a handshake; without extensions."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _AnySubprotocol(max_size=config.ws_max_size, logger=logging.getLogger("uvicorn.error"))

    def data_received(self, data: bytes) -> None:
        """Take bytes; what can be no handshake is refused at once, where uvicorn would leave the client waiting."""
        if not self.handshake_initiated and not data.startswith(b"GET "):
            self._refuse()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse()

    def _refuse(self) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(_NOT_A_HANDSHAKE)
        self.transport.close()

    async def send(self, message: Any) -> None:
        """Send a part of an answer; a refusal that is complete completes the handshake, which uvicorn misses."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True
