"""Requests that end at a node agent or inside a pod: logs, exec, attach, port-forward and the proxy subresources."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sparsam.apiserver import statuses
from sparsam.apiserver.agents import AgentLink, Upstream, agent_base, passed_headers
from sparsam.apiserver.app import method_not_allowed, not_served
from sparsam.apiserver.connections import options
from sparsam.apiserver.discovery import subresource_verbs
from sparsam.apiserver.endpoints import at, ready_endpoints
from sparsam.apiserver.http import (
    TEXT,
    Answer,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    StreamReply,
    offered_protocols,
)
from sparsam.apiserver.pods import container_for_logs
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Call
from sparsam.apiserver.rewriting import LinkRewriter, Place, rewrite_link
from sparsam.apiserver.routes import Route
from sparsam.errors import BadRequest, Cause, ServiceUnavailable
from sparsam.objects.kinds import NODES, PODS, SERVICES, Resource
from sparsam.objects.strategy import Obj

STREAMS = ("exec", "attach", "portforward")
PROXIED_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PARTS = frozenset({"log", "proxy", *STREAMS})
SPDY_REFUSAL = (
    "unable to upgrade connection: this server speaks WebSocket (v5.channel.k8s.io) for {part}, not SPDY; "
    "use a client that does too, such as kubectl 1.31 or later"
)

_GZIP = 16 + zlib.MAX_WBITS
_LOG_NUMBERS = ("tailLines", "sinceSeconds", "limitBytes")
_LOG_FLAGS = ("follow", "previous", "timestamps")


Admit = Callable[[Call, str, Obj], Awaitable[tuple[Obj, list[str]]]]


class Proxying:
    """Finds where a request goes, and lets the link carry it there once admission agrees."""

    def __init__(self, reader: StoreReader, link: AgentLink, *, admit: Admit, max_body_bytes: int) -> None:
        self._reader = reader
        self._link = link
        self._admit = admit
        self._max_body_bytes = max_body_bytes

    async def http(self, request: Request, route: Route, resource: Resource) -> Answer:
        """Answer an HTTP request on one of `PARTS`."""
        part = route.subresource
        verbs = subresource_verbs(resource, part)
        if not verbs or (route.rest and part != "proxy"):
            raise not_served()
        if part == "proxy" and request.method in PROXIED_METHODS:
            await self._ask_to_connect(request, route, resource)
            return await self._proxy(request, route, resource)
        if route.verb(request.method, watch=False) not in verbs:
            raise method_not_allowed()
        pod = await self._pod(route)
        if part == "log":
            return await self._log(request, pod)
        # Without an upgrade there is nothing to stream over. SPDY, the other upgrade, is not spoken here.
        _running_on(pod)
        await self._ask_to_connect(request, route, resource)
        raise BadRequest(SPDY_REFUSAL.format(part=part))

    async def websocket(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry a WebSocket for exec, attach and port-forward, or to the server of a pod or Service."""
        request = Request(scope, receive)
        if route.resource is PODS and route.subresource in STREAMS:
            pod = await self._pod(route)
            await self._ask_to_connect(request, route, PODS)
            path = _stream_path(route.subresource, pod, parse_qsl(request.raw_query, keep_blank_values=True))
            upstream, headers = Upstream(f"{await self._agent_of(pod)}{path}"), []
        elif route.resource in (PODS, SERVICES) and route.subresource == "proxy":
            await self._ask_to_connect(request, route, route.resource)
            upstream = await self._proxied(request, route, route.resource)
            headers = passed_headers(request)
        else:
            # Not nodes, whose agents would run commands for whoever may only read through them.
            raise not_served()
        await self._link.websocket(upstream, offered_protocols(scope), receive, send, headers=headers)

    async def _ask_to_connect(self, request: Request, route: Route, resource: Resource) -> None:
        """Let admission have its say; raises StatusError."""
        asked = options(route, resource, parse_qsl(request.raw_query, keep_blank_values=True))
        await self._admit(
            Call(resource, route.namespace, route.name, request.user, route.subresource), "CONNECT", asked
        )

    async def _log(self, request: Request, pod: Obj) -> Answer:
        container = container_for_logs(pod, request.query.get("container", ""))
        parameters = _log_parameters(request)
        if not pod["spec"].get("nodeName"):
            return Reply(b"", content_type=TEXT)
        base = await self._agent_of(pod)
        metadata = pod["metadata"]
        path = f"/containerLogs/{metadata['namespace']}/{metadata['name']}/{container}"
        query = f"?{urlencode(parameters)}" if parameters else ""
        return await self._link.read_stream(Upstream(f"{base}{path}{query}"))

    async def _pod(self, route: Route) -> Obj:
        pod = await self._reader.find(PODS, route.name, route.namespace)
        if pod is None:
            raise statuses.not_found(PODS, route.name)
        return pod

    async def _agent_of(self, pod: Obj) -> str:
        node_name = _running_on(pod)
        node = await self._reader.find(NODES, node_name)
        if node is None:
            raise statuses.not_found(NODES, node_name)
        return agent_base(node)

    async def _proxy(self, request: Request, route: Route, resource: Resource) -> Answer:
        upstream, path = await self._proxied(request, route, resource), _proxied_path(route, request)
        if not path and request.method in ("GET", "HEAD"):
            # Without a slash at the end, links that are relative to a page would lead out of the proxy.
            query = f"?{request.raw_query}" if request.raw_query else ""
            return Reply(b"", 301, TEXT, [("location", f"{request.path}/{query}")])
        body = await request.body(self._max_body_bytes)
        answer = await self._link.stream(upstream, request.method, headers=passed_headers(request), body=body)
        hosts = frozenset((urlsplit(upstream.url).netloc, request.header(b"host")))
        return _through_proxy(answer, Place(request.path.removesuffix(path), hosts))

    async def _proxied(self, request: Request, route: Route, resource: Resource) -> Upstream:
        base = await self._proxied_base(route, resource)
        query = f"?{request.raw_query}" if request.raw_query else ""
        return Upstream(f"{base}{quote(_proxied_path(route, request))}{query}", is_agent=resource is NODES)

    async def _proxied_base(self, route: Route, resource: Resource) -> str:
        """Scheme, address and port of the server behind a proxy subresource."""
        scheme, name, port = _proxy_target(route.name)
        if resource is SERVICES:
            return await self._service_base(name, route.namespace, scheme, port)
        found = await self._reader.find(resource, name, route.namespace)
        if found is None:
            raise statuses.not_found(resource, name)
        return agent_base(found) if resource is NODES else _pod_base(found, scheme, port)

    async def _service_base(self, name: str, namespace: str, scheme: str, port: str) -> str:
        service = await self._reader.find(SERVICES, name, namespace)
        if service is None:
            raise statuses.not_found(SERVICES, name)
        port_name = _service_port(service, port)
        address, at_port = random.choice(await ready_endpoints(self._reader, namespace, name, port_name))
        return f"{scheme or 'http'}://{at(address, at_port)}"


