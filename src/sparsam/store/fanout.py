"""Events to watchers: each event is one shared object, each watcher a bounded queue of references.

Watchers are indexed by the directory of their prefix, so an event meets only those watchers that sit on one of
its own directories (`/`, `/core/`, `/core/pods/`, `/core/pods/ns/`), however many others there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sparsam.store.config import StoreConfig
from sparsam.store.history import weight
from sparsam.store.interface import Event, EventBatch, SlowWatcher


class Watcher:
    """One consumer's queue, and the iterator that empties it."""

    def __init__(self, prefix: str, config: StoreConfig) -> None:
        self.prefix = prefix
        self._max_events = config.watch_queue_events
        self._max_bytes = config.watch_queue_bytes
        self._waiting: EventBatch = []
        self._bytes = 0
        self._marked = False
        self._closed = False
        self._slow = False
        self._waiter: asyncio.Future[None] | None = None

    def push(self, event: Event) -> bool:
        """Queue an event, to be noticed at `wake`; False when the queue overflowed and the watcher is cut off."""
        self._bytes += weight(event)
        # One event alone is never too much, whatever its size.
        too_much = len(self._waiting) >= self._max_events or (self._bytes > self._max_bytes and self._waiting)
        if self._slow or too_much:
            self._slow = True
            self._waiting = []
            return False
        self._waiting.append(event)
        return True

    def resume_with(self, missed: EventBatch) -> None:
        """Put what the watcher missed in front of what has come since; not counted against its bounds."""
        self._waiting = missed + self._waiting

    def mark(self) -> None:
        """Ask for a progress mark."""
        self._marked = True
        self.wake()

    def end(self) -> None:
        """Let the iterator end once its queue is empty."""
        self._closed = True
        self.wake()

    def wake(self) -> None:
        """Let the consumer look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> EventBatch:
        while True:
            if self._slow:
                raise SlowWatcher(f"watcher of {self.prefix} fell behind")
            if self._waiting or self._marked:
                # The mark is decided here and not where it was asked for: by now events may have arrived.
                batch, self._waiting = self._waiting, []
                self._bytes, self._marked = 0, False
                return batch
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class Fanout:
    """All watchers of a store."""

    def __init__(self) -> None:
        self._by_directory: dict[str, dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_directory.values()))

    def add(self, watcher: Watcher) -> None:
        """Start to deliver."""
        self._by_directory.setdefault(_directory(watcher.prefix), {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Stop to deliver; a watcher that is gone already is fine."""
        directory = _directory(watcher.prefix)
        watchers = self._by_directory.get(directory)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._by_directory[directory]

    def publish(self, events: Iterable[Event]) -> None:
        """Queue events with everyone concerned and wake each of them once."""
        touched: dict[Watcher, None] = {}
        cut_off: list[Watcher] = []
        for event in events:
            for watcher in self._concerned(event.entry.key):
                touched[watcher] = None
                if not watcher.push(event):
                    cut_off.append(watcher)
        for watcher in cut_off:
            self.remove(watcher)
        for watcher in touched:
            watcher.wake()

    def mark(self) -> None:
        """Send a progress mark to everyone."""
        for watcher in self._all():
            watcher.mark()

    def close(self) -> None:
        """End every watch."""
        for watcher in self._all():
            watcher.end()

    def _all(self) -> list[Watcher]:
        return [watcher for watchers in self._by_directory.values() for watcher in watchers]

    def _concerned(self, key: str) -> list[Watcher]:
        concerned: list[Watcher] = []
        end = 0
        while True:
            directory = key[:end]
            if watchers := self._by_directory.get(directory):
                concerned += [
                    watcher for watcher in watchers if watcher.prefix == directory or key.startswith(watcher.prefix)
                ]
            end = key.find("/", end) + 1
            if not end:
                return concerned


def _directory(prefix: str) -> str:
    return prefix[: prefix.rfind("/") + 1]
