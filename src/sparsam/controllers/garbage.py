"""Garbage collection by owner references: background, foreground and orphan.

Keeps a graph of owners and dependents over every kind, with no more of each object than the graph needs. An owner that
the graph does not know is looked up live before anything is deleted for the lack of it.
Source: Kubernetes documentation "Garbage Collection"; upstream's garbage collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from sparsam.client.informer import DELETED, Informer
from sparsam.controllers.customresources import CustomResources, slim_definition
from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS, EVENTS, RESOURCES, Resource

log = logging.getLogger(__name__)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
ABSENT_SECONDS = 30.0
"""How long a uid that was looked up and found absent is taken as absent; uids never come back."""


LISTED_SECONDS = 30.0
"""How long an object that is going waits for custom resources to be listed: its dependents may be among them."""


def watched_resources() -> list[Resource]:
    """Every stored kind once; events own nothing and are owned by nothing."""
    found: dict[str, Resource] = {}
    for resource in RESOURCES:
        if {"list", "watch", "delete"} <= set(resource.verbs) and resource.storage_prefix != EVENTS.storage_prefix:
            found.setdefault(resource.storage_prefix, resource)
    return list(found.values())


class Item:
    """What the graph keeps of an object."""

    __slots__ = ("deleting", "finalizers", "name", "namespace", "owners", "resource", "uid", "version")

    def __init__(self, resource: Resource, obj: Obj) -> None:
        metadata = obj["metadata"]
        self.resource = resource
        self.uid: str = metadata["uid"]
        self.version: str = metadata["resourceVersion"]
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.deleting = "deletionTimestamp" in metadata
        self.finalizers: tuple[str, ...] = tuple(metadata.get("finalizers") or ())
        self.owners: tuple[Obj, ...] = tuple(metadata.get("ownerReferences") or ())


def slim(obj: Obj) -> Obj:
    """The part of an object that the graph is built from."""
    keys = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "finalizers", "ownerReferences")
    return {"metadata": {key: obj["metadata"][key] for key in keys if key in obj["metadata"]}}


class GarbageCollector:
    """Keyed by ("", uid)."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, set[str]] = {}
        self._absent: dict[str, float] = {}
        self.controller = Controller("garbage-collector", context, self.sync, workers=8)
        self._informers = context.informers
        self._custom_informers: dict[Resource, Informer] = {}
        self._custom = CustomResources(context, self._on_custom)
        for resource in watched_resources():
            self.controller.needs(self._observe(resource))

    def _observe(self, resource: Resource) -> Informer:
        transform = slim_definition if resource is CUSTOMRESOURCEDEFINITIONS else slim
        informer = self._informers.metadata_informer(resource, transform)
        informer.add_handler(self._observer(resource))
        return informer

    def _on_custom(self, came: Sequence[Resource], went: Sequence[Resource], for_good: bool) -> None:
        for resource in went:
            informer = self._custom_informers.pop(resource, None)
            if informer is not None:
                self._informers.drop(resource)
                for obj in informer.items():
                    # What is merely not served for the moment may still own what it owns.
                    (self._forget if for_good else self._lose)(obj["metadata"]["uid"])
        for resource in came:
            self._custom_informers[resource] = self._observe(resource)

    async def sync(self, key: Key) -> None:
        """Look at one object: its owners if it has any, its dependents if it is going."""
        uid = key[1]
        item = self._items.get(uid)
        if item is None:
            return
        if item.deleting:
            await self._going(item)
        elif item.owners:
            await self._check_owners(item)

    def _observer(self, resource: Resource) -> Any:
        def observe(kind: str, old: Obj | None, new: Obj | None) -> None:
            if kind == DELETED or new is None:
                if old is not None:
                    self._forget(old["metadata"]["uid"])
                return
            if old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
                self._forget(old["metadata"]["uid"])
            self._learn(Item(resource, new))

        return observe

    def _learn(self, item: Item) -> None:
        known = self._items.get(item.uid)
        if known is not None:
            self._unlink(known)
        self._items[item.uid] = item
        for owner in item.owners:
            self._dependents.setdefault(owner["uid"], set()).add(item.uid)
        if item.owners or item.deleting:
            self.controller.queue.add(("", item.uid))
        # Those that were its owners until now wait for it no longer.
        self._look_at_owners(item.owners if known is None else (*known.owners, *item.owners))

    def _lose(self, uid: str) -> Item | None:
        """Take an object out of the graph; the object."""
        item = self._items.pop(uid, None)
        if item is not None:
            self._unlink(item)
        return item

    def _forget(self, uid: str) -> None:
        """An object is gone: look at those that depend on it, and at its owners, which may have waited for it."""
        item = self._lose(uid)
        if item is None:
            return
        self._absent[uid] = self._clock.monotonic()
        for dependent in self._dependents.get(uid, ()):
            self.controller.queue.add(("", dependent))
        self._look_at_owners(item.owners)

    def _look_at_owners(self, owners: Iterable[Obj]) -> None:
        for owner in owners:
            above = self._items.get(owner["uid"])
            if above is not None and above.deleting:
                self.controller.queue.add(("", above.uid))

    def _unlink(self, item: Item) -> None:
        for owner in item.owners:
            below = self._dependents.get(owner["uid"])
            if below is not None:
                below.discard(item.uid)
                if not below:
                    del self._dependents[owner["uid"]]

    async def _going(self, item: Item) -> None:
        await self._know_dependents()
        if ORPHAN in item.finalizers:
            for uid in list(self._dependents.get(item.uid, ())):
                await self._drop_owner(self._items[uid], {item.uid})
            await self._drop_finalizer(item, ORPHAN)
        elif FOREGROUND in item.finalizers:
            dependents = [self._items[uid] for uid in self._dependents.get(item.uid, ()) if uid in self._items]
            for dependent in dependents:
                # It may have other owners: what becomes of it is decided when it is looked at itself.
                if not dependent.deleting:
                    self.controller.queue.add(("", dependent.uid))
            if not any(_blocks(dependent, item.uid) for dependent in dependents):
                await self._drop_finalizer(item, FOREGROUND)

    async def _know_dependents(self) -> None:
        """Wait until all custom resources were listed, but not forever for one that cannot be."""
        behind = [each for each in self._custom_informers.values() if not each.synced.is_set()]
        if behind:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTED_SECONDS):
                    await asyncio.gather(*(informer.synced.wait() for informer in behind))

    async def _check_owners(self, item: Item) -> None:
        solid: list[Obj] = []
        waiting: list[Obj] = []
        dangling: set[str] = set()
        for owner in item.owners:
            if not await self._exists(item, owner):
                dangling.add(owner["uid"])
                continue
            above = self._items.get(owner["uid"])
            (waiting if above is not None and _awaits_dependents(above) else solid).append(owner)
        if solid:
            leaving = dangling | {owner["uid"] for owner in waiting}
            if leaving:
                await self._drop_owner(item, leaving)
            return
        if waiting:
            below = [self._items[uid] for uid in self._dependents.get(item.uid, ()) if uid in self._items]
            if any(map(_awaits_dependents, below)):
                await self._unblock_owners(item)
            await self._delete(item, "Foreground" if below else "Background")
        elif dangling:
            # A finalizer that asks for more than the default must be honoured.
            policy = (
                "Orphan"
                if ORPHAN in item.finalizers
                else "Foreground"
                if FOREGROUND in item.finalizers
                else "Background"
            )
            await self._delete(item, policy)

    async def _exists(self, item: Item, owner: Obj) -> bool:
        uid = owner["uid"]
        known = self._items.get(uid)
        if known is not None:
            # The same uid in another namespace cannot be meant: owners live in the dependent's namespace or in none.
            return known.namespace in ("", item.namespace)
        now = self._clock.monotonic()
        if now - self._absent.get(uid, -ABSENT_SECONDS) < ABSENT_SECONDS:
            return False
        resource = self._custom.catalog.by_kind(owner["apiVersion"], owner["kind"])
        if resource is None:
            return True  # a kind that is not served here: no proof of absence
        try:
            found = await self._client.get(resource, owner["name"], item.namespace if resource.namespaced else "")
        except NotFound as error:
            if not (error.details or {}).get("name"):
                return True  # the kind, not the object: no proof either
            found = None
        if found is not None and found["metadata"]["uid"] == uid:
            return True
        self._absent[uid] = now
        self._trim_absent(now)
        return False

    def _trim_absent(self, now: float) -> None:
        if len(self._absent) > 10_000:
            self._absent = {uid: seen for uid, seen in self._absent.items() if now - seen < ABSENT_SECONDS}

    async def _delete(self, item: Item, policy: str) -> None:
        try:
            await self._client.delete(item.resource, item.name, item.namespace, propagation=policy, uid=item.uid)
            log.info("collected resource=%s key=%s/%s", item.resource.group_resource, item.namespace, item.name)
        except (NotFound, Conflict):
            return

    async def _drop_owner(self, item: Item, uids: set[str]) -> None:
        kept = [owner for owner in item.owners if owner["uid"] not in uids]
        await self._patch(item, {"ownerReferences": kept or None})

    async def _unblock_owners(self, item: Item) -> None:
        """Break a circle: each would wait for the next one."""
        owners = [owner | {"blockOwnerDeletion": False} for owner in item.owners]
        if owners != list(item.owners):
            await self._patch(item, {"ownerReferences": owners})

    async def _drop_finalizer(self, item: Item, finalizer: str) -> None:
        kept = [each for each in item.finalizers if each != finalizer]
        await self._patch(item, {"finalizers": kept or None})

    async def _patch(self, item: Item, metadata: Obj) -> None:
        # The version guards what others may have added to the same list meanwhile.
        patch = {"metadata": {"uid": item.uid, "resourceVersion": item.version, **metadata}}
        try:
            await self._client.patch(item.resource, item.name, patch, namespace=item.namespace)
        except NotFound:
            return


def _awaits_dependents(item: Item) -> bool:
    return item.deleting and FOREGROUND in item.finalizers


def _blocks(dependent: Item, owner_uid: str) -> bool:
    return any(owner["uid"] == owner_uid and owner.get("blockOwnerDeletion") for owner in dependent.owners)
