"""A copy in memory of a part of the store, kept by watching."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sparsam.objects.kinds import Resource
from sparsam.store.interface import Entry, Event, Store, StoreError

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


async def follow(
    store: Store, resource: Resource, reset: Callable[[list[Entry]], None], change: Callable[[Event], None]
) -> None:
    """Hand over all objects of a resource, then each change, until cancelled; all over again after a fault."""
    while True:
        try:
            page = await store.list(resource.storage_prefix)
            reset(page.entries)
            async with store.watch(resource.storage_prefix, since=page.revision) as batches:
                async for batch in batches:
                    for event in batch:
                        change(event)
        except StoreError as error:
            log.warning("%s are read again error=%s", resource.plural, error or type(error).__name__)
        await asyncio.sleep(_RETRY_SECONDS)


def key_of(resource: Resource, entry: Entry) -> tuple[str, str]:
    """Namespace (empty for what has none) and name of an entry's object."""
    namespace, _, name = entry.key.removeprefix(resource.storage_prefix).rpartition("/")
    return namespace, name
