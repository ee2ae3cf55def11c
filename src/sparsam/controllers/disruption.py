"""Keeps PodDisruptionBudgets' counts: how many pods are healthy, how many must be, how many may be disrupted now.

Source: upstream's disruption controller; KEP-85, KEP-3329 (DisruptionTarget conditions that came to nothing).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.controllers.podcontrol import has_ended
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_of, key_of, own_key
from sparsam.controllers.scales import NoMatch, NoScale, Scales
from sparsam.errors import NotFound
from sparsam.objects import disruption
from sparsam.objects.conditions import set_status_condition
from sparsam.objects.kinds import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
    Resource,
)
from sparsam.objects.selectors import go_label_selector

DELETION_SECONDS = 120.0
"""How long an evicted pod may take until its deletion is seen; later it counts as healthy again."""
STALE_SECONDS = 120.0
"""How long a pod may be marked for a disruption that does not come."""
COMPONENT = "controllermanager"
_BY_KEPT_KIND = {
    ("apps", "ReplicaSet"): REPLICASETS,
    ("extensions", "ReplicaSet"): REPLICASETS,
    ("apps", "StatefulSet"): STATEFULSETS,
    ("", "ReplicationController"): REPLICATIONCONTROLLERS,
}


class Uncountable(Exception):
    """How many pods there should be cannot be told."""


@dataclass(frozen=True, slots=True)
class Count:
    """A budget's new status; the pods that should be gone by now and are not; when to look again."""

    status: Obj
    overdue: list[Obj]
    recheck_seconds: float | None


def scaled(value: int | str, total: int) -> int:
    """A number, or a percentage of `total` rounded up, as for both fields of a budget."""
    return value if isinstance(value, int) else ceil(int(value.removesuffix("%")) * total / 100)


def wanted(spec: Obj, pods: int, scale: int) -> tuple[int, int]:
    """(expected, desired healthy) pods; `scale` is what the pods' owners wish for together."""
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        return scale, max(scale - scaled(most, scale), 0)
    if isinstance(least, str):
        return scale, scaled(least, scale)
    return (pods, least) if least is not None else (0, 0)


