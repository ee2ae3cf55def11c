"""The application: which path leads where, and who is turned away. Plain ASGI."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from sparsam.agent.config import AgentConfig
from sparsam.agent.machine import read_machine
from sparsam.agent.registry import PodRegistry
from sparsam.agent.server.access import Access
from sparsam.agent.server.cadvisor import cadvisor_metrics
from sparsam.agent.server.disks import Disks
from sparsam.agent.server.groups import NANOSECONDS
from sparsam.agent.server.http import JSON, Query, Receive, Scope, Send, refuse, reply, stream
from sparsam.agent.server.logs import container_log
from sparsam.agent.server.own import OwnFacts, kubelet_metrics, probe_metrics, running_pods, settings
from sparsam.agent.server.streaming import Streaming
from sparsam.agent.server.summary import resource_metrics, summary
from sparsam.agent.server.text import MEDIA_TYPE
from sparsam.agent.server.usage import Sampler
from sparsam.agent.server.websocket import WebSocket
from sparsam.clock import format_time
from sparsam.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    StatusError,
)
from sparsam.metering.exposition import as_json, prometheus
from sparsam.metering.node import Metered, NodeMeter

log = logging.getLogger(__name__)

METERED_FRESH_SECONDS = 2.0
_TYPE = ("kind", "apiVersion")


class App:
    """One node's application."""

    def __init__(
        self, config: AgentConfig, registry: PodRegistry, access: Access, meter: NodeMeter | None = None
    ) -> None:
        self._registry = registry
        self._access = access
        self._meter = meter
        self._streaming = Streaming(config, registry)
        self._sampler = Sampler(config, registry)
        self._disks = Disks(config, registry.driver_usage)
        self._machine = functools.cache(lambda: read_machine(config.data_dir))
        self._config = config
        self._started = datetime.now(UTC)
        self._metrics: dict[str, Callable[[Query], Awaitable[str]]] = {
            "": self._own_metrics,
            "resource": self._resources,
            "cadvisor": self._cadvisor,
            "probes": self._probes,
        }
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
            words = path_words(scope)
            await self._access.admit(scope, "/" + "/".join(words))
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed("405: Method Not Allowed")
            await self._get(words, scope, receive, send)
        except StatusError as error:
            await refuse(send, error)
        except (OSError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("request failed path=%s", scope["path"])
            await refuse(send, InternalError("Internal Server Error"))

    async def _get(self, words: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        query = Query(scope["query_string"])
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
            case ["runningpods"]:
                await reply(send, msgspec.json.encode(running_pods(self._registry.pods_with_runs())), content_type=JSON)
            case ["configz"]:
                await reply(send, msgspec.json.encode(settings(self._config)), content_type=JSON)
            case ["metrics", *kind] if (write := self._metrics.get("/".join(kind))) is not None:
                await reply(send, (await write(query)).encode(), content_type=MEDIA_TYPE)
            case ["power"]:
                await reply(send, msgspec.json.encode(as_json(await self._metered())), content_type=JSON)
            case ["exec" | "attach" | "portForward", *_]:
                raise BadRequest("unable to upgrade: only WebSocket is spoken here")
            case _:
                raise NotFound("404 page not found")

    async def _own_metrics(self, query: Query) -> str:
        """The agent's own, and what was metered."""
        snapshot, runs = await self._sampler.now(), list(self._registry.pods_with_runs())
        agent = snapshot.agent
        facts = OwnFacts(
            node_name=self._config.node_name,
            running_pods=len(snapshot.sandboxes),
            containers=[run for _, found in runs for run in found],
            cpu_seconds=agent.cpu_nanoseconds / NANOSECONDS if agent else 0.0,
            resident_bytes=agent.memory_rss_bytes if agent else 0,
            started_seconds=self._started.timestamp(),
            disks=await self._disks.now([pod for pod, _ in runs]),
            namespaces={pod["metadata"]["uid"]: pod["metadata"]["namespace"] for pod, _ in runs},
        )
        power = "" if self._meter is None else prometheus(await self._metered(), containers=query.flag("containers"))
        return kubelet_metrics(facts) + power

    async def _cadvisor(self, _query: Query) -> str:
        return cadvisor_metrics(self._registry.pods(), await self._sampler.now(), self._machine())

    async def _resources(self, _query: Query) -> str:
        return resource_metrics(self._registry.pods(), await self._sampler.now())

    async def _probes(self, _query: Query) -> str:
        return probe_metrics(self._registry.probe_counts())

    async def _metered(self) -> Metered:
        if self._meter is None:
            raise NotImplementedHere("this node is not metered")
        return await self._meter.meter(METERED_FRESH_SECONDS)

    def _pod_list(self) -> dict[str, Any]:
        items = [{key: value for key, value in pod.items() if key not in _TYPE} for pod in self._registry.pods()]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    async def _summary(self) -> dict[str, Any]:
        older, newer = await self._sampler.pair()
        pods = list(self._registry.pods())
        disks, started = await self._disks.now(pods), format_time(self._started)
        return summary(self._config.node_name, pods, older, newer, started=started, disks=disks)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            words = path_words(scope)
            await self._access.admit(scope, "/" + "/".join(words))
            await self._until_stopped(self._open(socket, words, Query(scope["query_string"])))
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


def path_words(scope: Scope) -> list[str]:
    """The path's segments, decoded."""
    return [unquote(word) for word in scope["raw_path"].decode("latin-1").strip("/").split("/")]
