"""Keeps as many pods as a ReplicaSet asks for: creates, deletes, adopts and releases them.

The cache may be behind what this controller itself did a moment ago. So each key remembers the names it created and the
uids it deleted until the cache shows them (expectations), and does nothing more to the count before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.controllers.runtime import (
    Context,
    Controller,
    Key,
    Obj,
    controller_of,
    controller_reference,
    key_of,
    own_key,
)
from sparsam.errors import Conflict, Forbidden, Invalid, NotFound, StatusError
from sparsam.objects.kinds import PODS, REPLICASETS
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

log = logging.getLogger(__name__)

BURST_PODS = 500
EXPECTATION_SECONDS = 300.0
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(slots=True)
class Expected:
    """What this controller did and the cache has not shown yet."""

    created: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    since: float = 0.0


def is_active(pod: Obj) -> bool:
    """Counts towards the replicas: not ended, not leaving."""
    return (
        pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]
    )


def ready_since(pod: Obj) -> datetime | None:
    """When the pod became Ready; None while it is not."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            moment = condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"]
            return parse_time(moment)
    return None


def available_in_seconds(pod: Obj, min_ready_seconds: int, now: datetime) -> float | None:
    """0 when available, the seconds until it will be, or None while it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    return max(min_ready_seconds - (now - since).total_seconds(), 0.0) if min_ready_seconds else 0.0


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
        "availableReplicas": sum(available_in_seconds(pod, least, now) == 0.0 for pod in ready),
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
    """Keyed by ReplicaSet."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._sets = context.informer(REPLICASETS)
        self._pods = context.informer(PODS)
        self._pods.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        self._sets.add_index("namespace", lambda each: [each["metadata"]["namespace"]])
        self._expected: dict[Key, Expected] = {}
        self.controller = Controller("replicaset-controller", context, self.sync, workers=8)
        self.controller.watch(self._sets, own_key)
        self.controller.watch(self._pods, self._sets_of_pod)

    async def sync(self, key: Key) -> None:
        """Bring one ReplicaSet to its number of pods and report."""
        replica_set = self._sets.get(*key)
        if replica_set is None:
            self._expected.pop(key, None)
            return
        selector = parse_label_selector_object(replica_set["spec"]["selector"])
        pods = await self._claim(replica_set, selector)
        failure: str | None = _known_failure(replica_set)
        if self._settled(key, pods) and "deletionTimestamp" not in replica_set["metadata"]:
            failure = await self._scale(key, replica_set, pods)
        await self._report(key, replica_set, pods, failure)
        if failure is not None:
            self.controller.queue.add_after(key, 1.0)

    def _sets_of_pod(self, pod: Obj) -> list[Key]:
        owner = controller_of(pod)
        namespace = pod["metadata"]["namespace"]
        if owner is not None:
            return [(namespace, owner["name"])] if owner["kind"] == REPLICASETS.kind else []
        labels = pod["metadata"].get("labels") or {}
        sets = self._sets.by_index("namespace", namespace)
        return [key_of(s) for s in sets if parse_label_selector_object(s["spec"]["selector"]).matches(labels)]

    async def _claim(self, replica_set: Obj, selector: LabelSelector) -> list[Obj]:
        """The pods that are the set's: adopts matching orphans, releases own pods that match no more."""
        uid, mine = replica_set["metadata"]["uid"], []
        leaving = "deletionTimestamp" in replica_set["metadata"]
        for pod in self._pods.by_index("namespace", replica_set["metadata"]["namespace"]):
            owner = controller_of(pod)
            matches = selector.matches(pod["metadata"].get("labels") or {})
            if owner is not None and owner["uid"] == uid:
                if matches or leaving:
                    mine.append(pod)
                else:
                    await self._set_owner(pod, None)
            elif owner is None and matches and is_active(pod) and not leaving:
                await self._set_owner(pod, controller_reference(replica_set, REPLICASETS))
                mine.append(pod)
        return mine

    async def _set_owner(self, pod: Obj, reference: Obj | None) -> None:
        others = [r for r in pod["metadata"].get("ownerReferences") or () if not r.get("controller")]
        owners = [*others, reference] if reference else others
        metadata = {
            "uid": pod["metadata"]["uid"],
            "resourceVersion": pod["metadata"]["resourceVersion"],
            "ownerReferences": owners or None,
        }
        namespace, name = key_of(pod)
        try:
            await self._client.patch(PODS, name, {"metadata": metadata}, namespace=namespace)
        except NotFound:
            return

    def _settled(self, key: Key, pods: list[Obj]) -> bool:
        """Whether the cache shows all that was done for this key."""
        expected = self._expected.get(key)
        if expected is None:
            return True
        namespace = key[0]
        names = {pod["metadata"]["name"] for pod in pods}
        expected.created -= names
        alive = {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
        expected.deleted &= alive
        overdue = self._clock.monotonic() - expected.since > EXPECTATION_SECONDS
        if expected.created and not overdue:
            # Created and gone again between two looks: the cache has moved past it.
            expected.created = {name for name in expected.created if self._pods.get(namespace, name) is None}
        if overdue or not (expected.created or expected.deleted):
            del self._expected[key]
            return True
        return False

    async def _scale(self, key: Key, replica_set: Obj, pods: list[Obj]) -> str | None:
        active = [pod for pod in pods if is_active(pod)]
        difference = len(active) - replica_set["spec"]["replicas"]
        if difference < 0:
            return await self._create(key, replica_set, min(-difference, BURST_PODS))
        if difference > 0:
            return await self._delete(key, replica_set, active, min(difference, BURST_PODS))
        return None

    async def _create(self, key: Key, replica_set: Obj, count: int) -> str | None:
        """Create in batches that double, so that a set that cannot create pods does not try a thousand times."""
        batch = 1
        while count > 0:
            size = min(batch, count)
            results = await asyncio.gather(*(self._create_one(key, replica_set) for _ in range(size)))
            failures = [failure for failure in results if failure is not None]
            if failures:
                return failures[0]
            count -= size
            batch *= 2
        return None

    async def _create_one(self, key: Key, replica_set: Obj) -> str | None:
        template = replica_set["spec"]["template"]
        metadata = {
            **{
                name: value
                for name, value in (template.get("metadata") or {}).items()
                if name in ("labels", "annotations", "finalizers")
            },
            "generateName": f"{key[1]}-",
            "namespace": key[0],
            "ownerReferences": [controller_reference(replica_set, REPLICASETS)],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        recorder = self.controller.recorder
        try:
            created = await self._client.create(PODS, pod)
        except (Forbidden, Invalid, Conflict, NotFound) as error:
            recorder.event(replica_set, "Warning", "FailedCreate", f"Error creating: {error}")
            return str(error)
        if self._pods.get(key[0], created["metadata"]["name"]) is None:
            self._expect(key).created.add(created["metadata"]["name"])
        recorder.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")
        return None

    async def _delete(self, key: Key, replica_set: Obj, active: list[Obj], count: int) -> str | None:
        crowding: dict[str, int] = {}
        for pod in active:
            node = pod["spec"].get("nodeName", "")
            crowding[node] = crowding.get(node, 0) + 1
        recorder = self.controller.recorder
        for pod in pods_to_delete(active, count, crowding):
            namespace, name = key_of(pod)
            self._expect(key).deleted.add(pod["metadata"]["uid"])
            try:
                await self._client.delete(PODS, name, namespace, uid=pod["metadata"]["uid"])
            except (NotFound, Conflict):
                self._expect(key).deleted.discard(pod["metadata"]["uid"])
                continue
            except StatusError as error:
                self._expect(key).deleted.discard(pod["metadata"]["uid"])
                recorder.event(replica_set, "Warning", "FailedDelete", f"Error deleting: {error}")
                return str(error)
            recorder.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        return None

    def _expect(self, key: Key) -> Expected:
        expected = self._expected.setdefault(key, Expected())
        expected.since = self._clock.monotonic()
        return expected

    async def _report(self, key: Key, replica_set: Obj, pods: list[Obj], failure: str | None) -> None:
        now = self._clock.now()
        status = status_of(replica_set, pods, now, failure)
        if status != replica_set.get("status"):
            try:
                await self._client.update(REPLICASETS, {**replica_set, "status": status}, subresource="status")
            except NotFound:
                return
        least = replica_set["spec"].get("minReadySeconds", 0)
        waits = [seconds for pod in pods if (seconds := available_in_seconds(pod, least, now))]
        if waits:
            self.controller.queue.add_after(key, min(waits) + 0.01)


def _known_failure(replica_set: Obj) -> str | None:
    for condition in replica_set.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure":
            return str(condition.get("message", ""))
    return None
