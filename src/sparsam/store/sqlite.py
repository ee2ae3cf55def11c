"""The durable store: SQLite in WAL mode with synchronous=FULL behind the in-memory core.

All live keys are held in memory, the disk is for durability and for old revisions. A write is acknowledged, and
visible to anyone, only after its transaction is on disk; a transaction that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsam.clock import Clock, SystemClock
from sparsam.store import database
from sparsam.store.archive import DiskArchive
from sparsam.store.commit import GroupCommit, Settled
from sparsam.store.config import DEFAULTS, StoreConfig
from sparsam.store.core import State, StoreCore
from sparsam.store.decision import Verb, Write
from sparsam.store.index import LiveIndex
from sparsam.store.interface import Entry, Event, StoreUnavailable
from sparsam.store.lock import FileLock
from sparsam.store.writer import Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """What a store holds open."""

    lock: FileLock
    writer: Writer
    archive: DiskArchive

    @classmethod
    async def open(cls, path: Path, *, max_bytes: int) -> Files:
        """Raises StoreUnavailable."""
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            connection = await asyncio.to_thread(database.connect, path, max_bytes=max_bytes)
        except BaseException:
            lock.release()
            raise
        return cls(lock, Writer(connection), DiskArchive(path))

    async def close(self) -> None:
        """Finish what is queued; the lock goes last."""
        await self.archive.close()
        await self.writer.close()
        self.lock.release()


class SqliteStore(StoreCore):
    """The Store protocol over one database file, which only one process may have open."""

    def __init__(self, config: StoreConfig, state: State, files: Files, clock: Clock) -> None:
        super().__init__(config, state, archive=files.archive)
        self._files = files
        self._clock = clock
        self._commits = GroupCommit(
            live=self._index.get,
            revision=lambda: self._revision,
            commit=self._commit,
            publish=self._publish,
            batch_writes=self._config.batch_writes,
        )
        self._compactor = asyncio.create_task(self._compact_regularly(), name="store-compaction")

    @classmethod
    async def open(cls, path: Path, config: StoreConfig = DEFAULTS, *, clock: Clock | None = None) -> SqliteStore:
        """Open the database, made when missing; raises StoreUnavailable, also when another process has it open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files = await Files.open(path, max_bytes=config.max_database_bytes)
        try:
            revision, oldest = await files.writer.run(database.read_revisions)
            state = State(LiveIndex(await files.writer.run(database.read_live)), revision, oldest)
            return cls(config, state, files, clock or SystemClock())
        except BaseException:
            await files.close()
            raise

    async def create(self, key: str, value: bytes) -> Entry:
        """Raises KeyExists."""
        return await self._write(Write(Verb.CREATE, key, value))

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """Compare and set; raises KeyMissing, RevisionMismatch. Equal bytes still make a new revision."""
        return await self._write(Write(Verb.UPDATE, key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """The entry as deleted, with the deletion's revision; raises KeyMissing, RevisionMismatch."""
        return await self._write(Write(Verb.DELETE, key, expected=expected))

    async def compact(self, revision: int) -> None:
        """Forget what only revisions before this one can see."""
        if not self._forget(revision):
            return
        while await self._files.writer.run(partial(database.compact_step, target=revision)):
            pass
        while await self._files.writer.run(database.give_back_step):
            pass

    async def close(self) -> None:
        """Finish pending writes, end watches, let others open the database."""
        if self._closed:
            return
        self._closed = True
        self._compactor.cancel()
        with suppress(asyncio.CancelledError):
            await self._compactor
        await self._commits.drain()
        self._end_watches()
        await self._files.close()

    def _write(self, write: Write) -> asyncio.Future[Entry]:
        self._check(None)
        return self._commits.submit(write)

    def _commit(self, events: list[Event], settled: Settled) -> None:
        self._files.writer.submit(partial(database.insert, events=events), partial(_report, settled))

    async def _compact_regularly(self) -> None:
        """Forget revisions when they are old, or when there are too many of them."""
        config = self._config
        seen: deque[tuple[float, int]] = deque()
        while True:
            seen.append((self._clock.monotonic(), self._revision))
            await self._clock.sleep(config.compaction_interval_seconds)
            target = self._revision - config.keep_revisions
            while seen and seen[0][0] <= self._clock.monotonic() - config.keep_seconds:
                target = max(target, seen.popleft()[1])
            if target > self._oldest:
                try:
                    await self.compact(target)
                except StoreUnavailable as error:
                    log.warning("compaction failed revision=%d error=%s", target, error)


def _report(settled: Settled, _result: Any, failure: StoreUnavailable | None) -> None:
    if failure is not None:
        log.error("writes lost, none acknowledged error=%s", failure)
    settled(failure)
