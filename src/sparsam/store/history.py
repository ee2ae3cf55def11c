"""The most recent events, bounded in number and bytes.

Watches resume from here, and a recent revision is read by undoing what came after it, both without the disk.
Every revision above `floor` has exactly one event.
"""

from __future__ import annotations

from collections import deque

from sparsam.store.config import StoreConfig
from sparsam.store.interface import Entry, Event


class History:
    """A ring of events in order of revision."""

    def __init__(self, config: StoreConfig, floor: int) -> None:
        self.floor = floor
        """The oldest revision that can be seen from here."""
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._max_events = config.history_events
        self._max_bytes = config.history_bytes

    def append(self, event: Event) -> None:
        """Take the newest event; the oldest ones make room."""
        self._events.append(event)
        self._bytes += weight(event)
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            self._drop_oldest()

    def forget(self, revision: int) -> None:
        """Drop what only revisions before this one can see."""
        while self._events and self._events[0].entry.revision <= revision:
            self._drop_oldest()
        self.floor = max(self.floor, revision)

    def since(self, prefix: str, revision: int) -> list[Event]:
        """Events under a prefix after a revision, oldest first."""
        found = []
        for event in reversed(self._events):
            if event.entry.revision <= revision:
                break
            if event.entry.key.startswith(prefix):
                found.append(event)
        found.reverse()
        return found

    def undo(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """What the keys changed since a revision held then; None for those that did not live."""
        held: dict[str, Entry | None] = {}
        for event in reversed(self._events):
            if event.entry.revision <= revision:
                break
            if event.entry.key.startswith(prefix):
                held[event.entry.key] = event.previous
        return held

    def _drop_oldest(self) -> None:
        event = self._events.popleft()
        self._bytes -= weight(event)
        self.floor = event.entry.revision


def weight(event: Event) -> int:
    """Bytes that an event keeps alive, at most."""
    return len(event.entry.value) + (len(event.previous.value) if event.previous else 0)
