"""The way to the node agents: logs, exec, attach and port-forward are theirs; this only carries bytes.

HTTP answers are streamed through. WebSockets are carried message by message, with the sub-protocol that the agent
chose among those of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sparsam.apiserver.http import TEXT, Receive, Request, Send, StreamReply
from sparsam.errors import BadRequest, InternalError, NotFound, ServiceUnavailable, StatusError
from sparsam.objects.strategy import Obj

DEFAULT_AGENT_PORT = 10250
CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
ERROR_BODY_BYTES = 50_000
MESSAGE_BYTES = 32 * 1024 * 1024

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "authorization",
    }
)
Headers = Iterable[tuple[str, str]]
_OURS = frozenset({"content-type", "cache-control", "date"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where to carry a request."""

    url: str
    is_agent: bool = True
    """Whether it is a node agent, which knows us by our certificate, or a pod's own server, which must not see it."""
    tls: ssl.SSLContext | None = None
    """Whom to trust and what to show, for a server that is neither."""
    name: str | None = None
    """The name that such a server's certificate must carry."""


class AgentLink:
    """Connections to node agents and pods."""

    def __init__(self, pki_dir: Path) -> None:
        self._pki_dir = pki_dir
        self._session: aiohttp.ClientSession | None = None
        self._agent_tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()

    async def stream(
        self, upstream: Upstream, method: str = "GET", *, headers: Headers = (), body: bytes = b""
    ) -> StreamReply:
        """The upstream's answer as it comes, whatever its status; raises ServiceUnavailable when nobody answers."""
        answer = await self._request(upstream, method, headers, body)
        kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP | _OURS]
        content_type = answer.headers.get("content-type", TEXT)
        return StreamReply(_body(answer), answer.status, content_type, kept)

    async def read_stream(self, upstream: Upstream) -> StreamReply:
        """A successful answer as it comes; an agent's refusal becomes our own error."""
        answer = await self._request(upstream, "GET", (), b"")
        if not 200 <= answer.status <= 206:
            text = (await answer.content.read(ERROR_BODY_BYTES)).decode("utf-8", "replace").strip()
            answer.close()
            raise refusal(answer.status, text)
        return StreamReply(_body(answer), content_type=answer.headers.get("content-type", TEXT))

    async def read(self, upstream: Upstream) -> bytes:
        """A whole successful answer; an agent's refusal becomes our own error."""
        return b"".join([chunk async for chunk in (await self.read_stream(upstream)).chunks])

    async def websocket(
        self,
        upstream: Upstream,
        protocols: list[str],
        receive: Receive,
        send: Send,
        *,
        headers: Headers,
    ) -> None:
        """Carry a WebSocket until one side ends it; raises StatusError while the handshake can still be refused."""
        session, tls = self._open(), self._tls(upstream)
        try:
            socket = await session.ws_connect(
                upstream.url,
                protocols=protocols,
                headers=[(key, value) for key, value in headers if not key.startswith("sec-websocket-")],
                ssl=tls,
                server_hostname=upstream.name,
                max_msg_size=MESSAGE_BYTES,
                autoclose=True,
                timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise refusal(error.status, error.message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error
        async with socket:
            await send({"type": "websocket.accept", "subprotocol": socket.protocol})
            await _carry(socket, receive, send)

    async def _request(self, upstream: Upstream, method: str, headers: Headers, body: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._open().request(
                method,
                upstream.url,
                headers=list(headers),
                data=body or None,
                ssl=self._tls(upstream),
                server_hostname=upstream.name,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                timeout=timeout, auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
            )
        return self._session

    def _tls(self, upstream: Upstream) -> ssl.SSLContext | bool:
        if upstream.tls is not None:
            return upstream.tls
        if not upstream.is_agent:
            # Who signs for a pod's own server is not known here; as upstream, nobody is asked to.
            return False
        if self._agent_tls is None:
            context = ssl.create_default_context(cafile=str(self._pki_dir / "ca.crt"))
            context.load_cert_chain(self._pki_dir / "kubelet-client.crt", self._pki_dir / "kubelet-client.key")
            self._agent_tls = context
        return self._agent_tls


def agent_base(node: Obj) -> str:
    """`https://ADDRESS:PORT` of a node's agent; raises when the node has not said where it is."""
    status = node.get("status") or {}
    addresses: list[dict[str, str]] = status.get("addresses") or []
    by_type = {address["type"]: address["address"] for address in reversed(addresses)}
    host = by_type.get("InternalIP") or by_type.get("Hostname") or by_type.get("ExternalIP")
    if not host:
        raise InternalError(f"no preferred addresses found; known addresses: {list(by_type.values())}", details={})
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or DEFAULT_AGENT_PORT
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def passed_headers(request: Request) -> list[tuple[str, str]]:
    """A client's headers as they may go on to somebody else's server."""
    decoded = ((key.decode("latin-1"), value.decode("latin-1")) for key, value in request.headers)
    return [(key, value) for key, value in decoded if key not in _HOP_BY_HOP and not key.startswith("impersonate-")]


def refusal(status: int, text: str) -> StatusError:
    """An agent's refusal as ours."""
    if status == 400:
        return BadRequest(text)
    if status == 404:
        return NotFound(text or "the server could not find the requested resource", details={})
    return InternalError(f"Internal error occurred: {text}", details={"causes": [{"message": text}]})


def _unreachable(error: BaseException) -> StatusError:
    return ServiceUnavailable(f"error trying to reach service: {error or type(error).__name__}")


async def _body(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except aiohttp.ClientError:
        # The far side broke off: what came so far is all there is.
        return
    finally:
        answer.close()


async def _carry(socket: aiohttp.ClientWebSocketResponse, receive: Receive, send: Send) -> None:
    upward = asyncio.ensure_future(_to_agent(socket, receive))
    downward = asyncio.ensure_future(_to_client(socket, send))
    try:
        await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (upward, downward):
            task.cancel()
        await asyncio.gather(upward, downward, return_exceptions=True)


async def _to_agent(socket: aiohttp.ClientWebSocketResponse, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message["type"] != "websocket.receive":
            continue
        if message.get("bytes") is not None:
            await socket.send_bytes(message["bytes"])
        else:
            await socket.send_str(message["text"])


async def _to_client(socket: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in socket:
        part: dict[str, Any] = {"type": "websocket.send"}
        if message.type is aiohttp.WSMsgType.BINARY:
            part["bytes"] = message.data
        elif message.type is aiohttp.WSMsgType.TEXT:
            part["text"] = message.data
        else:
            break
        await send(part)
    with contextlib.suppress(RuntimeError):
        await send({"type": "websocket.close", "code": socket.close_code or 1000})