def _running_on(pod: Obj) -> str:
    node_name: str = pod["spec"].get("nodeName", "")
    if not node_name:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    return node_name


def _log_parameters(request: Request) -> dict[str, str]:
    """Parameters that the agent understands; raises Invalid for numbers out of range."""
    parameters = {name: "true" for name in _LOG_FLAGS if name in request.query and request.flag(name)}
    causes = []
    for name in _LOG_NUMBERS:
        text = request.query.get(name)
        if not text:
            continue
        if not text.lstrip("-").isdigit():
            raise statuses.malformed_number(text)
        lowest = 0 if name == "tailLines" else 1
        if int(text) < lowest:
            causes.append(
                Cause("FieldValueInvalid", f"Invalid value: {text}: must be greater than or equal to {lowest}", name)
            )
        parameters[name] = text
    if "sinceTime" in request.query:
        if "sinceSeconds" in request.query:
            detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(Cause("FieldValueForbidden", f"Forbidden: {detail}", "sinceSeconds"))
        parameters["sinceTime"] = request.query["sinceTime"]
    if causes:
        raise statuses.invalid("PodLogOptions", "", causes)
    return parameters


def _stream_path(part: str, pod: Obj, query: list[tuple[str, str]]) -> str:
    metadata = pod["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    parameters = dict(query)
    if part == "portforward":
        ports = urlencode([(key, value) for key, value in query if key == "ports"])
        return f"/portForward/{namespace}/{name}" + (f"?{ports}" if ports else "")
    container = container_for_logs(pod, parameters.get("container", ""))
    passed = [("command", value) for key, value in query if key == "command"]
    if part == "exec" and not passed:
        raise BadRequest("you must specify at least one command for the container")
    streams = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
    passed += [(theirs, "1") for ours, theirs in streams if parameters.get(ours, "false").lower() in ("true", "1")]
    return f"/{part}/{namespace}/{name}/{container}?{urlencode(passed)}"


def _proxy_target(text: str) -> tuple[str, str, str]:
    """Scheme, name and port of `[https:]name[:port]`."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https"):
        return parts[0], parts[1], parts[2]
    if len(parts) > 2:
        raise BadRequest(f'invalid proxy target "{text}"')
    return "", parts[0], parts[1] if len(parts) == 2 else ""


def _proxied_path(route: Route, request: Request) -> str:
    """The path behind the proxy; empty, or with a slash at its end, as the client has it."""
    slash = "/" if request.path.endswith("/") else ""
    return f"/{route.rest}{slash}" if route.rest else slash


def _through_proxy(answer: StreamReply, place: Place) -> StreamReply:
    """An answer whose links lead through the proxy."""
    answer.headers = [
        (key, rewrite_link(value, place) if key.lower() == "location" else value) for key, value in answer.headers
    ]
    named = {key.lower(): value for key, value in answer.headers}
    encoding = named.get("content-encoding", "")
    is_page = answer.content_type.partition(";")[0].strip() == "text/html"
    if is_page and "location" not in named and encoding in ("", "gzip"):
        answer.headers = [each for each in answer.headers if each[0].lower() != "content-encoding"]
        answer.chunks = _rewritten(answer.chunks, LinkRewriter(place), is_packed=bool(encoding))
    return answer


async def _rewritten(
    chunks: AsyncGenerator[bytes, None], rewriter: LinkRewriter, *, is_packed: bool
) -> AsyncGenerator[bytes, None]:
    unpack = zlib.decompressobj(_GZIP).decompress if is_packed else bytes
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            yield rewriter.feed(unpack(chunk))
    yield rewriter.close()


def _pod_base(pod: Obj, scheme: str, port: str) -> str:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise ServiceUnavailable(f"pod {pod['metadata']['name']} does not have an address yet")
    parsed = ip_address(address)
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        # What a pod says of itself must not lead this server to its own machine.
        raise BadRequest("address not allowed")
    if not port:
        ports = [each for one in pod["spec"].get("containers") or [] for each in one.get("ports") or []]
        port = str(ports[0]["containerPort"]) if ports else "80"
    return f"{scheme or 'http'}://{at(address, port)}"


def _service_port(service: Obj, wanted: str) -> str:
    """The name of the port that is meant; raises ServiceUnavailable."""
    ports = service["spec"].get("ports") or []
    for port in ports:
        if (not wanted and len(ports) == 1) or wanted in (port.get("name"), str(port["port"])):
            name: str = port.get("name", "")
            return name
    raise ServiceUnavailable(f'no service port "{wanted}" found for service "{service["metadata"]["name"]}"')
