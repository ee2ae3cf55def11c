"""What a write does to one key: compare-and-set as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sparsam.store.interface import Entry, Event, EventType, KeyExists, KeyMissing, RevisionMismatch


class Verb(Enum):
    """The three ways to change a key."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """A change asked for; `expected` is the revision the key must be at, None for any."""

    verb: Verb
    key: str
    value: bytes = b""
    expected: int | None = None

    def __post_init__(self) -> None:
        # One key that the database cannot encode would fail a whole batch of other clients' writes.
        if not self.key.isascii():
            self.key.encode()


def decide(write: Write, current: Entry | None, revision: int) -> Event:
    """The event that `write` becomes at `revision`; raises KeyExists, KeyMissing, RevisionMismatch."""
    key = write.key
    if write.verb is Verb.CREATE:
        if current is not None:
            raise KeyExists(key)
        return Event(EventType.ADDED, Entry(key, write.value, revision, revision))
    if current is None:
        raise KeyMissing(key)
    if write.expected is not None and write.expected != current.revision:
        raise RevisionMismatch(current)
    if write.verb is Verb.DELETE:
        return Event(EventType.DELETED, Entry(key, current.value, revision, current.created_revision), current)
    return Event(EventType.MODIFIED, Entry(key, write.value, revision, current.created_revision), current)
