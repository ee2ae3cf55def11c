"""Runs hollow nodes against an API server: registers them, keeps their Leases, plays their pods, tells their watts.

Everything is level-triggered: for each key, what should be is compared with what is, and only a difference is written.
The process may be killed at any instant; the next one takes nodes and pods over as it finds them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.client.config import ClusterConfig
from sparsam.client.informer import Informer
from sparsam.client.queue import WorkQueue
from sparsam.clock import Clock, SystemClock, format_micro_time
from sparsam.errors import AlreadyExists, NotFound, SparsamError
from sparsam.hollow import objects
from sparsam.hollow.node import DESIRED_ANNOTATION, HollowNode, Running, State
from sparsam.objects.kinds import LEASES, NODEPOWERS, NODES, PODS

log = logging.getLogger(__name__)

Obj = objects.Obj
PodKey = tuple[str, str]

RENEW_SECONDS = objects.LEASE_SECONDS / 4
POWERS_PER_SECOND = 50
"""So many NodePower objects are written at most, however large the fleet."""
POWER_SECONDS = (5.0, 60.0)
AT_ONCE = 32
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class HollowConfig:
    """A fleet to play."""

    client: ClusterConfig
    fleet: str
    nodes: Sequence[Mapping[str, Any]]
    """Nodes with labels, annotations (models, core speed), taints and capacity."""
    renew_seconds: float = RENEW_SECONDS
    power_seconds: float = 0.0
    """Between two looks at a node's watts; 0 for what the size of the fleet allows."""
    waits: bool = False
    """Wait for an API server that does not answer yet."""


async def run(config: HollowConfig, *, registering: Callable[[int], None] = lambda _: None) -> None:
    """Play the fleet until cancelled; `registering` hears how many nodes are registered."""
    async with ApiClient(config.client, program="kubelet") as client:
        if config.waits:
            await _reachable(client)
        fleet = HollowFleet(client, config, SystemClock())
        await fleet.register(registering)
        await fleet.run()


