"""What the store's tests share: a model to compare with, and a watch run in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sparsam.store.interface import Entry, Event, EventType, KeyExists, KeyMissing, RevisionMismatch, Store, StoreError


@dataclass
class Model:
    """A store as slow and obvious as can be: every event since the beginning, replayed for every question."""

    events: list[Event] = field(default_factory=list)
    oldest: int = 1

    @property
    def revision(self) -> int:
        return self.events[-1].entry.revision if self.events else 1

    def state(self, revision: int | None = None) -> dict[str, Entry]:
        living: dict[str, Entry] = {}
        for event in self.events:
            if revision is not None and event.entry.revision > revision:
                break
            if event.type is EventType.DELETED:
                del living[event.entry.key]
            else:
                living[event.entry.key] = event.entry
        return dict(sorted(living.items()))

    def listing(self, prefix: str, revision: int | None, start_key: str | None) -> list[Entry]:
        state = self.state(revision)
        return [entry for key, entry in state.items() if key.startswith(prefix) and key >= (start_key or "")]

    def since(self, prefix: str, revision: int) -> list[Event]:
        return [
            event for event in self.events if event.entry.revision > revision and event.entry.key.startswith(prefix)
        ]

    def create(self, key: str, value: bytes) -> Entry | type[StoreError]:
        if key in self.state():
            return KeyExists
        revision = self.revision + 1
        return self._add(Event(EventType.ADDED, Entry(key, value, revision, revision)))

    def update(self, key: str, value: bytes, expected: int) -> Entry | type[StoreError]:
        current = self.state().get(key)
        if current is None:
            return KeyMissing
        if current.revision != expected:
            return RevisionMismatch
        entry = Entry(key, value, self.revision + 1, current.created_revision)
        return self._add(Event(EventType.MODIFIED, entry, current))

    def delete(self, key: str, expected: int | None) -> Entry | type[StoreError]:
        current = self.state().get(key)
        if current is None:
            return KeyMissing
        if expected is not None and current.revision != expected:
            return RevisionMismatch
        entry = Entry(key, current.value, self.revision + 1, current.created_revision)
        return self._add(Event(EventType.DELETED, entry, current))

    def _add(self, event: Event) -> Entry:
        self.events.append(event)
        return event.entry


@dataclass
class Watched:
    """What a watch in the background has seen."""

    store: Store
    events: list[Event] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    """The store's revision at each progress mark."""
    error: StoreError | None = None
    ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, batches: AsyncIterator[list[Event]]) -> None:
        try:
            async for batch in batches:
                self.events += batch
                if not batch:
                    self.marks.append(self.store.revision)
                self._news.set()
            self.ended = True
        except StoreError as error:
            self.error = error
        self._news.set()

    async def until(self, count: int) -> list[Event]:
        """Wait for as many events."""
        while len(self.events) < count and self.error is None and not self.ended:
            self._news.clear()
            await self._news.wait()
        return self.events

    async def until_marked(self) -> int:
        """Wait for a progress mark."""
        while not self.marks:
            self._news.clear()
            await self._news.wait()
        return self.marks[-1]


@asynccontextmanager
async def watching(store: Store, prefix: str, *, since: int) -> AsyncIterator[Watched]:
    """A watch whose events are collected as they come."""
    watched = Watched(store)
    async with store.watch(prefix, since=since) as batches:
        task = asyncio.create_task(watched.follow(batches))
        try:
            yield watched
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
