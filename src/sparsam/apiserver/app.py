"""The ASGI application: authenticate, authorize, find the handler, turn errors into Status objects."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from sparsam.apiserver import output, routes
from sparsam.apiserver.aggregation.aggregator import Aggregator
from sparsam.apiserver.authentication import Authenticator
from sparsam.apiserver.authorization import Action, Authorizer, require
from sparsam.apiserver.http import (
    JSON,
    TEXT,
    Answer,
    Disconnected,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    StreamReply,
    offered_protocols,
)
from sparsam.apiserver.impersonation import impersonated
from sparsam.apiserver.routes import Route
from sparsam.apiserver.served import Served
from sparsam.apiserver.server import STATE_USER
from sparsam.apiserver.socketstream import EVENTS, Framing, log_framing, serve_stream
from sparsam.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    StatusError,
    Unauthorized,
)
from sparsam.store.interface import StoreUnavailable

log = logging.getLogger(__name__)

RouteHandler = Callable[[Request, Route], Awaitable[Answer]]
SocketHandler = Callable[[Route, Scope, Receive, Send], Awaitable[None]]

NOT_FOUND_PAGE = Reply(b"404 page not found\n", 404, TEXT, [("x-content-type-options", "nosniff")])


class App:
    """Dispatches requests.

    `served` knows what there is, `resources` answers everything below a group and version, but for those groups that
    `aggregator` passes on.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        served: Served,
        aggregator: Aggregator,
        resources: RouteHandler,
        sockets: SocketHandler,
        send_seconds: float,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._served, self._aggregator = served, aggregator
        self._resources = resources
        self._sockets = sockets
        self._send_seconds = send_seconds
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request, scope)
        except Disconnected:
            return
        except Exception as error:
            answer = error_reply(error, request)
        if isinstance(answer, Reply):
            await send_reply(answer, send, pretty="pretty" in request.query and request.flag("pretty"))
        else:
            await self._stream(answer, request, send)

    async def _answer(self, request: Request, scope: Scope) -> Answer:
        state = scope.get("state", {})
        user = await self._authenticator.authenticate(request.header(b"authorization"), state.get(STATE_USER))
        request.user = impersonated(user, request.headers, self._authorizer)
        if not request.path.startswith("/"):
            # `OPTIONS *` and the like: asked of a proxy, or of no resource at all.
            raise BadRequest("the request is not for a path")
        route = routes.parse(request.path, self._served.catalog)
        if route is None:
            return await self._plain_path(request)
        watch = "watch" in request.query and request.flag("watch")
        action = route.action(request.method, watch=watch, query=request.query)
        require(self._authorizer, request.user, action)
        if (backend := self._aggregator.backend_of(request.path)) is not None:
            return await self._aggregator.answer(request, backend)
        if route.resource is None:
            return self._unserved(request.path)
        return await self._resources(request, route)

    async def _plain_path(self, request: Request) -> Answer:
        verb = {"HEAD": "get"}.get(request.method, request.method.lower())
        action = Action(verb=verb, path=request.path)
        require(self._authorizer, request.user, action)
        if (backend := self._aggregator.backend_of(request.path)) is not None:
            return await self._aggregator.answer(request, backend)
        path = request.path.rstrip("/") or "/"
        handler = self._served.paths().get(path)
        if handler is None:
            return self._unserved(path)
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        return await handler(request)

    def _unserved(self, path: str) -> Reply:
        parts = path.split("/")
        if parts[1] == "api" or (parts[1] == "apis" and len(parts) > 2 and parts[2] in self._served.catalog.groups):
            raise not_served()
        return NOT_FOUND_PAGE

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            state = scope.get("state", {})
            user = await self._authenticator.authenticate(
                request.header(b"authorization") or _socket_token(scope), state.get(STATE_USER)
            )
            request.user = impersonated(user, request.headers, self._authorizer)
            catalog = self._served.catalog
            route = routes.parse(request.path, catalog) if request.path.startswith("/") else None
            backend = self._aggregator.backend_of(request.path)
            if route is None or (route.resource is None and backend is None):
                raise not_served()
            watch = not route.subresource and "watch" in request.query and request.flag("watch")
            action = route.action("GET", watch=watch, query=request.query)
            streams = backend is None and (watch or route.subresource == "log")
            if not streams and not watch and route.subresource != "proxy":
                # The handshake is a GET; what comes of it is more than reading.
                action = replace(action, verb="create")
            require(self._authorizer, request.user, action)
            if backend is not None:
                await self._aggregator.websocket(request, backend, scope, receive, send)
            elif streams:
                framing = EVENTS if watch else log_framing(offered_protocols(scope))
                await self._stream_to_socket(request, route, framing, receive, send)
            else:
                await self._sockets(route, scope, receive, send)
        except Exception as error:
            await refuse_socket(error_reply(error, request), send)

    async def _stream_to_socket(
        self, request: Request, route: Route, framing: Framing, receive: Receive, send: Send
    ) -> None:
        answer = await self._resources(request, route)
        if isinstance(answer, Reply):
            await refuse_socket(answer, send)
        else:
            await serve_stream(answer, framing, receive, send, stopping=self.stopping, send_seconds=self._send_seconds)

    async def _stream(self, answer: StreamReply, request: Request, send: Send) -> None:
        await send(_start(answer.status, answer.content_type, answer.headers, None))
        pump = asyncio.ensure_future(self._pump(answer, send))
        ends = [asyncio.ensure_future(request.gone()), asyncio.ensure_future(self.stopping.wait())]
        if answer.until is not None:
            ends.append(asyncio.ensure_future(answer.until.wait()))
        try:
            await asyncio.wait({pump, *ends}, timeout=answer.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            client_left = ends[0].done()
        finally:
            cut_off = await _end_pump(pump)
            for task in ends:
                task.cancel()
        if not client_left and not cut_off:
            await send({"type": "http.response.body", "body": b""})

    async def _pump(self, answer: StreamReply, send: Send) -> None:
        async with contextlib.aclosing(answer.chunks) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(self._send_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _end_pump(pump: asyncio.Future[None]) -> bool:
    """Stop the pump; whether the client must be cut off because it did not read."""
    pump.cancel()
    try:
        await pump
    except asyncio.CancelledError:
        return False
    except TimeoutError:
        log.warning("client stopped reading and was cut off")
        return True
    except Exception:
        log.exception("stream failed")
        return True
    return False


def error_reply(error: Exception, request: Request) -> Reply:
    """The Status for an error; what is not meant for clients goes to the log and nowhere else."""
    if isinstance(error, StoreUnavailable):
        log.error("store unavailable error=%s", error)
        error = ServiceUnavailable("the store is not available")
    if isinstance(error, RecursionError):
        # Only what clients send, or once sent, is nested deeper than our own functions.
        log.warning("nested too deeply method=%s path=%s", request.method, request.path)
        error = BadRequest("exceeded max depth")
    if not isinstance(error, StatusError):
        log.error("request failed method=%s path=%s", request.method, request.path, exc_info=error)
        error = InternalError("Internal error occurred: see the log of the API server", details={})
    return status_reply(error)


def status_reply(error: StatusError) -> Reply:
    """An error as a whole answer."""
    headers = [*error.headers, *output.warning_headers([*error.warnings])]
    if isinstance(error, Unauthorized):
        headers.append(("www-authenticate", "Bearer"))
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        headers.append(("retry-after", str(retry)))
    return Reply(msgspec.json.encode(error.as_json()), error.code, headers=headers)


def not_served() -> NotFound:
    """What upstream says of a path below a known group at which nothing is served."""
    return NotFound("the server could not find the requested resource", details={})


def method_not_allowed() -> MethodNotAllowed:
    """What upstream says of a verb that a resource does not have."""
    return MethodNotAllowed("the server does not allow this method on the requested resource", details={})


def _socket_token(scope: Scope) -> str:
    """A bearer token that a browser sends as a sub-protocol, since it cannot set headers on a WebSocket."""
    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in scope.get("subprotocols", []):
        if protocol.startswith(prefix):
            encoded = protocol.removeprefix(prefix)
            padded = encoded + "=" * (-len(encoded) % 4)
            try:
                return "Bearer " + base64.urlsafe_b64decode(padded).decode("latin-1")
            except binascii.Error:
                raise Unauthorized("Unauthorized") from None
    return ""


async def send_reply(reply: Reply, send: Send, *, pretty: bool = False) -> None:
    """Write a whole answer."""
    body = reply.body
    if pretty and reply.content_type == JSON:
        body = msgspec.json.format(body, indent=2) + b"\n"
    await send(_start(reply.status, reply.content_type, reply.headers, len(body)))
    await send({"type": "http.response.body", "body": body})


async def refuse_socket(reply: Reply, send: Send) -> None:
    """Answer a WebSocket handshake with an ordinary HTTP response."""
    headers = _start(reply.status, reply.content_type, reply.headers, len(reply.body))["headers"]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})


def _start(status: int, content_type: str, headers: list[tuple[str, str]], length: int | None) -> dict[str, object]:
    encoded = [(b"content-type", content_type.encode()), (b"cache-control", b"no-cache, private")]
    if length is not None:
        encoded.append((b"content-length", str(length).encode()))
    encoded += [(key.encode("latin-1"), value.encode("utf-8", "replace")) for key, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}
