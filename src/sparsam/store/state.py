"""The memory half of every store: live keys, recent history and watchers.

Reads, lists and watches are answered from here; what makes a write durable is the store's own business. History is
a bounded run of events, newest last: it lets a watch begin in the recent past, and a read at an older revision is
the present rolled back along it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sparsam.store.interface import Compacted, Entry, Event, EventBatch, EventType, FutureRevision, Page, SlowWatcher

_Slice = tuple[list[str], dict[str, Entry]]


class _Bucket:
    """The live keys of one resource, with their order kept lazily: lists are rarer than writes."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.watchers: set[_Watcher] = set()
        self._keys: list[str] | None = None

    def put(self, entry: Entry) -> None:
        if self._keys is not None and entry.key not in self.entries:
            if self._keys and entry.key < self._keys[-1]:
                self._keys = None
            else:
                self._keys.append(entry.key)
        self.entries[entry.key] = entry

    def drop(self, key: str) -> None:
        del self.entries[key]
        self._keys = None

    def keys(self) -> list[str]:
        if self._keys is None:
            self._keys = sorted(self.entries)
        return self._keys


class _Watcher:
    """A bounded queue between the log and one reader."""

    def __init__(self, prefix: str, limit: int) -> None:
        self.prefix = prefix
        self.overflowed = False
        self.closed = False
        self._limit = limit
        self._pending: list[Event] = []
        self._ready = asyncio.Event()

    def offer(self, event: Event) -> None:
        if self.overflowed or not event.entry.key.startswith(self.prefix):
            return
        if len(self._pending) >= self._limit:
            self.overflowed = True
            self._pending.clear()
        else:
            self._pending.append(event)
        self._ready.set()

    def close(self) -> None:
        self.closed = True
        self._ready.set()

    async def batches(self) -> AsyncIterator[EventBatch]:
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self.overflowed:
                raise SlowWatcher(f"watch of {self.prefix} fell behind by more than {self._limit} events")
            if self._pending:
                batch, self._pending = self._pending, []
                yield batch
            if self.closed:
                return


class State:
    """Everything durable so far, in memory. Not thread-safe: it belongs to the event loop."""

    def __init__(self, *, history: int, watch_backlog: int) -> None:
        self.revision = 0
        self.compacted = 0
        self._history_limit = history
        self._watch_backlog = watch_backlog
        self._buckets: dict[str, _Bucket] = {}
        self._history: deque[Event] = deque()

    def restore(self, live: Iterable[Entry], history: Iterable[Event], *, revision: int, compacted: int) -> None:
        """Take over what was durable at start-up."""
        for entry in live:
            self._bucket(entry.key).put(entry)
        self._history.extend(history)
        self.revision, self.compacted = revision, compacted

    def apply(self, event: Event) -> None:
        """Make one durable change visible to readers and watchers."""
        bucket = self._bucket(event.entry.key)
        if event.type is EventType.DELETED:
            bucket.drop(event.entry.key)
        else:
            bucket.put(event.entry)
        self.revision = event.entry.revision
        self._history.append(event)
        if len(self._history) > self._history_limit:
            self.compacted = self._history.popleft().entry.revision
        for watcher in bucket.watchers:
            watcher.offer(event)

    def get(self, key: str) -> Entry | None:
        """The entry now."""
        bucket = self._buckets.get(bucket_of(key))
        return bucket.entries.get(key) if bucket else None

    def get_at(self, key: str, revision: int) -> Entry | None:
        """The entry as of a revision; raises Compacted, FutureRevision."""
        entry = self.get(key)
        for event in self._since(revision):
            if event.entry.key == key:
                return event.previous
        return entry

    def list(self, prefix: str, *, revision: int | None, limit: int, start_key: str | None) -> Page:
        """See Store.list."""
        at = self.revision if revision is None else revision
        if at == self.revision:
            keys, entries = self._present(prefix)
        else:
            keys, entries = self._past(prefix, at)
        first = bisect_left(keys, max(prefix, start_key or ""))
        last = bisect_left(keys, prefix + "\U0010ffff")
        end = min(first + limit, last) if limit else last
        more = keys[end] if end < last else None
        return Page([entries[key] for key in keys[first:end]], at, more, last - end)

    def compact(self, revision: int) -> None:
        """Forget events up to and including a revision."""
        while self._history and self._history[0].entry.revision <= revision:
            self.compacted = self._history.popleft().entry.revision

    @asynccontextmanager
    async def watch(self, prefix: str, since: int) -> AsyncIterator[AsyncIterator[EventBatch]]:
        """See Store.watch."""
        watcher = _Watcher(prefix, self._watch_backlog)
        missed = [event for event in self._since(since) if event.entry.key.startswith(prefix)]
        bucket = self._bucket(prefix)
        bucket.watchers.add(watcher)

        async def batches() -> AsyncIterator[EventBatch]:
            if missed:
                yield missed
            async for batch in watcher.batches():
                yield batch

        try:
            yield batches()
        finally:
            bucket.watchers.discard(watcher)

    def close(self) -> None:
        """End every watch."""
        for bucket in self._buckets.values():
            for watcher in bucket.watchers:
                watcher.close()

    def _bucket(self, key: str) -> _Bucket:
        return self._buckets.setdefault(bucket_of(key), _Bucket())

    def _present(self, prefix: str) -> _Slice:
        bucket = self._buckets.get(bucket_of(prefix))
        return (bucket.keys(), bucket.entries) if bucket else ([], {})

    def _past(self, prefix: str, revision: int) -> _Slice:
        later = self._since(revision)
        entries = dict(self._present(prefix)[1])
        for event in reversed(later):
            if bucket_of(event.entry.key) != bucket_of(prefix):
                continue
            if event.previous is None:
                del entries[event.entry.key]
            else:
                entries[event.entry.key] = event.previous
        return sorted(entries), entries

    def _since(self, revision: int) -> EventBatch:
        """Events after a revision, oldest first."""
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if revision < self.compacted:
            raise Compacted(f"revision {revision} is compacted; the oldest kept is {self.compacted}")
        later = []
        for event in reversed(self._history):
            if event.entry.revision <= revision:
                break
            later.append(event)
        later.reverse()
        return later


def bucket_of(key: str) -> str:
    """`/group/plural/` of a key or prefix: what lists and watches are indexed by."""
    end = key.find("/", key.find("/", 1) + 1)
    return key[: end + 1]
