"""The application: which path leads where, and who is turned away. Plain ASGI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from sparsam.agent.config import AgentConfig
from sparsam.agent.registry import PodRegistry
from sparsam.agent.server.http import JSON, Query, Receive, Scope, Send, refuse, reply, stream
from sparsam.agent.server.logs import container_log
from sparsam.agent.server.streaming import Streaming
from sparsam.agent.server.summary import resource_metrics, summary
from sparsam.agent.server.usage import Sampler
from sparsam.agent.server.websocket import WebSocket
from sparsam.clock import format_time
from sparsam.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    StatusError,
)
from sparsam.metering.exposition import as_json, prometheus
from sparsam.metering.node import Metered, NodeMeter

log = logging.getLogger(__name__)

STATE_ALLOWED = "allowed"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
METERED_FRESH_SECONDS = 2.0
_TYPE = ("kind", "apiVersion")


class App:
    """One node's application."""

    def __init__(self, config: AgentConfig, registry: PodRegistry, meter: NodeMeter | None = None) -> None:
        self._registry = registry
        self._meter = meter
        self._streaming = Streaming(config, registry)
        self._sampler = Sampler(config, registry)
        self._node_name = config.node_name
        self._started = format_time(datetime.now(UTC))
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End streams, so that the server can."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admit(scope)
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed("405: Method Not Allowed")
            await self._get(scope, receive, send)
        except StatusError as error:
            await refuse(send, error)
        except (OSError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("request failed path=%s", scope["path"])
            await refuse(send, InternalError("Internal Server Error"))

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        words, query = path_words(scope), Query(scope["query_string"])
        match words:
            case ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]:
                await reply(send, b"ok")
            case ["containerLogs", namespace, pod, container]:
                chunks = container_log(self._registry, namespace, pod, container, query)
                await self._until_stopped(stream(receive, send, chunks))
            case ["pods"]:
                await reply(send, msgspec.json.encode(self._pod_list()), content_type=JSON)
            case ["stats", "summary"]:
                await reply(send, msgspec.json.encode(await self._summary()), content_type=JSON)
            case ["metrics", "resource"]:
                text = resource_metrics(self._registry.pods(), await self._sampler.now())
                await reply(send, text.encode(), content_type=METRICS)
            case ["metrics"]:
                text = prometheus(await self._metered(), containers=query.flag("containers"))
                await reply(send, text.encode(), content_type=METRICS)
            case ["power"]:
                await reply(send, msgspec.json.encode(as_json(await self._metered())), content_type=JSON)
            case ["metrics", "cadvisor"]:
                raise NotImplementedHere(
                    "metrics of cAdvisor are not offered; see /metrics/resource and /stats/summary"
                )
            case ["exec" | "attach" | "portForward", *_]:
                raise BadRequest("unable to upgrade: only WebSocket is spoken here")
            case _:
                raise NotFound("404 page not found")

    async def _metered(self) -> Metered:
        if self._meter is None:
            raise NotImplementedHere("this node is not metered")
        return await self._meter.meter(METERED_FRESH_SECONDS)

    def _pod_list(self) -> dict[str, Any]:
        items = [{key: value for key, value in pod.items() if key not in _TYPE} for pod in self._registry.pods()]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    async def _summary(self) -> dict[str, Any]:
        older, newer = await self._sampler.pair()
        return summary(self._node_name, self._registry.pods(), older, newer, started=self._started)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            admit(scope)
            await self._until_stopped(self._open(socket, path_words(scope), Query(scope["query_string"])))
        except StatusError as error:
            await socket.refuse(error)

    async def _open(self, socket: WebSocket, words: list[str], query: Query) -> None:
        match words:
            case ["exec", namespace, pod, container]:
                await self._streaming.exec(socket, namespace, pod, container, query)
            case ["attach", namespace, pod, container]:
                await self._streaming.attach(socket, namespace, pod, container, query)
            case ["portForward", namespace, pod]:
                await self._streaming.port_forward(socket, namespace, pod, query)
            case _:
                raise NotFound("404 page not found")

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do long work; cut it off when the server stops."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)


def admit(scope: Scope) -> None:
    """Let the API server and administrators in; raises Forbidden for all others."""
    if not (scope.get("state") or {}).get(STATE_ALLOWED):
        raise Forbidden("Forbidden")


def path_words(scope: Scope) -> list[str]:
    """The path's segments, decoded."""
    return [unquote(word) for word in scope["raw_path"].decode("latin-1").strip("/").split("/")]
