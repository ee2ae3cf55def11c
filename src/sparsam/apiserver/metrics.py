"""The metrics API (`metrics.k8s.io`): what nodes and pods use, asked of the node agents when somebody asks us.

Nothing is collected while nobody looks. The first answer about a node takes two looks a second apart; later ones
reckon from the look before, at most `STALE_SECONDS` old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from sparsam.apiserver import output, statuses
from sparsam.apiserver.agents import AgentLink, Upstream, agent_base
from sparsam.apiserver.app import method_not_allowed
from sparsam.apiserver.http import Answer, Request
from sparsam.apiserver.media import negotiate
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.routes import Route
from sparsam.apiserver.usage import Look, node_metrics, parse, pod_metrics
from sparsam.clock import Clock
from sparsam.errors import StatusError
from sparsam.objects.kinds import NODES, POD_METRICS, PODS, Resource
from sparsam.objects.selectors import parse_label_selector
from sparsam.objects.strategy import Obj

log = logging.getLogger(__name__)

GROUP = "metrics.k8s.io"
FRESH_SECONDS = 5.0
"""Askers within this time share one look."""
STALE_SECONDS = 90.0
"""A rate over longer than this says little about now."""
FIRST_WINDOW_SECONDS = 1.2
"""Above the second within which an agent repeats itself."""
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two looks at one node, and when (on our own clock, since a node's may differ) we took the newer."""

    older: Look
    newer: Look
    taken_seconds: float


class Metrics:
    """Answers get and list of NodeMetrics and PodMetrics."""

    def __init__(self, reader: StoreReader, link: AgentLink, clock: Clock) -> None:
        self._reader = reader
        self._link = link
        self._clock = clock
        self._pairs: dict[str, Pair] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def __call__(self, request: Request, route: Route, resource: Resource) -> Answer:
        """Answer a request on the group."""
        media = negotiate(request.header(b"accept"))
        watch = "watch" in request.query and request.flag("watch")
        if route.subresource or route.verb(request.method, watch=watch) not in resource.verbs:
            raise method_not_allowed()
        of_pods = resource is POD_METRICS
        if route.name:
            return output.virtual_one(resource, await self._one(resource, route, of_pods=of_pods), media)
        found = await (self._pods(route.namespace) if of_pods else self._nodes())
        labels = parse_label_selector(request.query.get("labelSelector", ""))
        chosen = [obj for obj in found if labels.matches(obj["metadata"].get("labels") or {})]
        return output.virtual_list(resource, chosen, media)

    async def _one(self, resource: Resource, route: Route, *, of_pods: bool) -> Obj:
        subject = await self._reader.find(PODS if of_pods else NODES, route.name, route.namespace)
        metrics = None
        if subject is not None:
            node = subject["spec"].get("nodeName", "") if of_pods else route.name
            pair = (await self._look_at([node])).get(node)
            if pair:
                metrics = (pod_metrics if of_pods else node_metrics)(subject, pair.older, pair.newer)
        if metrics is None:
            raise statuses.not_found(resource, route.name)
        return metrics

    async def _nodes(self) -> list[Obj]:
        nodes = {node["metadata"]["name"]: node for node in await self._reader.items(NODES)}
        pairs = await self._look_at(nodes)
        found = (node_metrics(nodes[name], pair.older, pair.newer) for name, pair in pairs.items())
        return [metrics for metrics in found if metrics]

    async def _pods(self, namespace: str) -> list[Obj]:
        pods = [pod for pod in await self._reader.items(PODS, namespace) if pod["spec"].get("nodeName")]
        pairs = await self._look_at(pod["spec"]["nodeName"] for pod in pods)
        known = ((pod, pairs[pod["spec"]["nodeName"]]) for pod in pods if pod["spec"]["nodeName"] in pairs)
        found = (pod_metrics(pod, pair.older, pair.newer) for pod, pair in known)
        return [metrics for metrics in found if metrics]

    async def _look_at(self, names: Iterable[str]) -> dict[str, Pair]:
        """Two looks at each node that answers."""
        distinct = sorted(set(names) - {""})
        pairs = await asyncio.gather(*(self._pair(name) for name in distinct))
        return {name: pair for name, pair in zip(distinct, pairs, strict=True) if pair}

    async def _pair(self, name: str) -> Pair | None:
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._pairs.pop(name, None)
            age_seconds = self._clock.monotonic() - known.taken_seconds if known else STALE_SECONDS
            if known is None or age_seconds > FRESH_SECONDS:
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        known = await self._next_pair(name, known if age_seconds < STALE_SECONDS else None)
                except (StatusError, TimeoutError) as error:
                    log.warning("no metrics of node=%s error=%s", name, error or "timeout")
                    return None
            self._pairs[name] = known
            return known

    async def _next_pair(self, name: str, known: Pair | None) -> Pair:
        if known:
            older = known.newer
        else:
            older = await self._ask(name)
            await self._clock.sleep(FIRST_WINDOW_SECONDS)
        return Pair(older, await self._ask(name), self._clock.monotonic())

    async def _ask(self, name: str) -> Look:
        node = await self._reader.find(NODES, name)
        if node is None:
            raise statuses.not_found(NODES, name)
        text = await self._link.read(Upstream(f"{agent_base(node)}/metrics/resource"))
        return parse(text.decode("utf-8", "replace"))