async def _reachable(client: ApiClient) -> None:
    while True:
        try:
            await client.get_json("/version")
        except (SparsamError, aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def remove(client: ApiClient, fleet: str, *, removing: Callable[[int], None] = lambda _: None) -> int:
    """Remove a fleet's nodes from the cluster; how many there were."""
    listed = await client.list(NODES, label_selector=f"{objects.LABEL}={fleet}")
    names = [node["metadata"]["name"] for node in listed["items"]]
    done = itertools.count(1)

    async def delete(name: str) -> None:
        try:
            await client.delete(NODES, name)
        except NotFound:
            log.debug("gone already node=%s", name)
        removing(next(done))

    await _all(delete, names)
    return len(names)


class HollowFleet:
    """The nodes of one process, and the pods on them."""

    def __init__(self, client: ApiClient, config: HollowConfig, clock: Clock) -> None:
        self._client, self._config, self._clock = client, config, clock
        now = clock.monotonic()
        least, most = POWER_SECONDS
        allowed = min(max(len(config.nodes) / POWERS_PER_SECOND, least), most)
        self._power_seconds = config.power_seconds or allowed
        self._wanted = {node["metadata"]["name"]: node for node in config.nodes}
        self.nodes = {name: HollowNode(node, now) for name, node in self._wanted.items()}
        self._numbers = {name: number for number, name in enumerate(self._wanted)}
        self._pod_numbers = itertools.count()
        self._told: dict[str, tuple[State, float, float]] = {}
        """Of each node the state and utilization last published, and when."""
        self._reported: dict[str, State] = {}
        self._node_informer = Informer(
            client, NODES, label_selector=f"{objects.LABEL}={config.fleet}", transform=objects.slim_node
        )
        self._pod_informer = Informer(client, PODS, field_selector="spec.nodeName!=", transform=objects.slim_pod)
        self._pod_informer.add_index("node", lambda pod: [pod["spec"].get("nodeName", "")])
        self._leases: WorkQueue[str] = WorkQueue("hollow leases")
        self._states: WorkQueue[str] = WorkQueue("hollow nodes")
        self._pods: WorkQueue[PodKey] = WorkQueue("hollow pods")

    async def register(self, registering: Callable[[int], None]) -> None:
        """Create the nodes, or take existing ones over; raises SparsamError if one belongs to somebody else."""
        done = itertools.count(1)

        async def register(name: str) -> None:
            await self._register(name)
            registering(next(done))

        await _all(register, list(self.nodes))

    async def run(self) -> None:
        """Play until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._node_informer.run(), name="informer nodes")
            await self._node_informer.synced.wait()
            self._node_informer.add_handler(self._on_node)
            group.create_task(self._pod_informer.run(), name="informer pods")
            await self._pod_informer.synced.wait()
            self._pod_informer.add_handler(self._on_pod)
            self._spread(self._leases, self._config.renew_seconds)
            self._spread(self._states, self._power_seconds)
            group.create_task(self._leases.run(self._renew, workers=AT_ONCE))
            group.create_task(self._states.run(self._sync_node, workers=AT_ONCE))
            group.create_task(self._pods.run(self._sync_pod, workers=AT_ONCE))

    def _spread(self, queue: WorkQueue[str], seconds: float) -> None:
        """Turns of all nodes evenly over the interval, so that no burst comes of them."""
        for name, number in self._numbers.items():
            queue.add_after(name, seconds * number / len(self._numbers))

    def _on_node(self, _kind: str, _old: Obj | None, node: Obj | None) -> None:
        if node is None:
            return
        name = node["metadata"]["name"]
        if name in self.nodes:
            hollow = self.nodes[name]
            before = hollow.desired
            hollow.command(node["metadata"]["annotations"].get(DESIRED_ANNOTATION), self._clock.monotonic())
            if hollow.desired is not before:
                self._states.add(name)

    def _on_pod(self, _kind: str, old: Obj | None, pod: Obj | None) -> None:
        known = pod or old
        assert known is not None
        node = self.nodes.get(known["spec"].get("nodeName", ""))
        if node is None:
            return
        metadata, now = known["metadata"], self._clock.monotonic()
        if pod is not None and pod["status"].get("phase") == "Running":
            if metadata["uid"] not in node.running:
                node.run(metadata["uid"], Running(metadata["namespace"], metadata["name"], pod["millicores"]), now)
        else:
            node.stop(metadata["uid"], now)
        if pod is not None:
            self._pods.add((metadata["namespace"], metadata["name"]))

    async def _register(self, name: str) -> None:
        moment = self._clock.now()
        wanted = objects.node_object(self._wanted[name], self._config.fleet, self._numbers[name], moment)
        try:
            await self._client.create(NODES, wanted)
        except AlreadyExists:
            known = await self._client.get(NODES, name)
            fleet = (known["metadata"].get("labels") or {}).get(objects.LABEL)
            if fleet != self._config.fleet:
                raise SparsamError(f"node {name} exists and is none of the hollow fleet {self._config.fleet}") from None
            metadata = {part: wanted["metadata"][part] for part in ("labels", "annotations")}
            await self._client.patch(NODES, name, {"metadata": metadata})
            await self._client.patch(NODES, name, {"status": wanted["status"]}, subresource="status")
        self._reported[name] = State.AWAKE

    async def _renew(self, name: str) -> None:
        self._leases.add_after(name, self._config.renew_seconds)
        known = self._node_informer.get("", name)
        if known is None or self.nodes[name].state is not State.AWAKE:
            return
        lease = objects.lease_object(name, known["metadata"]["uid"], format_micro_time(self._clock.now()))
        try:
            await self._client.patch(LEASES, name, {"spec": lease["spec"]}, namespace=objects.LEASE_NAMESPACE)
        except NotFound:
            await self._client.create(LEASES, lease, objects.LEASE_NAMESPACE)

    async def _sync_node(self, name: str) -> None:
        """Report what state the node is in, and its watts where they have changed."""
        node, now = self.nodes[name], self._clock.monotonic()
        node.advance(now)
        self._states.add_after(name, min(self._power_seconds, max(node.changes_at - now, 0.0)))
        if self._node_informer.get("", name) is None:
            return
        if node.state is not self._reported.get(name):
            await self._report(name, node.state)
        if self._worth_telling(name, node, now):
            await self._publish(name, node, now)

    async def _report(self, name: str, state: State) -> None:
        if state is not State.FAILED:
            # A failed server says nothing: that it is silent is for others to notice.
            conditions = objects.node_conditions(state, self._clock.now())
            body = {"status": {"conditions": conditions}}
            await self._client.patch(NODES, name, body, kind="strategic", subresource="status")
        self._reported[name] = state
        if state is State.AWAKE:
            self._leases.add(name)
            for pod in self._pod_informer.by_index("node", name):
                self._pods.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def _worth_telling(self, name: str, node: HollowNode, now: float) -> bool:
        state, watts, when = self._told.get(name, (None, math.nan, -math.inf))
        if node.state is State.FAILED:
            return False
        return node.state is not state or node.watts != watts or now - when >= 10 * self._power_seconds

    async def _publish(self, name: str, node: HollowNode, now: float) -> None:
        body = {"status": objects.power_status(node, now, self._clock.now())}
        told = node.state, node.watts, now
        try:
            await self._client.patch(NODEPOWERS, name, body, subresource="status")
        except NotFound:
            known = self._node_informer.get("", name)
            if known is None:
                return
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": known["metadata"]["uid"]}
            kind = {"apiVersion": NODEPOWERS.api_version, "kind": NODEPOWERS.kind}
            try:
                await self._client.create(NODEPOWERS, {**kind, "metadata": {"name": name, "ownerReferences": [owner]}})
            except NotFound:
                # The cluster does not know the kind: it does without watts.
                self._told[name] = told
                return
            await self._client.patch(NODEPOWERS, name, body, subresource="status")
        self._told[name] = told

    async def _sync_pod(self, key: PodKey) -> None:
        pod = self._pod_informer.get(*key)
        node = self.nodes.get(pod["spec"]["nodeName"]) if pod is not None else None
        if pod is None or node is None or node.state is not State.AWAKE:
            return
        if "deletionTimestamp" in pod["metadata"]:
            await self._remove(pod)
            return
        phase = pod["status"].get("phase")
        if phase == "Pending":
            address = objects.address_of_node(self._numbers[node.name])
            pod_address = objects.address_of_pod(next(self._pod_numbers))
            await self._write(pod, objects.started_status(pod, address, pod_address, self._clock.now()))
        elif phase == "Running":
            ends = objects.ends_at(pod, node.speed)
            if ends is None:
                return
            left = (ends - self._clock.now()).total_seconds()
            if left > 0.0:
                self._pods.add_after(key, left)
            else:
                await self._write(pod, objects.ended_status(pod, self._clock.now()))

    async def _write(self, pod: Obj, status: Obj) -> None:
        metadata = pod["metadata"]
        # The uid is a precondition: a namesake that has come meanwhile is another pod.
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        try:
            await self._client.patch(
                PODS,
                metadata["name"],
                body,
                namespace=metadata["namespace"],
                kind="strategic",
                subresource="status",
            )
        except NotFound:
            log.debug("pod is gone pod=%s/%s", metadata["namespace"], metadata["name"])

    async def _remove(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_seconds=0, uid=metadata["uid"]
            )
        except NotFound:
            log.debug("pod is gone pod=%s/%s", metadata["namespace"], metadata["name"])


async def _all(work: Callable[[str], Awaitable[None]], names: Sequence[str]) -> None:
    """`work` on every name, some at once."""
    left = iter(names)

    async def take() -> None:
        for name in left:
            await work(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(names))):
            group.create_task(take())