def needs_scale(spec: Obj) -> bool:
    """Whether the budget is a share of what the pods' owners wish for."""
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def count(budget: Obj, pods: Sequence[Obj], scale: int, now: datetime) -> Count:
    """The status for these pods: those that go, or are about to, are not healthy."""
    old = budget.get("status") or {}
    disrupted, overdue, recheck = _disrupted(old.get("disruptedPods") or {}, pods, now)
    expected, desired = wanted(budget["spec"], len(pods), scale)
    healthy = sum(
        "deletionTimestamp" not in pod["metadata"]
        and pod["metadata"]["name"] not in disrupted
        and disruption.is_ready(pod)
        for pod in pods
    )
    status: Obj = {"observedGeneration": budget["metadata"].get("generation", 0)}
    if disrupted:
        status["disruptedPods"] = disrupted
    status["disruptionsAllowed"] = max(healthy - desired, 0) if expected > 0 else 0
    status |= {"currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected}
    return Count(_with_condition(status, old, now), overdue, recheck)


def failed(budget: Obj, why: str, now: datetime) -> Obj:
    """The status when counting failed: nothing may be disrupted."""
    old = budget.get("status") or {}
    return _with_condition({**old, "disruptionsAllowed": 0}, old, now, failure=why)


def _with_condition(status: Obj, old: Obj, now: datetime, *, failure: str | None = None) -> Obj:
    condition = disruption.allowed_condition(status, failure=failure)
    known = old.get("conditions") or ()
    return {**status, "conditions": set_status_condition(known, condition, format_time(now))}


def _disrupted(
    known: dict[str, str], pods: Iterable[Obj], now: datetime
) -> tuple[dict[str, str], list[Obj], float | None]:
    """Evicted pods whose deletion is still to be seen, those that were evicted in vain, and when the next is that."""
    waiting, overdue, moments = {}, [], []
    for pod in pods:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"] or name not in known:
            continue
        until = parse_time(known[name]) + timedelta(seconds=DELETION_SECONDS)
        if until < now:
            overdue.append(pod)
        else:
            waiting[name] = known[name]
            moments.append(until)
    seconds = (min(moments) - now).total_seconds() + 0.01 if moments else None
    return waiting, overdue, seconds


def stale_seconds(pod: Obj, now: datetime) -> float | None:
    """How long until the pod's mark of a disruption is stale (0: it is); None when it carries none that could be.

    The node's agent may take any time to end a pod that it marked.
    """
    if "deletionTimestamp" in pod["metadata"] or has_ended(pod):
        return None
    for each in pod.get("status", {}).get("conditions") or ():
        if each["type"] == disruption.TARGET and each["status"] == "True":
            if each.get("reason") == "TerminationByKubelet":
                return None
            since = parse_time(each.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
            return max(STALE_SECONDS - (now - since).total_seconds(), 0.0)
    return None


class DisruptionController:
    """Keyed by PodDisruptionBudget."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._scales = Scales(context.client)
        self._budgets, self._pods = context.informer(PODDISRUPTIONBUDGETS), context.informer(PODS)
        for informer in (self._budgets, self._pods):
            informer.add_index("namespace", lambda obj: [obj["metadata"]["namespace"]])
        kept = (*dict.fromkeys(_BY_KEPT_KIND.values()), DEPLOYMENTS)
        self._owners = {resource: context.informer(resource) for resource in kept}
        self.controller = Controller("disruption", context, self.sync)
        self.controller.recorder = context.recorder(COMPONENT)
        self.controller.watch(self._budgets, own_key)
        self.controller.watch(self._pods, self._budget_of)
        for informer in self._owners.values():
            self.controller.needs(informer)

    def _budget_of(self, pod: Obj) -> list[Key]:
        near = self._budgets.by_index("namespace", pod["metadata"]["namespace"])
        found = disruption.covering(pod, near)
        if len(found) > 1:
            namespace, name = key_of(pod)
            chosen = found[0]["metadata"]["name"]
            message = f'Pod "{namespace}"/"{name}" matches multiple PodDisruptionBudgets.  '
            message += f'Chose "{chosen}" arbitrarily.'
            self.controller.recorder.event(pod, "Warning", "MultiplePodDisruptionBudgets", message)
        return [key_of(budget) for budget in found[:1]]

    async def sync(self, key: Key) -> None:
        """Count one budget's pods and say so in its status."""
        budget = self._budgets.get(*key)
        if budget is None:
            return
        now, recorder = self._clock.now(), self.controller.recorder
        pods = [pod for pod in self._pods.by_index("namespace", key[0]) if disruption.covers(budget, pod)]
        if not pods:
            recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            scale = await self._scale(budget, pods) if needs_scale(budget["spec"]) else 0
        except (Uncountable, NoMatch, NoScale) as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            await self._report(budget, failed(budget, str(error), now))
            return
        counted = count(budget, pods, scale, now)
        for pod in counted.overdue:
            message = f"Pod was expected by PDB {key[0]}/{key[1]} to be deleted but it wasn't"
            recorder.event(pod, "Warning", "NotDeleted", message)
        await self._report(budget, counted.status)
        if counted.recheck_seconds is not None:
            self.controller.queue.add_after(key, counted.recheck_seconds)

    async def _report(self, budget: Obj, status: Obj) -> None:
        if status == budget.get("status"):
            return
        try:
            await self._client.update(PODDISRUPTIONBUDGETS, {**budget, "status": status}, subresource="status")
        except NotFound:
            return

    async def _scale(self, budget: Obj, pods: Iterable[Obj]) -> int:
        """What the owners of these pods wish for together; raises Uncountable."""
        sizes: dict[str, int] = {}
        seen: set[str] = set()
        unmanaged = False
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference["uid"] not in seen:
                seen.add(reference["uid"])
                uid, size = await self._size(reference, pod)
                sizes[uid] = size
        if unmanaged:
            shown = go_label_selector(budget["spec"].get("selector"))
            message = (
                f"Pods selected by this PodDisruptionBudget (selector: {shown}) were found to be unmanaged. As a "
                "result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "
                'To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
            )
            self.controller.recorder.event(budget, "Warning", "UnmanagedPods", message)
        return sum(sizes.values())

    async def _size(self, reference: Obj, pod: Obj) -> tuple[str, int]:
        """(uid, replicas) of what decides on the number of the pod's siblings: a ReplicaSet's Deployment, if any."""
        group = reference["apiVersion"].rpartition("/")[0]
        resource = _BY_KEPT_KIND.get((group, reference["kind"]))
        namespace = pod["metadata"]["namespace"]
        if resource is None:
            return await self._foreign_size(group, reference, pod)
        owner = self._known(resource, reference, namespace)
        if owner is None:
            raise _without_owner(pod)
        above = controller_of(owner) if resource is REPLICASETS else None
        if above is not None and above["kind"] == "Deployment":
            owner = self._known(DEPLOYMENTS, above, namespace)
            if owner is None:
                raise _without_owner(pod)
        return owner["metadata"]["uid"], owner["spec"].get("replicas", 1)

    def _known(self, resource: Resource, reference: Obj, namespace: str) -> Obj | None:
        found = self._owners[resource].get(namespace, reference["name"])
        return found if found is not None and found["metadata"]["uid"] == reference["uid"] else None

    async def _foreign_size(self, group: str, reference: Obj, pod: Obj) -> tuple[str, int]:
        resource = await self._scales.resource(group, reference["kind"])
        try:
            scale: dict[str, Any] = await self._scales.get(resource, reference["name"], pod["metadata"]["namespace"])
        except NotFound:
            raise _without_owner(pod) from None
        if scale["metadata"].get("uid") != reference["uid"]:
            raise _without_owner(pod)
        return reference["uid"], scale.get("spec", {}).get("replicas", 0)


def _without_owner(pod: Obj) -> Uncountable:
    return Uncountable(f'found no controllers for pod "{pod["metadata"]["name"]}"')


class StaleDisruptions:
    """Keyed by pod: takes back the mark of a disruption that did not come."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._pods = context.informer(PODS)
        self.controller = Controller("stale-pod-disruption", context, self.sync, workers=1)
        self.controller.watch(self._pods, self._marked)

    def _marked(self, pod: Obj) -> list[Key]:
        return [] if stale_seconds(pod, self._clock.now()) is None else [key_of(pod)]

    async def sync(self, key: Key) -> None:
        """Set the condition to False once it is stale."""
        pod = self._pods.get(*key)
        left = stale_seconds(pod, self._clock.now()) if pod is not None else None
        if pod is None or left is None:
            return
        if left > 0:
            self.controller.queue.add_after(key, left + 0.01)
            return
        moment = format_time(self._clock.now())
        calm = {"type": disruption.TARGET, "status": "False", "lastProbeTime": None, "lastTransitionTime": moment}
        conditions = [calm if each["type"] == disruption.TARGET else each for each in pod["status"]["conditions"]]
        status = {**pod["status"], "conditions": conditions}
        try:
            await self._client.update(PODS, {**pod, "status": status}, subresource="status")
        except NotFound:
            return
