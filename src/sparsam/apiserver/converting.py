"""A store as one version of a custom resource sees it, when its versions differ in more than their name.

The seam for conversion by webhooks: what comes out of the store is converted to the version that was asked for, what
goes in to the version that is stored. Each stored value says which version it is of; only others are converted.
Everything behind the seam, decoding, selection and rendering, knows nothing of it. Versions that differ in name only
(strategy `None`) need none of this: see `conversion`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from sparsam.errors import InternalError
from sparsam.objects import codec
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry, Event, EventBatch, Page, RevisionMismatch, Store

Entries = list[Entry]
Values = list[bytes]
Convert = Callable[[CustomResource, list[Obj], str], Awaitable[list[Obj]]]
"""(resource of the definition, objects, version of the API wanted): the objects in it; raises StatusError."""


async def refuse(resource: CustomResource, objects: list[Obj], _desired: str) -> list[Obj]:
    """The conversion of a server that calls no webhooks."""
    said = objects[0].get("apiVersion", "")
    text = f"conversion webhook for {said}, Kind={resource.kind} failed: webhooks are not called by this server"
    raise InternalError(text, details={})


class ConvertingStore:
    """The Store protocol over another store; keys outside of the resource's collection must not be asked for."""

    def __init__(self, store: Store, resource: CustomResource, convert: Convert) -> None:
        self._store, self._resource, self._convert = store, resource, convert

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        return self._store.revision

    async def get(self, key: str, *, revision: int | None = None) -> Entry | None:
        """The entry, converted."""
        entry = await self._store.get(key, revision=revision)
        return (await self._shown([entry]))[0] if entry is not None else None

    async def list(
        self, prefix: str, *, revision: int | None = None, limit: int = 0, start_key: str | None = None
    ) -> Page:
        """The entries, converted together."""
        page = await self._store.list(prefix, revision=revision, limit=limit, start_key=start_key)
        return replace(page, entries=await self._shown(page.entries))

    async def create(self, key: str, value: bytes) -> Entry:
        """Stores the value in the stored version; answers with what was given."""
        entry = await self._store.create(key, await self._stored(value))
        return replace(entry, value=value)

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """The same, over what is there."""
        try:
            entry = await self._store.update(key, await self._stored(value), expected=expected)
        except RevisionMismatch as mismatch:
            raise RevisionMismatch((await self._shown([mismatch.current]))[0]) from None
        return replace(entry, value=value)

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """The entry as deleted, converted."""
        try:
            entry = await self._store.delete(key, expected=expected)
        except RevisionMismatch as mismatch:
            raise RevisionMismatch((await self._shown([mismatch.current]))[0]) from None
        return (await self._shown([entry]))[0]

    @asynccontextmanager
    async def watch(self, prefix: str, *, since: int) -> AsyncIterator[AsyncIterator[EventBatch]]:
        """Changes, each batch converted together."""
        async with self._store.watch(prefix, since=since) as batches:
            yield self._converted(batches)

    async def _converted(self, batches: AsyncIterator[EventBatch]) -> AsyncIterator[EventBatch]:
        async for batch in batches:
            before = [event.previous for event in batch if event.previous is not None]
            shown = iter(await self._shown([*(event.entry for event in batch), *before]))
            entries = [next(shown) for _ in batch]
            yield [
                Event(event.type, entry, next(shown) if event.previous is not None else None)
                for event, entry in zip(batch, entries, strict=True)
            ]

    async def compact(self, revision: int) -> None:
        """As the store does."""
        await self._store.compact(revision)

    async def close(self) -> None:
        """The store is closed by who opened it."""

    async def _shown(self, entries: Sequence[Entry]) -> Entries:
        values = await self._in_version([entry.value for entry in entries], self._resource.api_version)
        return [replace(entry, value=value) for entry, value in zip(entries, values, strict=True)]

    async def _stored(self, value: bytes) -> bytes:
        return (await self._in_version([value], self._resource.type.stored_as))[0]

    async def _in_version(self, values: Sequence[bytes], desired: str) -> Values:
        found = [*values]
        others = []
        for position, value in enumerate(values):
            obj = msgspec.json.decode(value, type=Obj)
            if obj["apiVersion"] != desired:
                others.append((position, {"kind": self._resource.kind} | obj))
        if others:
            converted = await self._convert(self._resource, [obj for _, obj in others], desired)
            for (position, _), obj in zip(others, converted, strict=True):
                found[position] = codec.encode(obj, stored_as=desired)
        return found
