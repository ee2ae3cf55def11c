"""Counts what ResourceQuotas limit: at first, when something goes, and again every five minutes.

What is created is charged by the API server at once; this controller gives back what is free again.
Source: upstream's resource quota controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsam.client.informer import Informer
from sparsam.controllers.customresources import CustomResources
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of
from sparsam.errors import NotFound
from sparsam.objects import quotas
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES, Resource
from sparsam.objects.podresources import Amounts, amounts, texts

RESYNC_SECONDS = 300.0
"""Upstream's --resource-quota-sync-period."""
SETTLE_SECONDS = 5.0
_WHOLE = frozenset({PODS, SERVICES, PERSISTENTVOLUMECLAIMS})
"""What is not only counted."""


def slim(obj: Obj) -> Obj:
    """As much of an object as is needed to count it."""
    keys = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "finalizers", "ownerReferences")
    return {"metadata": {key: obj["metadata"][key] for key in keys if key in obj["metadata"]}}


def status_of(quota: Obj, used: Amounts) -> Obj:
    """The status for what was counted; what nobody counts stays as it was."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    before = amounts((quota.get("status") or {}).get("used"))
    kept = {name: value for name, value in before.items() if name in hard}
    return {"hard": dict(hard), "used": texts({**kept, **used})}


def same_amounts(first: Obj, second: Obj) -> bool:
    """Whether two statuses say the same, however it is written."""

    def values(status: Obj, part: str) -> dict[str, Any]:
        return {name: value.value for name, value in amounts(status.get(part)).items()}

    return all(
        (first.get(part) is None) == (second.get(part) is None) and values(first, part) == values(second, part)
        for part in ("hard", "used")
    )


class ResourceQuotaController:
    """Keyed by ResourceQuota."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock, self._informers = context.client, context.clock, context.informers
        self._quotas = context.informer(RESOURCEQUOTAS)
        self._quotas.add_index("namespace", lambda quota: [quota["metadata"]["namespace"]])
        self._counted: dict[Resource, Informer] = {}
        self.controller = Controller("resourcequota-controller", context, self.sync)
        self.controller.needs(self._quotas)
        self._quotas.add_handler(self._on_quota)
        self._custom = CustomResources(context, self._on_custom)
        self.controller.needs(self._custom.informer)

    def _on_custom(self, came: Sequence[Resource], went: Sequence[Resource], _for_good: bool) -> None:
        for resource in went:
            if self._counted.pop(resource, None) is not None:
                self._informers.drop(resource)
        for quota in self._quotas.items():
            hard = (quota.get("spec") or {}).get("hard") or {}
            if any(quotas.matching(resource, hard) for resource in came):
                self.controller.queue.add(key_of(quota))

    def _on_quota(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        # Charges change the status all the time; they are no reason to count.
        if new is not None and (old is None or old.get("spec") != new.get("spec")):
            self.controller.queue.add(key_of(new))

    async def sync(self, key: Key) -> None:
        """Count for one quota."""
        quota = self._quotas.get(*key)
        if quota is None:
            return
        self.controller.queue.add_after(key, RESYNC_SECONDS)
        hard = (quota.get("spec") or {}).get("hard") or {}
        objects = {
            resource: await self._objects(resource, key[0])
            for resource in quotas.counted_by(hard, self._custom.collections)
        }
        status = status_of(quota, quotas.total(quota, objects, self._clock.now()))
        if same_amounts(status, quota.get("status") or {}):
            return
        try:
            await self._client.update(RESOURCEQUOTAS, {**quota, "status": status}, subresource="status")
        except NotFound:
            return

    async def _objects(self, resource: Resource, namespace: str) -> list[Obj]:
        informer = self._counted.get(resource)
        if informer is None:
            informer = self._counted[resource] = self._watched(resource)
        await informer.synced.wait()
        return informer.by_index("namespace", namespace)

    def _watched(self, resource: Resource) -> Informer:
        """The informer of a resource that a quota counts for the first time."""
        whole = resource in _WHOLE
        informer = self._informers.informer(resource) if whole else self._informers.metadata_informer(resource, slim)
        informer.add_index("namespace", lambda obj: [obj["metadata"].get("namespace", "")])

        def on_change(_kind: str, old: Obj | None, new: Obj | None) -> None:
            if old is None and new is not None:
                # Charged already, but perhaps counted without it in between: look once more when all is calm.
                self._replenish(resource, new, seconds=SETTLE_SECONDS)
            elif old is not None and (new is None or (whole and self._frees(resource, old, new))):
                self._replenish(resource, old)

        informer.add_handler(on_change)
        return informer

    def _frees(self, resource: Resource, old: Obj, new: Obj) -> bool:
        now = self._clock.now()
        before, after = quotas.usage(resource, old, now), quotas.usage(resource, new, now)
        return any(name not in after or after[name].value < value.value for name, value in before.items())

    def _replenish(self, resource: Resource, obj: Obj, *, seconds: float = 0.0) -> None:
        for quota in self._quotas.by_index("namespace", obj["metadata"].get("namespace", "")):
            if not quotas.matching(resource, (quota.get("spec") or {}).get("hard") or {}):
                continue
            if seconds:
                self.controller.queue.add_after(key_of(quota), seconds)
            else:
                self.controller.queue.add(key_of(quota))
