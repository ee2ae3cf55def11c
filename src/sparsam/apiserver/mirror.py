"""Objects of one kind, held in memory and kept like the store by watching it.

For what is asked at every request: roles, webhook configurations, APIServices. Several servers may share a store, so
that the watch is followed and not our own writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sparsam.apiserver import conversion
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import EventType, Store, StoreError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After which a watch that broke off is begun anew."""

Key = tuple[str, str]
"""Namespace and name."""


def _nothing() -> None:
    """Nobody listens."""


class Mirror:
    """See the module. `changed` is called after each change, and after each list."""

    def __init__(self, store: Store, resource: Resource, changed: Callable[[], None] = _nothing) -> None:
        self._store, self._resource, self._changed = store, resource, changed
        self.objects: dict[Key, Obj] = {}

    async def load(self) -> int:
        """Read everything once; the revision at which it was so."""
        page = await self._store.list(self._resource.storage_prefix)
        found = [conversion.decode(self._resource, entry.value, entry.revision) for entry in page.entries]
        self.objects = {_key(obj): obj for obj in found}
        self._changed()
        return page.revision

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            try:
                await self._follow(await self.load())
            except StoreError as error:
                kind, why = self._resource.plural, error or type(error).__name__
                log.warning("objects are read again kind=%s error=%s", kind, why)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, revision: int) -> None:
        async with self._store.watch(self._resource.storage_prefix, since=revision) as batches:
            async for batch in batches:
                for event in batch:
                    obj = conversion.decode(self._resource, event.entry.value, event.entry.revision)
                    if event.type is EventType.DELETED:
                        self.objects.pop(_key(obj), None)
                    else:
                        self.objects[_key(obj)] = obj
                if batch:
                    self._changed()


def _key(obj: Obj) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
