"""A durable store in one SQLite file: write-ahead log, `synchronous=FULL`, one writer thread, group commit.

The event loop decides each write (`journal`) and hands it to the writer thread, which puts all that wait into one
transaction. Only after the commit is on disk does the loop show the events to readers and watchers and answer
the writers, so nothing is ever seen that a crash could take back. A commit that fails fails everything in flight, since
later writes may build on earlier ones; the store itself goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import IO

from sparsam.store.config import StoreConfig
from sparsam.store.interface import Entry, Event, EventBatch, EventType, Page, StoreError, StoreUnavailable
from sparsam.store.journal import Journal
from sparsam.store.state import State

_SCHEMA = """
create table if not exists live(
  key text primary key, value blob not null, revision integer not null, created integer not null
) without rowid;
create table if not exists history(
  revision integer primary key, type text not null, key text not null, value blob not null, created integer not null,
  previous_value blob, previous_revision integer
);
create table if not exists meta(name text primary key, number integer not null) without rowid;
insert or ignore into meta values ('revision', 0), ('compacted', 0), ('format', 1);
"""
_FORMAT = 1


class DatabaseLocked(StoreError):
    """Another process holds this database."""


class _Write:
    """One decided change on its way to disk."""

    __slots__ = ("done", "event", "generation")

    def __init__(self, event: Event, done: asyncio.Future[Entry], generation: int) -> None:
        self.event, self.done, self.generation = event, done, generation


_Batch = list[_Write]


class SqliteStore:
    """The Store protocol over SQLite. Make one with `open`."""

    def __init__(self, path: Path, config: StoreConfig, lock: IO[bytes]) -> None:
        self._path, self._config, self._lock = path, config, lock
        self._loop = asyncio.get_running_loop()
        self._state = State(history=config.history_events, watch_backlog=config.watch_backlog_events)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._read_disk()
        self._journal = Journal(self._state)
        self._queue: deque[_Write] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._generation = 0
        self._failed_generation = -1
        self._writer = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, path: Path, config: StoreConfig | None = None) -> SqliteStore:
        """Open or create the database; raises DatabaseLocked, StoreUnavailable."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DatabaseLocked(f"{path} is in use by another process") from None
        try:
            return cls(path, config or StoreConfig(), lock)
        except sqlite3.Error as error:
            lock.close()
            raise StoreUnavailable(f"cannot open {path}: {error}") from error

    @property
    def revision(self) -> int:
        """The newest durable revision."""
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
        self._require_open()
        return await self._commit(self._journal.create(key, value))

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """See Store."""
        self._require_open()
        return await self._commit(self._journal.update(key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> Entry:
        """See Store."""
        self._require_open()
        return await self._commit(self._journal.delete(key, expected))

    def watch(self, prefix: str, *, since: int) -> AbstractAsyncContextManager[AsyncIterator[EventBatch]]:
        """See Store."""
        return self._state.watch(prefix, since)

    async def compact(self, revision: int) -> None:
        """See Store. The disk follows with the next write."""
        self._state.compact(revision)

    async def close(self) -> None:
        """See Store."""
        if self._closing:
            return
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._writer.join)
        # The last batch was handed to the loop before the thread ended; let it arrive.
        await asyncio.sleep(0)
        self._state.close()
        self._db.close()
        self._lock.close()

    def _require_open(self) -> None:
        if self._closing:
            raise StoreUnavailable("the store is closed")

    async def _commit(self, event: Event) -> Entry:
        write = _Write(event, self._loop.create_future(), self._generation)
        with self._wake:
            self._queue.append(write)
            self._wake.notify()
        # A writer that is cancelled does not take its write back: it may be on disk already.
        return await asyncio.shield(write.done)

    def _settle(self, batch: _Batch) -> None:
        for write in batch:
            self._journal.settle(write.event)
            if not write.done.done():
                write.done.set_result(write.event.entry)

    def _fail(self, batch: _Batch, error: Exception) -> None:
        if batch[0].generation == self._generation:
            self._generation += 1
            self._journal.abandon()
        for write in batch:
            if not write.done.done():
                write.done.set_exception(StoreUnavailable(f"the write was not committed: {error}"))
                # Retrieved here once, so that a writer that went away does not leave a warning behind.
                write.done.exception()

    def _write_forever(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                count = min(len(self._queue), self._config.batch_writes)
                batch = [self._queue.popleft() for _ in range(count)]
            stale = [write for write in batch if write.generation == self._failed_generation]
            if stale:
                self._call_loop(self._fail, stale, sqlite3.OperationalError("an earlier write failed"))
                batch = [write for write in batch if write.generation != self._failed_generation]
            if batch:
                self._commit_batch(batch)

    def _commit_batch(self, batch: _Batch) -> None:
        try:
            self._write(batch)
        except sqlite3.Error as error:
            self._failed_generation = batch[0].generation
            self._call_loop(self._fail, batch, error)
        else:
            self._call_loop(self._settle, batch)

    def _call_loop(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits for the answer any more
            self._loop.call_soon_threadsafe(function, *arguments)

    def _write(self, batch: _Batch) -> None:
        db = self._db
        db.execute("begin immediate")
        try:
            for write in batch:
                entry, previous = write.event.entry, write.event.previous
                if write.event.type is EventType.DELETED:
                    db.execute("delete from live where key = ?", (entry.key,))
                else:
                    row = (entry.key, entry.value, entry.revision, entry.created_revision)
                    db.execute("insert or replace into live values (?, ?, ?, ?)", row)
                past = (previous.value, previous.revision) if previous else (None, None)
                kind = write.event.type.value
                row_of_history = (entry.revision, kind, entry.key, entry.value, entry.created_revision, *past)
                db.execute("insert into history values (?, ?, ?, ?, ?, ?, ?)", row_of_history)
            last = batch[-1].event.entry.revision
            db.execute("update meta set number = ? where name = 'revision'", (last,))
            self._forget(last)
            db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("rollback")
            raise

    def _forget(self, last: int) -> None:
        compacted = max(last - self._config.history_events, self._state.compacted)
        self._db.execute("delete from history where revision <= ?", (compacted,))
        self._db.execute("update meta set number = max(number, ?) where name = 'compacted'", (compacted,))

    def _read_disk(self) -> None:
        db = self._db
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("pragma cache_size = -4000")
        db.executescript(_SCHEMA)
        meta = dict(db.execute("select name, number from meta"))
        if meta["format"] != _FORMAT:
            raise sqlite3.DatabaseError(f"format {meta['format']} is not {_FORMAT}")
        live = {row[0]: Entry(*row) for row in db.execute("select key, value, revision, created from live")}
        history = [_event(row, live) for row in db.execute("select * from history order by revision")]
        self._state.restore(live.values(), history, revision=meta["revision"], compacted=meta["compacted"])


def _event(row: tuple[int, str, str, bytes, int, bytes | None, int | None], live: dict[str, Entry]) -> Event:
    revision, kind, key, value, created, previous_value, previous_revision = row
    now = live.get(key)
    entry = now if now is not None and now.revision == revision else Entry(key, value, revision, created)
    if previous_value is None or previous_revision is None:
        return Event(EventType(kind), entry)
    return Event(EventType(kind), entry, Entry(key, previous_value, previous_revision, created))
