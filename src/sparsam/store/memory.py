"""A store that forgets everything when it closes: for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from sparsam.store.config import StoreConfig
from sparsam.store.interface import Entry, Event, EventBatch, Page, StoreUnavailable
from sparsam.store.journal import Journal
from sparsam.store.state import State


class MemoryStore:
    """The Store protocol without durability."""

    def __init__(self, config: StoreConfig | None = None) -> None:
        config = config or StoreConfig()
        self._state = State(history=config.history_events, watch_backlog=config.watch_backlog_events)
        self._journal = Journal(self._state)
        self._closed = False

    @property
    def revision(self) -> int:
        """The newest revision."""
        return self._state.revision

    async def get(self, key: str, *, revision: int | None = None) -> Entry | None:
        """See Store."""
        return self._state.get(key) if revision is None else self._state.get_at(key, revision)

    async def list(
        self, prefix: str, *, revision: int | None = None, limit: int = 0, start_key: str | None = None
    ) -> Page:
        """See Store."""
        return self._state.list(prefix, revision=revision, limit=limit, start_key=start_key)

    async def create(self, key: str, value: bytes) -> Entry:
        """See Store."""
        return self._settle(self._open_journal().create(key, value))

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """See Store."""
        return self._settle(self._open_journal().update(key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """See Store."""
        return self._settle(self._open_journal().delete(key, expected))

    def watch(self, prefix: str, *, since: int) -> AbstractAsyncContextManager[AsyncIterator[EventBatch]]:
        """See Store."""
        return self._state.watch(prefix, since)

    async def compact(self, revision: int) -> None:
        """See Store."""
        self._state.compact(revision)

    async def close(self) -> None:
        """See Store."""
        self._closed = True
        self._state.close()

    def _open_journal(self) -> Journal:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return self._journal

    def _settle(self, event: Event) -> Entry:
        self._journal.settle(event)
        return event.entry
