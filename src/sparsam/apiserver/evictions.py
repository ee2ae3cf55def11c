"""Evictions: deletes of pods that a disruption budget may refuse.

Source: upstream's pods/eviction storage; KEP-3017 (unhealthyPodEvictionPolicy), KEP-3329 (DisruptionTarget).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Reader
from sparsam.apiserver.deletion import DeleteOptions, check_preconditions
from sparsam.apiserver.pods import set_condition
from sparsam.apiserver.registry import Call, Outcome, Registry
from sparsam.errors import Conflict, Forbidden, InternalError, StatusError, TooManyRequests
from sparsam.objects import disruption
from sparsam.objects.conditions import set_status_condition
from sparsam.objects.kinds import PODDISRUPTIONBUDGETS, PODS, Resource
from sparsam.objects.strategy import Obj

EVICTIONS = Resource("policy", "v1", "Eviction", "evictions", verbs=("create",))
VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
MOST_DISRUPTED = 2000
"""More evictions than this may not wait for the controller to notice them."""
ATTEMPTS = 20

Remove = Callable[[Call, DeleteOptions], Awaitable[Outcome]]


def needs_budget(pod: Obj) -> bool:
    """Whether evicting the pod disrupts anything: those that ended, wait for a node or go already do not."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]


def may_become_ready(pod: Obj) -> bool:
    """Whether a pod that needs no budget may need one a moment later, so that its version must be held to."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]


def costs_nothing(pod: Obj, budget: Obj) -> bool:
    """Whether the pod may go without a disruption from the budget: it is not healthy, and the policy lets it."""
    if disruption.is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy >= desired > 0)


def spend(budget: Obj, pod_name: str, now: str) -> None:
    """Take one disruption from a budget, in place; raises TooManyRequests when there is none left, and Forbidden."""
    name, status = budget["metadata"]["name"], budget.setdefault("status", {})
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise being_counted(name)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > MOST_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    status["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        conditions = status.get("conditions") or ()
        condition = disruption.allowed_condition(status)
        status["conditions"] = set_status_condition(conditions, condition, now)
    status["disruptedPods"] = {**disrupted, pod_name: now}


def mark_disrupted(pod: Obj, now: str) -> None:
    """Say in the pod's conditions that an eviction ends it."""
    condition = {
        "type": disruption.TARGET,
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    set_condition(pod.setdefault("status", {}), condition, now)


def being_counted(budget_name: str) -> StatusError:
    """The controller has not seen the latest state: a moment later the answer may be another one."""
    return _too_many(f"The disruption budget {budget_name} is still being processed by the server.", retry_seconds=10)


def _too_many(message: str, *, retry_seconds: int = 0) -> StatusError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    if retry_seconds:
        details["retryAfterSeconds"] = retry_seconds
    return TooManyRequests(VIOLATION, details=details)


def _forbidden(name: str, why: str) -> StatusError:
    # Upstream names the resource in the singular here.
    details = {"name": name, "group": PODDISRUPTIONBUDGETS.group, "kind": "poddisruptionbudget"}
    return Forbidden(f'poddisruptionbudget.policy "{name}" is forbidden: {why}', details=details)


class Evictions:
    """Evicts pods; `remove` is how a pod is deleted."""

    def __init__(self, registry: Registry, reader: Reader, remove: Remove) -> None:
        self._registry, self._reader, self._remove = registry, reader, remove

    async def evict(self, call: Call, options: DeleteOptions) -> None:
        """Delete the pod of `call`, or raise TooManyRequests."""
        pod = await self._delete_unguarded(call, options)
        if pod is None:
            return
        budgets = disruption.covering(pod, await self._reader.items(PODDISRUPTIONBUDGETS, call.namespace))
        if len(budgets) > 1:
            raise InternalError(SEVERAL, details={})
        if not budgets:
            await self._mark_and_delete(call, options)
        elif costs_nothing(pod, budgets[0]):
            await self._delete_unhealthy(call, options, pod, budgets[0]["metadata"]["name"])
        else:
            await self._spend(call, budgets[0]["metadata"]["name"])
            await self._mark_and_delete(call, options)

    async def _delete_unguarded(self, call: Call, options: DeleteOptions) -> Obj | None:
        """Delete a pod that no budget guards; else the pod. It is read again when it changes meanwhile."""
        for attempt in range(ATTEMPTS):
            pod = await self._reader.find(PODS, call.name, call.namespace)
            if pod is None:
                raise statuses.not_found(PODS, call.name)
            if needs_budget(pod):
                return pod
            held = options
            if may_become_ready(pod) and options.resource_version is None:
                held = replace(options, resource_version=pod["metadata"]["resourceVersion"])
            try:
                await self._mark_and_delete(call, held)
            except Conflict:
                if options.resource_version is not None or attempt == ATTEMPTS - 1:
                    raise
            else:
                return None
        return None

    async def _delete_unhealthy(self, call: Call, options: DeleteOptions, pod: Obj, budget_name: str) -> None:
        # Only as it was looked at: it may have become healthy, and count, since.
        held = replace(options, resource_version=pod["metadata"]["resourceVersion"])
        try:
            await self._mark_and_delete(call, held)
        except Conflict:
            if options.resource_version is None:
                raise being_counted(budget_name) from None
            raise

    async def _spend(self, call: Call, budget_name: str) -> None:
        about = replace(call, resource=PODDISRUPTIONBUDGETS, name=budget_name)
        now = self._registry.now()
        await self._registry.mutate(about, lambda budget: spend(budget, call.name, now))

    async def _mark_and_delete(self, call: Call, options: DeleteOptions) -> None:
        if not options.dry_run:
            now = self._registry.now()

            def mark(pod: Obj) -> None:
                check_preconditions(PODS, pod, options)
                mark_disrupted(pod, now)

            marked = await self._registry.mutate(call, mark)
            if options.resource_version is not None:
                options = replace(options, resource_version=str(marked.revision))
        await self._remove(call, options)
