"""ResourceQuotas: every new object is charged before it is stored, or refused.

A charge that comes to nothing, since the object could not be stored after all, is taken back by the controller when it
counts again. Source: upstream's ResourceQuota plug-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from weakref import WeakValueDictionary

from sparsam.apiserver import conversion
from sparsam.apiserver.admission import Attributes, Reader, forbidden
from sparsam.clock import Clock
from sparsam.errors import InternalError
from sparsam.objects import quotas
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES
from sparsam.objects.podresources import Amounts, added, amounts, texts
from sparsam.objects.quantity import Amount
from sparsam.objects.strategy import Obj
from sparsam.store.interface import KeyMissing, RevisionMismatch, Store

ATTEMPTS = 16


def handles(attributes: Attributes, new: Obj, old: Obj | None) -> bool:
    """Whether the request can cost a quota anything."""
    resource, part = attributes.resource, attributes.subresource
    if not quotas.is_counted(resource) or not attributes.namespace:
        return False
    if attributes.operation == "CREATE":
        return not part
    if attributes.operation != "UPDATE" or old is None:
        return False
    if resource is PODS:
        return part == "resize"
    if resource is PERSISTENTVOLUMECLAIMS:
        return not part or (part == "status" and new.get("status") != old.get("status"))
    return resource is SERVICES and not part


def charge(attributes: Attributes, known: Sequence[Obj], new: Obj, old: Obj | None, now: datetime) -> list[Obj]:
    """The quotas that change, with their new use; raises Forbidden."""
    cost = quotas.usage(attributes.resource, new, now)
    negative = sorted(name for name, value in cost.items() if value.value < 0)
    if negative:
        raise forbidden(attributes, new, f"quota usage is negative for resource(s): {','.join(negative)}")
    pertinent = [quota for quota in known if _is_pertinent(attributes, quota, new)]
    changed = []
    for quota in pertinent:
        delta = dict(cost)
        if old is not None and _matches(attributes, quota, old):
            delta = _more(cost, quotas.usage(attributes.resource, old, now))
        status = quota.get("status") or {}
        hard = amounts(status.get("hard"))
        asked = {name: value for name, value in delta.items() if value.value and name in hard}
        if not asked:
            continue
        used = added(amounts(status.get("used")), asked)
        exceeded = [name for name in asked if used[name].value > hard[name].value]
        if exceeded and attributes.subresource != "status":
            before = amounts(status.get("used"))
            name = quota["metadata"]["name"]
            why = f"exceeded quota: {name}, requested: {_shown(asked, exceeded)}, used: {_shown(before, exceeded)}"
            raise forbidden(attributes, new, f"{why}, limited: {_shown(hard, exceeded)}")
        changed.append({**quota, "status": {**status, "used": texts(used)}})
    return changed


def _matches(attributes: Attributes, quota: Obj, obj: Obj) -> bool:
    names = quotas.matching(attributes.resource, (quota.get("status") or {}).get("hard") or {})
    return bool(names) and quotas.in_scope(quota, attributes.resource, obj)


def _is_pertinent(attributes: Attributes, quota: Obj, new: Obj) -> bool:
    """Whether a quota counts the object; raises Forbidden when it does, and lacks what it takes to count."""
    if not _matches(attributes, quota, new):
        return False
    name, status = quota["metadata"]["name"], quota["status"]
    counted = quotas.matching(attributes.resource, status["hard"])
    if attributes.resource is PODS and (missing := quotas.unstated(counted, new)):
        raise forbidden(attributes, new, f"failed quota: {name}: {missing}")
    if any(each not in (status.get("used") or {}) for each in counted):
        raise forbidden(attributes, new, f"status unknown for quota: {name}, resources: {','.join(sorted(counted))}")
    return True


def _more(cost: Mapping[str, Amount], before: Mapping[str, Amount]) -> Amounts:
    """What is asked for in addition; less is no credit, the controller will see it."""
    found = {}
    for name, value in cost.items():
        rest = value - before[name] if name in before else value
        found[name] = rest if rest.value > 0 else Amount(Decimal(0), value.style)
    return found


def _shown(known: Mapping[str, Amount], names: Sequence[str]) -> str:
    return ",".join(f"{name}={known[name]}" for name in sorted(names) if name in known)


class QuotaCharging:
    """A validator that writes: the use of quotas, by compare and set, one object after the other per namespace."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> list[str]:
        """Charge the object; raises Forbidden."""
        if not handles(attributes, new, old):
            return []
        known = await reader.items(RESOURCEQUOTAS, attributes.namespace)
        if not known:
            return []
        lock = self._locks.get(attributes.namespace)
        if lock is None:
            lock = self._locks[attributes.namespace] = asyncio.Lock()
        async with lock:
            await self._charge(attributes, new, old, reader)
        return []

    async def _charge(self, attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> None:
        known = await reader.items(RESOURCEQUOTAS, attributes.namespace)
        for _ in range(ATTEMPTS):
            changed = charge(attributes, known, new, old, self._clock.now())
            if attributes.dry_run:
                return
            known = [current for quota in changed if (current := await self._write(quota)) is not None]
            if not known:
                return
        raise InternalError("resource quota evaluation timed out")

    async def _write(self, quota: Obj) -> Obj | None:
        """Store the new use; the quota as it is now when somebody else was first."""
        metadata = quota["metadata"]
        key = RESOURCEQUOTAS.key(metadata["name"], metadata["namespace"])
        value = conversion.encode(RESOURCEQUOTAS, quota)
        try:
            await self._store.update(key, value, expected=int(metadata["resourceVersion"]))
        except RevisionMismatch as mismatch:
            return conversion.decode(RESOURCEQUOTAS, mismatch.current.value, mismatch.current.revision)
        except KeyMissing:
            pass
        return None
