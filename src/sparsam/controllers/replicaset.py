"""Keeps as many pods as a ReplicaSet asks for: creates, deletes, adopts and releases them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.controllers.podcontrol import (
    PodControl,
    is_active,
    is_available,
    next_available_seconds,
    pod_of,
    ready_since,
)
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import REPLICASETS
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

BURST_PODS = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def pods_to_delete(pods: Iterable[Obj], count: int, crowding: dict[str, int]) -> list[Obj]:
    """The pods that are missed least, as upstream ranks: unassigned, pending, not ready, cheap, crowded, young.

    `crowding` is the number of the owner's related pods on each node.
    """

    def rank(pod: Obj) -> tuple[Any, ...]:
        status = pod.get("status", {})
        node = pod["spec"].get("nodeName", "")
        phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(status.get("phase", "Pending"), 2)
        since = ready_since(pod)
        restarts = max((s.get("restartCount", 0) for s in status.get("containerStatuses") or ()), default=0)
        return (
            bool(node),
            phase,
            since is not None,
            _deletion_cost(pod),
            -crowding.get(node, 0),
            -(since.timestamp() if since else 0.0),
            -restarts,
            -parse_time(pod["metadata"]["creationTimestamp"]).timestamp(),
            pod["metadata"]["name"],
        )

    return sorted(pods, key=rank)[:count]


def _deletion_cost(pod: Obj) -> int:
    try:
        return int((pod["metadata"].get("annotations") or {}).get(DELETION_COST, 0))
    except ValueError:
        return 0


def status_of(replica_set: Obj, pods: list[Obj], now: datetime, failure: str | None) -> Obj:
    """The status for the pods that the set owns; `failure` is the reason why the last change failed."""
    spec, old = replica_set["spec"], replica_set.get("status", {})
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    active = [pod for pod in pods if is_active(pod)]
    ready = [pod for pod in active if ready_since(pod)]
    least = spec.get("minReadySeconds", 0)
    counts = {
        "fullyLabeledReplicas": sum(_has_labels(pod, labels) for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": sum(is_available(pod, least, now) for pod in ready),
        "terminatingReplicas": sum("deletionTimestamp" in pod["metadata"] for pod in pods),
    }
    status: Obj = {"replicas": len(active), **{name: count for name, count in counts.items() if count}}
    status["observedGeneration"] = replica_set["metadata"].get("generation", 0)
    conditions = [c for c in old.get("conditions") or () if c["type"] != "ReplicaFailure"]
    if failure is not None:
        before: Obj = next((c for c in old.get("conditions") or () if c["type"] == "ReplicaFailure"), {})
        since = before.get("lastTransitionTime") or format_time(now)
        reason = "FailedCreate" if len(active) < spec["replicas"] else "FailedDelete"
        entry = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": failure}
        conditions.append({**entry, "lastTransitionTime": since})
    if conditions:
        status["conditions"] = conditions
    return status


def _has_labels(pod: Obj, labels: dict[str, str]) -> bool:
    own = pod["metadata"].get("labels") or {}
    return all(own.get(key) == value for key, value in labels.items())


class ReplicaSetController:
    """Keyed by ReplicaSet, or by what else counts pods alike."""

    name = "replicaset-controller"
    resource = REPLICASETS
    unreported: frozenset[str] = frozenset()
    """Fields of a ReplicaSet's status that the kind does not have."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self.controller = Controller(self.name, context, self.sync, workers=8)
        self._control = PodControl(context, self.resource, self.controller, self.selector_of)
        self.controller.watch(self._control.owners, own_key)
        self.controller.watch(self._control.pods, self._control.keys_of)

    @staticmethod
    def selector_of(owner: Obj) -> LabelSelector:
        """What its pods look like."""
        return parse_label_selector_object(owner["spec"]["selector"])

    async def sync(self, key: Key) -> None:
        """Bring one set to its number of pods and report."""
        owner = self._control.owners.get(*key)
        if owner is None:
            self._control.forget(key)
            return
        pods = await self._control.claim(owner)
        failure: str | None = _known_failure(owner)
        if self._control.settled(key, pods) and "deletionTimestamp" not in owner["metadata"]:
            failure = await self._scale(owner, pods)
        await self._report(key, owner, pods, failure)
        if failure is not None:
            self.controller.queue.add_after(key, 1.0)

    async def _scale(self, owner: Obj, pods: list[Obj]) -> str | None:
        active = [pod for pod in pods if is_active(pod)]
        difference = len(active) - owner["spec"]["replicas"]
        if difference < 0:
            pod = pod_of(owner["spec"]["template"], owner, self.resource, generateName=f"{owner['metadata']['name']}-")
            return await self._control.create_all(owner, [pod] * min(-difference, BURST_PODS))
        if difference > 0:
            return await self._thin_out(owner, active, min(difference, BURST_PODS))
        return None

    async def _thin_out(self, owner: Obj, active: list[Obj], count: int) -> str | None:
        crowding: dict[str, int] = {}
        for pod in active:
            node = pod["spec"].get("nodeName", "")
            crowding[node] = crowding.get(node, 0) + 1
        for pod in pods_to_delete(active, count, crowding):
            failure = await self._control.delete(owner, pod)
            if failure is not None:
                return failure
        return None

    async def _report(self, key: Key, replica_set: Obj, pods: list[Obj], failure: str | None) -> None:
        now = self._clock.now()
        status = status_of(replica_set, pods, now, failure)
        status = {name: value for name, value in status.items() if name not in self.unreported}
        if status != replica_set.get("status"):
            try:
                await self._client.update(self.resource, {**replica_set, "status": status}, subresource="status")
            except NotFound:
                return
        least = replica_set["spec"].get("minReadySeconds", 0)
        seconds = next_available_seconds(pods, least, now)
        if seconds is not None:
            self.controller.queue.add_after(key, seconds)


def _known_failure(replica_set: Obj) -> str | None:
    for condition in replica_set.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure":
            return str(condition.get("message", ""))
    return None
