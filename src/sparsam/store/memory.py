"""A store without a disk, for tests and for trying things out: everything is gone when the process ends."""

from __future__ import annotations

from sparsam.store.config import DEFAULTS, StoreConfig
from sparsam.store.core import State, StoreCore
from sparsam.store.decision import Verb, Write, decide
from sparsam.store.interface import Entry


class MemoryStore(StoreCore):
    """The Store protocol in memory; old revisions reach back as far as the history's bounds."""

    @classmethod
    async def open(cls, config: StoreConfig = DEFAULTS) -> MemoryStore:
        """An empty store."""
        return cls(config, State())

    async def create(self, key: str, value: bytes) -> Entry:
        """Raises KeyExists."""
        return self._write(Write(Verb.CREATE, key, value))

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """Compare and set; raises KeyMissing, RevisionMismatch."""
        return self._write(Write(Verb.UPDATE, key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """The entry as deleted; raises KeyMissing, RevisionMismatch."""
        return self._write(Write(Verb.DELETE, key, expected=expected))

    async def compact(self, revision: int) -> None:
        """Forget what only revisions before this one can see."""
        self._forget(revision)

    async def close(self) -> None:
        """End watches."""
        self._end_watches()

    def _write(self, write: Write) -> Entry:
        self._check(None)
        event = decide(write, self._index.get(write.key), self._revision + 1)
        self._publish([event])
        self._oldest = max(self._oldest, self._history.floor)
        return event.entry
