"""The wire: TLS sockets, uvicorn with zttp, and the client's certificate handed to the application.

uvicorn does not put the peer certificate into the ASGI scope; a small subclass of its protocol does, once for
each connection. The application stays plain ASGI, so that another server can take uvicorn's place.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.protocols.http.zttp_impl import ZttpProtocol

from sparsam.apiserver.authentication import user_of_subject
from sparsam.apiserver.config import ApiServerConfig
from sparsam.serving.embedded import EmbeddedServer
from sparsam.serving.handshake import WebSocketProtocol

KEEP_ALIVE_SECONDS = 600
STATE_USER = "certificate_user"


class CertificateProtocol(ZttpProtocol):
    """HTTP/1.1 that tells the application who the client's certificate names."""

    def connection_made(self, transport: Any) -> None:
        """Read the certificate before anything is asked."""
        ssl_object = transport.get_extra_info("ssl_object")
        certificate = ssl_object.getpeercert() if ssl_object is not None else None
        user = user_of_subject(certificate.get("subject")) if certificate else None
        self.app_state = {STATE_USER: user}
        super().connection_made(transport)

    def handle_events(self, event: Any) -> None:
        """Refuse a path that is not ASCII, on which uvicorn drops the connection."""
        try:
            super().handle_events(event)
        except UnicodeDecodeError:
            self.handle_remote_protocol_error()


def make_server(app: Any, config: ApiServerConfig) -> EmbeddedServer:
    """A server for `app`; start it with `serve(sockets=bind(config))`."""
    settings = uvicorn.Config(
        app,
        http=CertificateProtocol,
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=32 * 1024 * 1024,
        ws_ping_interval=None,
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # At its info level uvicorn writes down the whole address of a WebSocket: what people type after `exec`.
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(config.shutdown_seconds)),
        # The context factory below decides on TLS alone; uvicorn only needs to be told that there is some.
        ssl_certfile=config.pki_dir / "apiserver.crt",
        ssl_context_factory=lambda _config, _default: tls_context(config),
    )
    return EmbeddedServer(settings)


def tls_context(config: ApiServerConfig) -> ssl.SSLContext:
    """TLS 1.2 and up, client certificates of our own authority optional: a token may stand in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.pki_dir / "apiserver.crt", config.pki_dir / "apiserver.key")
    context.load_verify_locations(config.pki_dir / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def bind(addresses: tuple[tuple[str, int], ...]) -> list[socket.socket]:
    """Listening sockets, all or none; raises OSError."""
    sockets: list[socket.socket] = []
    try:
        for host, port in addresses:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            # asyncio turns Nagle's delay off only where the protocol is named.
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.set_inheritable(False)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


async def serve(server: EmbeddedServer, sockets: list[socket.socket], *, before_stop: asyncio.Event) -> None:
    """Serve until cancelled; then set `before_stop`, so that watches end by themselves, and drain."""
    serving = asyncio.ensure_future(server.serve(sockets=sockets))
    try:
        await asyncio.shield(serving)
    finally:
        before_stop.set()
        server.stop()
        await serving
