"""Objects of one kind, held in memory and kept like the store by watching it.

For what is asked at every request: roles, webhook configurations, APIServices. Several servers may share a store, so
that the watch is followed and not our own writes.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsam.apiserver import conversion
from sparsam.apiserver.following import follow, key_of
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry, Event, EventType, Store


def _nothing() -> None:
    """Nobody listens."""


class Mirror:
    """See the module. `changed` is called after each change, and after each list."""

    def __init__(self, store: Store, resource: Resource, changed: Callable[[], None] = _nothing) -> None:
        self._store, self._resource, self._changed = store, resource, changed
        self.objects: dict[tuple[str, str], Obj] = {}
        """By namespace and name."""

    async def load(self) -> None:
        """Read everything once."""
        self._reset((await self._store.list(self._resource.storage_prefix)).entries)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        await follow(self._store, self._resource, self._reset, self._change)

    def _reset(self, entries: list[Entry]) -> None:
        self.objects = {key_of(self._resource, entry): self._decoded(entry) for entry in entries}
        self._changed()

    def _change(self, event: Event) -> None:
        key = key_of(self._resource, event.entry)
        if event.type is EventType.DELETED:
            self.objects.pop(key, None)
        else:
            self.objects[key] = self._decoded(event.entry)
        self._changed()

    def _decoded(self, entry: Entry) -> Obj:
        return conversion.decode(self._resource, entry.value, entry.revision)
