"""Decides writes in the order in which they arrive, before they are durable.

Many writers may be in flight. Each compare-and-set is judged against what the key will hold once everything ahead
of it is durable; nobody else sees that until it is.
"""

from __future__ import annotations

from sparsam.store.interface import Entry, Event, EventType, KeyExists, KeyMissing, RevisionMismatch
from sparsam.store.state import State


class Journal:
    """Hands out revisions and keeps the not yet durable state of keys in flight."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._next = state.revision + 1
        self._in_flight: dict[str, Event] = {}

    def create(self, key: str, value: bytes) -> Event:
        """Raises KeyExists."""
        if self._latest(key) is not None:
            raise KeyExists(key)
        revision = self._next
        return self._decide(Event(EventType.ADDED, Entry(key, value, revision, revision)))

    def update(self, key: str, value: bytes, expected: int) -> Event:
        """Raises KeyMissing, RevisionMismatch."""
        previous = self._existing(key, expected)
        return self._decide(
            Event(EventType.MODIFIED, Entry(key, value, self._next, previous.created_revision), previous)
        )

    def delete(self, key: str, expected: int | None) -> Event:
        """Raises KeyMissing, RevisionMismatch."""
        previous = self._existing(key, expected)
        gone = Entry(key, previous.value, self._next, previous.created_revision)
        return self._decide(Event(EventType.DELETED, gone, previous))

    def settle(self, event: Event) -> None:
        """The event is durable: show it to everyone, and keep it here no longer unless the key changed again."""
        self._state.apply(event)
        if self._in_flight.get(event.entry.key) is event:
            del self._in_flight[event.entry.key]

    def abandon(self) -> None:
        """Nothing in flight will become durable: forget it all."""
        self._in_flight.clear()
        self._next = self._state.revision + 1

    def _decide(self, event: Event) -> Event:
        self._next += 1
        self._in_flight[event.entry.key] = event
        return event

    def _latest(self, key: str) -> Entry | None:
        event = self._in_flight.get(key)
        if event is None:
            return self._state.get(key)
        return None if event.type is EventType.DELETED else event.entry

    def _existing(self, key: str, expected: int | None) -> Entry:
        entry = self._latest(key)
        if entry is None:
            raise KeyMissing(key)
        if expected is not None and entry.revision != expected:
            raise RevisionMismatch(entry)
        return entry
