"""The node's server, wired together: TLS with a client certificate or none, uvicorn, the application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto_zttp_impl import AutoZttpProtocol

from sparsam.agent.config import AgentConfig
from sparsam.agent.registry import PodRegistry
from sparsam.agent.server.access import STATE_CALLER, Access
from sparsam.agent.server.app import App
from sparsam.agent.server.identity import caller_of
from sparsam.client.api import ApiClient
from sparsam.metering.node import NodeMeter
from sparsam.serving.embedded import EmbeddedServer
from sparsam.serving.handshake import WebSocketProtocol

log = logging.getLogger(__name__)

_SHUTDOWN_SECONDS = 2
FOLLOW_SECONDS = 10.0
"""How often the files of the serving certificate are looked at."""
_KEEP_ALIVE_SECONDS = 600


async def serve(
    config: AgentConfig, registry: PodRegistry, meter: NodeMeter | None = None, client: ApiClient | None = None
) -> None:
    """Serve a node's pods until cancelled; the client asks the API server who may come in."""
    listener = bind(config.node_ip, config.port)
    app = App(config, registry, Access(config.node_name, client), meter)
    context = tls_context(config)
    server = EmbeddedServer(_settings(app, config, context))
    log.info("node server up node=%s address=%s:%d", config.node_name, config.node_ip, config.port)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    following = asyncio.create_task(follow_certificate(context, config), name="serving certificate")
    try:
        await asyncio.shield(serving)
    finally:
        following.cancel()
        app.stop()
        server.stop()
        await serving


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def tls_context(config: AgentConfig) -> ssl.SSLContext:
    """TLS 1.2 and up; a certificate has to be of our authority, without one a token may say who is there."""
    if config.serving_cert is None or config.serving_key is None or config.ca is None:
        raise ValueError("the node's server needs serving_cert, serving_key and ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.serving_cert, config.serving_key)
    context.load_verify_locations(config.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


async def follow_certificate(context: ssl.SSLContext, config: AgentConfig) -> None:
    """Serve with the certificate that is in the file by now: whoever rotates it writes it there."""
    seen = _written(config)
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        now = _written(config)
        if now == seen:
            continue
        try:
            tls_context(config)  # a pair that does not fit (yet) must not spoil what is in use
            context.load_cert_chain(config.serving_cert or "", config.serving_key)
        except OSError as error:  # an SSLError is an OSError
            log.warning("new serving certificate not taken file=%s error=%s", config.serving_cert, error)
            continue
        seen = now
        log.info("serving certificate rotated file=%s", config.serving_cert)


def _written(config: AgentConfig) -> list[int]:
    times = []
    for path in (config.serving_cert, config.serving_key):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime_ns if path is not None else 0)
    return times


class _CertificateProtocol(AutoZttpProtocol):
    """Tells the application whom the client's certificate names."""

    def connection_made(self, transport: Any) -> None:
        ssl_object = transport.get_extra_info("ssl_object")
        certificate = ssl_object.getpeercert() if ssl_object is not None else None
        self.app_state = {STATE_CALLER: caller_of((certificate or {}).get("subject"))}
        super().connection_made(transport)


def _settings(app: App, config: AgentConfig, context: ssl.SSLContext) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_CertificateProtocol,
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=32 << 20,
        ws_ping_interval=None,
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        # The context factory below decides on TLS alone; uvicorn only needs to be told that there is some.
        ssl_certfile=config.serving_cert,
        ssl_context_factory=lambda _config, _default: context,
    )
