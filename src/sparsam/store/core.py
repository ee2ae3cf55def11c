"""What every store does in memory: reads, lists, recent history and watches.

A concrete store adds only how a write becomes durable, and may keep an archive of revisions older than memory's.
Everything here runs on the event loop; nothing becomes visible before `_publish`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sparsam.store.config import StoreConfig
from sparsam.store.fanout import Fanout, Watcher
from sparsam.store.history import History
from sparsam.store.index import LiveIndex
from sparsam.store.interface import (
    Compacted,
    Entry,
    Event,
    EventBatch,
    FutureRevision,
    Page,
    StoreUnavailable,
)

FIRST_REVISION = 1
"""The revision of an empty store: 0 means "any" to Kubernetes clients, so no state may have it."""


@dataclass(frozen=True, slots=True)
class State:
    """What a store starts with."""

    index: LiveIndex = field(default_factory=LiveIndex)
    revision: int = FIRST_REVISION
    oldest: int = FIRST_REVISION
    """The oldest revision that can be read."""


class Archive(Protocol):
    """Revisions that memory no longer covers."""

    async def get(self, key: str, revision: int) -> Entry | None:
        """The entry as of a revision."""
        ...

    async def list(self, prefix: str, revision: int, *, limit: int, start_key: str) -> Page:
        """Entries as of a revision."""
        ...

    async def events(self, prefix: str, *, since: int, until: int, limit: int) -> EventBatch:
        """Events in (since, until], at most `limit`, oldest first."""
        ...


class StoreCore:
    """State in memory and its readers."""

    def __init__(
        self,
        config: StoreConfig,
        state: State,
        *,
        archive: Archive | None = None,
    ) -> None:
        self._config = config
        self._index = state.index
        self._revision = state.revision
        self._oldest = state.oldest
        self._archive = archive
        self._history = History(config, floor=state.revision)
        self._fanout = Fanout()
        self._closed = False
        self._marked_revision = state.revision
        self._loop = asyncio.get_running_loop()
        self._progress = self._loop.call_later(config.progress_seconds, self._mark_progress)

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        return self._revision

    async def get(self, key: str, *, revision: int | None = None) -> Entry | None:
        """The entry now or as of a revision; raises Compacted, FutureRevision."""
        self._check(revision)
        if revision is None or revision == self._revision:
            return self._index.get(key)
        if revision >= self._history.floor:
            held = self._history.undo(key, revision)
            return held[key] if key in held else self._index.get(key)
        entry = await self._archived().get(key, revision)
        self._check(revision)
        return entry

    async def list(
        self, prefix: str, *, revision: int | None = None, limit: int = 0, start_key: str | None = None
    ) -> Page:
        """Entries in key order, from `start_key` on (inclusive); raises Compacted, FutureRevision."""
        self._check(revision)
        if revision is None:
            revision = self._revision
        if revision >= self._history.floor:
            overlay = self._history.undo(prefix, revision)
            entries, next_key, remaining = self._index.slice(prefix, start_key=start_key, limit=limit, overlay=overlay)
            return Page(entries, revision, next_key, remaining)
        page = await self._archived().list(prefix, revision, limit=limit, start_key=max(prefix, start_key or ""))
        self._check(revision)
        return page

    def watch(self, prefix: str, *, since: int) -> AbstractAsyncContextManager[AsyncIterator[EventBatch]]:
        """Changes under prefix after `since`; see the protocol."""
        return self._watch(prefix, since)

    @asynccontextmanager
    async def _watch(self, prefix: str, since: int) -> AsyncIterator[AsyncIterator[EventBatch]]:
        self._check(since)
        watcher = Watcher(prefix, self._config)
        # Delivery starts before the backlog is read, so that nothing falls in between.
        self._fanout.add(watcher)
        try:
            watcher.resume_with(await self._missed(prefix, since))
            yield watcher
        finally:
            self._fanout.remove(watcher)

    async def _missed(self, prefix: str, since: int) -> EventBatch:
        if since >= self._history.floor:
            return self._history.since(prefix, since)
        limit = self._config.backlog_events
        events = await self._archived().events(prefix, since=since, until=self._revision, limit=limit + 1)
        self._check(since)
        if len(events) > limit:
            raise Compacted(f"more than {limit} events since revision {since}")
        return events

    def _archived(self) -> Archive:
        if self._archive is None:
            raise Compacted("the history in memory does not reach that far")
        return self._archive

    def _check(self, revision: int | None) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if revision is None:
            return
        if revision > self._revision:
            raise FutureRevision(self._revision)
        if revision < self._oldest:
            raise Compacted(f"revision {revision} is older than {self._oldest}")

    def _publish(self, events: Sequence[Event]) -> None:
        """Make durable events visible, to readers and watchers at the same moment."""
        for event in events:
            self._index.apply(event)
            self._history.append(event)
        self._revision = events[-1].entry.revision
        self._fanout.publish(events)

    def _forget(self, revision: int) -> bool:
        """Refuse revisions before this one from now on; False when that is so already."""
        self._check(None)
        if revision > self._revision:
            raise FutureRevision(self._revision)
        if revision <= self._oldest:
            return False
        self._oldest = revision
        self._history.forget(revision)
        return True

    def _mark_progress(self) -> None:
        if self._marked_revision != self._revision:
            self._marked_revision = self._revision
            self._fanout.mark()
        self._progress = self._loop.call_later(self._config.progress_seconds, self._mark_progress)

    def _end_watches(self) -> None:
        self._closed = True
        self._progress.cancel()
        self._fanout.close()
