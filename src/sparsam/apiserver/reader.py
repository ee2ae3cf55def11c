"""Decoded reads for parts that look things up on the way: admission, tokens, proxies."""

from __future__ import annotations

from sparsam.apiserver import conversion
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store


class StoreReader:
    """Reads straight from the store, so that what it says is never stale."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        entry = await self._store.get(resource.key(name, namespace))
        return conversion.decode(resource, entry.value, entry.revision) if entry else None

    async def items(self, resource: Resource, namespace: str = "") -> list[Obj]:
        """All objects of a namespace, or of the cluster."""
        prefix = f"{resource.storage_prefix}{namespace}/" if namespace else resource.storage_prefix
        page = await self._store.list(prefix)
        return [conversion.decode(resource, entry.value, entry.revision) for entry in page.entries]
