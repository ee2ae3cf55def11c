"""Watches nodes' heartbeats: marks the silent, taints by condition, evicts what may not stay, clears away the lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import datetime

from sparsam.clock import format_time
from sparsam.controllers.nodehealth import eviction_time, ready_status, silent_conditions, wanted_taints
from sparsam.controllers.podgc import mark, mark_and_delete
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of
from sparsam.errors import NotFound
from sparsam.objects.kinds import LEASES, NODES, PODS

log = logging.getLogger(__name__)

GRACE_SECONDS = 40.0
"""How long a node may be silent; upstream's --node-monitor-grace-period."""
CHECK_SECONDS = 5.0
LEASE_NAMESPACE = "kube-node-lease"
LOST_SECONDS = 40.0
"""How long a pod's node may be missing before the pod is removed; upstream's quarantine."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_TAINT_WORDS = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
_LOST_WORDS = ("DeletionByPodGC", "PodGC: node no longer exists")
_OUT_OF_SERVICE_WORDS = ("DeletionByPodGC", "PodGC: node is out of service")


class NodeLifecycleController:
    """Keyed by node; a node that is missing but still named by pods is a key too."""

    def __init__(
        self, context: Context, *, grace_seconds: float = GRACE_SECONDS, check_seconds: float = CHECK_SECONDS
    ) -> None:
        self._client, self._clock = context.client, context.clock
        self._grace_seconds, self._check_seconds = grace_seconds, check_seconds
        self._nodes, self._pods = context.informer(NODES), context.informer(PODS)
        self._leases = context.informer(LEASES)
        self._pods.add_index("node", lambda pod: [pod["spec"]["nodeName"]] if pod["spec"].get("nodeName") else [])
        self._heard: dict[str, tuple[str, float]] = {}
        self._missing_since: dict[str, float] = {}
        self.controller = Controller("node-controller", context, self.sync, workers=4)
        self.controller.watch(self._nodes, lambda node: [("", node["metadata"]["name"])])
        self.controller.watch(self._pods, _node_of_pod)
        self.controller.needs(self._leases)

    async def sync(self, key: Key) -> None:
        """Bring one node and the pods on it in order."""
        _, name = key
        node = self._nodes.get("", name)
        if node is None:
            await self._clear_lost(name)
            return
        self._missing_since.pop(name, None)
        self.controller.queue.add_after(key, self._check_seconds)
        now = self._clock.now()
        if self._silent_seconds(node) > self._grace_seconds:
            node = await self._mark_silent(node, now)
        taints = wanted_taints(node, now)
        if taints != (node["spec"].get("taints") or []):
            node = await self._client.update(NODES, {**node, "spec": {**node["spec"], "taints": taints}})
        if ready_status(node) != "True":
            await self._mark_pods_not_ready(name, now)
        await self._evict(key, node, now)

    def _silent_seconds(self, node: Obj) -> float:
        """Time since a sign of life changed, by our own clock: nodes' clocks need not agree with it."""
        name = node["metadata"]["name"]
        lease = self._leases.get(LEASE_NAMESPACE, name) or {}
        ready = [c for c in node.get("status", {}).get("conditions") or () if c["type"] == "Ready"]
        own_word = ready[0].get("lastHeartbeatTime", "") if ready else ""
        sign = f"{lease.get('spec', {}).get('renewTime', '')} {own_word}"
        now = self._clock.monotonic()
        known = self._heard.get(name)
        if known is None or known[0] != sign:
            self._heard[name] = (sign, now)
            return 0.0
        return now - known[1]

    async def _mark_silent(self, node: Obj, now: datetime) -> Obj:
        conditions = silent_conditions(node, now)
        if conditions is None:
            return node
        was_ready = ready_status(node) == "True"
        status = {**node.get("status", {}), "conditions": conditions}
        node = await self._client.update(NODES, {**node, "status": status}, subresource="status")
        name = node["metadata"]["name"]
        log.warning("node silent node=%s", name)
        if was_ready:
            message = f"Node {name} status is now: NodeNotReady"
            self.controller.recorder.event(node, "Normal", "NodeNotReady", message)
        return node

    async def _mark_pods_not_ready(self, name: str, now: datetime) -> None:
        for pod in self._pods.by_index("node", name):
            ready = [c for c in pod.get("status", {}).get("conditions") or () if c["type"] == "Ready"]
            if not ready or ready[0]["status"] != "True":
                continue
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(now)}
            namespace, pod_name = key_of(pod)
            await _if_there(
                self._client.patch(
                    PODS,
                    pod_name,
                    {"status": {"conditions": [condition]}},
                    namespace=namespace,
                    kind="strategic",
                    subresource="status",
                )
            )
            self.controller.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _evict(self, key: Key, node: Obj, now: datetime) -> None:
        taints = node["spec"].get("taints") or []
        gone_for_good = any(taint["key"] == OUT_OF_SERVICE for taint in taints)
        for pod in self._pods.by_index("node", key[1]):
            namespace, name = key_of(pod)
            if "deletionTimestamp" in pod["metadata"]:
                if gone_for_good and ready_status(node) != "True":
                    await mark_and_delete(self._client, pod, _OUT_OF_SERVICE_WORDS, now)
                continue
            leave = eviction_time(pod, taints, now)
            if leave is None:
                continue
            if leave <= now:
                message = f"Marking for deletion Pod {namespace}/{name}"
                self.controller.recorder.event(pod, "Normal", "TaintManagerEviction", message)
                log.info("evicted pod=%s/%s node=%s", namespace, name, key[1])
                await mark(self._client, pod, _TAINT_WORDS, now, failed=False)
                await _if_there(self._client.delete(PODS, name, namespace, uid=pod["metadata"]["uid"]))
            else:
                self.controller.queue.add_after(key, (leave - now).total_seconds())

    async def _clear_lost(self, name: str) -> None:
        """Remove pods whose node is gone: nobody is left to stop them."""
        pods = self._pods.by_index("node", name)
        self._heard.pop(name, None)
        if not pods:
            self._missing_since.pop(name, None)
            return
        now = self._clock.monotonic()
        since = self._missing_since.setdefault(name, now)
        if now - since < LOST_SECONDS:
            self.controller.queue.add_after(("", name), LOST_SECONDS - (now - since))
            return
        for pod in pods:
            namespace, pod_name = key_of(pod)
            log.info("removed pod of a lost node pod=%s/%s node=%s", namespace, pod_name, name)
            await mark_and_delete(self._client, pod, _LOST_WORDS, self._clock.now())


def _node_of_pod(pod: Obj) -> list[Key]:
    name = pod["spec"].get("nodeName")
    return [("", name)] if name else []


async def _if_there(request: Awaitable[object]) -> None:
    try:
        await request
    except NotFound:
        return
