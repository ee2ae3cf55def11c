"""The Store protocol: a revisioned key-value log, the only thing the API server keeps state in.

Revisions are one strictly rising integer for the whole store. Values are opaque bytes, encoded once by the
caller; the very same bytes object is handed to every reader and watcher. Keys look like `/apps/deployments/ns/name`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sparsam.errors import SparsamError


class StoreError(SparsamError):
    """Root of the store's errors."""


class KeyExists(StoreError):
    """Create of a key that lives."""


class KeyMissing(StoreError):
    """Update or delete of a key that does not live."""


class RevisionMismatch(StoreError):
    """Compare-and-set found another revision; `current` is what the key holds now."""

    def __init__(self, current: Entry) -> None:
        super().__init__(f"{current.key} is at revision {current.revision}")
        self.current = current


class Compacted(StoreError):
    """The revision asked for is older than what is kept."""


class FutureRevision(StoreError):
    """The revision asked for has not happened; `current` is the newest."""

    def __init__(self, current: int) -> None:
        super().__init__(f"current revision is {current}")
        self.current = current


class SlowWatcher(StoreError):
    """The watcher fell too far behind and was cut off; it must list again."""


class StoreUnavailable(StoreError):
    """The write could not be made durable (disk full, closed); nothing was changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One live (or, in an event, just deleted) key: its bytes and the revision that wrote them."""

    key: str
    value: bytes
    revision: int
    created_revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """A consistent slice of a prefix at `revision`; `next_key` continues it, None at the end."""

    entries: list[Entry]
    revision: int
    next_key: str | None = None
    remaining: int = 0


class EventType(Enum):
    """What happened to a key."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Event:
    """One change. For DELETED, `entry` holds the last value and the revision of the deletion.

    `previous` is the entry before the change (None for ADDED), for selectors that an object enters or leaves.
    """

    type: EventType
    entry: Entry
    previous: Entry | None = None


EventBatch = list[Event]


class Store(Protocol):
    """See the module. Every method may raise StoreUnavailable; acknowledged writes survive a crash."""

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        ...

    async def get(self, key: str, *, revision: int | None = None) -> Entry | None:
        """The entry now or as of a revision; raises Compacted, FutureRevision."""
        ...

    async def list(
        self, prefix: str, *, revision: int | None = None, limit: int = 0, start_key: str | None = None
    ) -> Page:
        """Entries in key order, from `start_key` on (inclusive); raises Compacted, FutureRevision."""
        ...

    async def create(self, key: str, value: bytes) -> Entry:
        """Raises KeyExists."""
        ...

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """Compare and set; raises KeyMissing, RevisionMismatch. Equal bytes still make a new revision."""
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """The entry as deleted, with the deletion's revision; raises KeyMissing, RevisionMismatch."""
        ...

    def watch(self, prefix: str, *, since: int) -> AbstractAsyncContextManager[AsyncIterator[EventBatch]]:
        """Changes under prefix with revision > since, in batches and in order, without gaps.

        Entering raises Compacted when `since` is too old, FutureRevision when it has not happened. The iterator
        raises SlowWatcher when its bounded queue overflows, and ends when the store closes. An empty batch is a
        progress mark: nothing of this prefix is outstanding up to `store.revision` as read when the batch arrives.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget what only revisions before this one can see."""
        ...

    async def close(self) -> None:
        """Finish pending writes, end watches."""
        ...
