"""What all controllers of pods share: which pods are theirs, making and deleting them, and remembering what they did.

The cache may be behind what a controller itself did a moment ago. So each key remembers the names it created and the
uids it deleted until the cache shows them (expectations), and the count is left alone before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sparsam.client.informer import Informer
from sparsam.clock import parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_of, controller_reference, key_of
from sparsam.errors import Conflict, Forbidden, Invalid, NotFound, StatusError
from sparsam.objects.kinds import PODS, Resource
from sparsam.objects.selectors import LabelSelector

EXPECTATION_SECONDS = 300.0
_TEMPLATE_FIELDS = ("labels", "annotations", "finalizers")
_ENDED = ("Succeeded", "Failed")

SelectorOf = Callable[[Obj], LabelSelector]


def is_active(pod: Obj) -> bool:
    """Counts towards the replicas: not ended, not leaving."""
    return not has_ended(pod) and "deletionTimestamp" not in pod["metadata"]


def has_ended(pod: Obj) -> bool:
    """Succeeded or failed."""
    return pod.get("status", {}).get("phase") in _ENDED


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


def is_available(pod: Obj, min_ready_seconds: int, now: datetime) -> bool:
    """Ready for long enough."""
    return available_in_seconds(pod, min_ready_seconds, now) == 0.0


def next_available_seconds(pods: Iterable[Obj], min_ready_seconds: int, now: datetime) -> float | None:
    """When the next of these ready pods becomes available; None when there is none to wait for."""
    waits = [seconds for pod in pods if (seconds := available_in_seconds(pod, min_ready_seconds, now))]
    return min(waits) + 0.01 if waits else None


def pod_of(template: Obj, owner: Obj, resource: Resource, **name: str) -> Obj:
    """A pod of a template; `name` is `name` or `generateName`. Its labels and annotations may be changed."""
    given = template.get("metadata") or {}
    metadata: Obj = {each: given[each] for each in _TEMPLATE_FIELDS if each in given}
    for each in ("labels", "annotations"):
        metadata[each] = dict(given.get(each) or {})
    metadata |= {
        **name,
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [controller_reference(owner, resource)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@dataclass(slots=True)
class _Expected:
    """What was done for a key and the cache has not shown yet."""

    created: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    since: float = 0.0


class PodControl:
    """The pods of the owners of one kind. `owners` has the index `namespace`; it is added here."""

    def __init__(self, context: Context, resource: Resource, controller: Controller, selector_of: SelectorOf) -> None:
        self._client, self._clock = context.client, context.clock
        self._resource, self._controller, self._selector_of = resource, controller, selector_of
        self.owners: Informer = context.informer(resource)
        self.pods: Informer = context.informer(PODS)
        for informer in (self.owners, self.pods):
            informer.add_index("namespace", lambda each: [each["metadata"]["namespace"]])
        self._expected: dict[Key, _Expected] = {}

    # -- whose they are -------------------------------------------------------------------------------------

    def keys_of(self, pod: Obj) -> list[Key]:
        """The owner of a pod, or all that would adopt it."""
        owner = controller_of(pod)
        namespace = pod["metadata"]["namespace"]
        if owner is not None:
            return [(namespace, owner["name"])] if owner["kind"] == self._resource.kind else []
        labels = pod["metadata"].get("labels") or {}
        near = self.owners.by_index("namespace", namespace)
        return [key_of(each) for each in near if self._selector_of(each).matches(labels)]

    async def claim(self, owner: Obj, is_member: Callable[[Obj], bool] = lambda _: True) -> list[Obj]:
        """The pods that are the owner's: adopts matching orphans, releases own pods that match no more.

        Others than members are left alone.
        """
        uid, mine, selector = owner["metadata"]["uid"], [], self._selector_of(owner)
        leaving = "deletionTimestamp" in owner["metadata"]
        for pod in self.pods.by_index("namespace", owner["metadata"]["namespace"]):
            if not is_member(pod):
                continue
            above = controller_of(pod)
            matches = selector.matches(pod["metadata"].get("labels") or {})
            if above is not None and above["uid"] == uid:
                if matches or leaving:
                    mine.append(pod)
                else:
                    await self._set_owner(pod, None)
            elif above is None and matches and is_active(pod) and not leaving:
                await self._set_owner(pod, controller_reference(owner, self._resource))
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

    # -- what was done --------------------------------------------------------------------------------------

    def settled(self, key: Key, pods: list[Obj]) -> bool:
        """Whether the cache shows all that was done for this key."""
        expected = self._expected.get(key)
        if expected is None:
            return True
        names = {pod["metadata"]["name"] for pod in pods}
        expected.created -= names
        alive = {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
        expected.deleted &= alive
        overdue = self._clock.monotonic() - expected.since > EXPECTATION_SECONDS
        if expected.created and not overdue:
            # Created and gone again between two looks: the cache has moved past it.
            expected.created = {name for name in expected.created if self.pods.get(key[0], name) is None}
        if overdue or not (expected.created or expected.deleted):
            del self._expected[key]
            return True
        return False

    def forget(self, key: Key) -> None:
        """The owner is gone."""
        self._expected.pop(key, None)

    def _expect(self, key: Key) -> _Expected:
        expected = self._expected.setdefault(key, _Expected())
        expected.since = self._clock.monotonic()
        return expected

    # -- making and deleting --------------------------------------------------------------------------------

    async def create_all(self, owner: Obj, pods: list[Obj]) -> str | None:
        """Create in batches that double, so that who cannot create pods does not try a thousand times.

        Returns why one could not be made.
        """
        size = 1
        while pods:
            batch, pods = pods[:size], pods[size:]
            failures = await asyncio.gather(*(self.create(owner, pod) for pod in batch))
            for failure in failures:
                if failure is not None:
                    return failure
            size *= 2
        return None

    async def create(self, owner: Obj, pod: Obj) -> str | None:
        """Create a pod; returns why it could not be made."""
        key, recorder = key_of(owner), self._controller.recorder
        try:
            created = await self._client.create(PODS, pod)
        except (Forbidden, Invalid, Conflict, NotFound) as error:
            recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            return str(error)
        name = created["metadata"]["name"]
        if self.pods.get(key[0], name) is None:
            self._expect(key).created.add(name)
        recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def delete(self, owner: Obj, pod: Obj) -> str | None:
        """Delete a pod; returns why it could not be."""
        key, recorder = key_of(owner), self._controller.recorder
        namespace, name = key_of(pod)
        self._expect(key).deleted.add(pod["metadata"]["uid"])
        try:
            await self._client.delete(PODS, name, namespace, uid=pod["metadata"]["uid"])
        except (NotFound, Conflict):
            self._expect(key).deleted.discard(pod["metadata"]["uid"])
            return None
        except StatusError as error:
            self._expect(key).deleted.discard(pod["metadata"]["uid"])
            recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            return str(error)
        recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        return None
