"""What only the durable store promises: restarts, failures of the disk, one process at a time, bounded files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sparsam.store.config import StoreConfig
from sparsam.store.interface import Compacted, EventType, StoreUnavailable
from sparsam.store.sqlite import SqliteStore
from tests.support.store import watching

PODS = "/core/pods/"
A, B = f"{PODS}default/a", f"{PODS}default/b"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


class SteppedClock:
    """Monotonic time that moves only when told, and not while its sleeper is busy; sleepers wake in time order."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> Any:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))

        async def wait() -> None:
            await future

        return wait()

    async def advance(self, seconds: float) -> None:
        while not self._sleepers:
            await asyncio.sleep(0.001)
        self.seconds += seconds
        due = [future for moment, future in self._sleepers if moment <= self.seconds]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.seconds]
        for future in due:
            if not future.done():
                future.set_result(None)


async def test_a_restart_keeps_entries_and_revisions(path: Path):
    store = await SqliteStore.open(path)
    kept = await store.create(A, b"1")
    kept = await store.update(A, b"2", expected=kept.revision)
    await store.create(B, b"1")
    gone = await store.delete(B)
    await store.close()
    store = await SqliteStore.open(path)
    assert store.revision == gone.revision
    assert await store.get(A) == kept
    assert await store.get(B) is None
    assert (await store.create(B, b"2")).revision == gone.revision + 1
    await store.close()


async def test_the_revision_does_not_go_back_when_compaction_took_the_newest_row(path: Path):
    store = await SqliteStore.open(path)
    await store.create(A, b"1")
    gone = await store.delete(A)
    await store.compact(gone.revision)
    await store.close()
    store = await SqliteStore.open(path)
    assert store.revision == gone.revision
    assert (await store.create(A, b"2")).revision == gone.revision + 1
    with pytest.raises(Compacted):
        await store.get(A, revision=gone.revision - 1)
    await store.close()


async def test_a_watch_resumes_over_a_restart(path: Path):
    store = await SqliteStore.open(path)
    first = await store.create(A, b"1")
    second = await store.update(A, b"2", expected=first.revision)
    third = await store.delete(A)
    await store.close()
    store = await SqliteStore.open(path)
    async with watching(store, PODS, since=first.revision) as watched:
        fourth = await store.create(A, b"3")
        events = await watched.until(3)
    assert [event.entry for event in events] == [second, third, fourth]
    assert [event.previous for event in events] == [first, second, None]
    assert [event.type for event in events] == [EventType.MODIFIED, EventType.DELETED, EventType.ADDED]
    await store.close()


async def test_a_watch_that_missed_too_much_must_list_again(path: Path):
    store = await SqliteStore.open(path, StoreConfig(history_events=1, backlog_events=3))
    start = store.revision
    for number in range(5):
        await store.create(f"{A}{number}", b"")
    with pytest.raises(Compacted):
        async with store.watch(PODS, since=start):
            pass
    async with watching(store, PODS, since=start + 2) as watched:
        assert len(await watched.until(3)) == 3
    await store.close()


async def test_only_one_process_may_have_the_database_open(path: Path):
    store = await SqliteStore.open(path)
    with pytest.raises(StoreUnavailable, match="has the database open"):
        await SqliteStore.open(path)
    await store.create(A, b"still working")
    await store.close()
    await (await SqliteStore.open(path)).close()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"these are my notes, not a database" * 100)
    with pytest.raises(StoreUnavailable, match="cannot open"):
        await SqliteStore.open(path)
    assert path.read_bytes().startswith(b"these are my notes")


async def test_a_database_of_another_format_is_refused(path: Path):
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreUnavailable, match="format 99"):
        await SqliteStore.open(path)


async def test_a_full_database_refuses_writes_and_changes_nothing_until_there_is_room(path: Path):
    store = await SqliteStore.open(path, StoreConfig(max_database_bytes=40 * 4096))
    entry = await store.create(A, b"x" * 30_000)
    entry = await store.update(A, b"y" * 30_000, expected=entry.revision)
    async with watching(store, "", since=store.revision) as watched:
        results = await asyncio.gather(
            *(store.create(f"{B}{number}", b"z" * 40_000) for number in range(4)), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreUnavailable] * 4
        assert store.revision == entry.revision
        assert [found.key for found in (await store.list("")).entries] == [A]
        small = await store.create(B, b"a small one fits")
        assert small.revision == entry.revision + 1
        await store.compact(store.revision)
        roomy = await store.create(f"{B}0", b"z" * 40_000)
        assert [event.entry for event in await watched.until(2)] == [small, roomy]
    await store.close()


async def test_what_was_refused_because_of_a_write_that_failed_is_not_told_it_lost(path: Path):
    """Neither of two creates of one key won when their transaction failed: no AlreadyExists for the second."""
    store = await SqliteStore.open(path, StoreConfig(max_database_bytes=30 * 4096))
    big = b"z" * 200_000
    results = await asyncio.gather(store.create(A, big), store.create(A, b"second"), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert await store.get(A) is None
    await store.create(A, b"now")
    await store.close()


async def test_a_database_locked_from_outside_fails_the_write_and_the_next_one_works(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sparsam.store.database.BUSY_SECONDS", 0.05)
    store = await SqliteStore.open(path)
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.create(A, b"1")
    intruder.execute("ROLLBACK")
    intruder.close()
    entry = await store.create(A, b"2")
    assert entry.revision == store.revision == 2
    await store.close()


async def test_a_write_whose_client_went_away_before_it_began_is_not_made(path: Path):
    store = await SqliteStore.open(path)
    gone = asyncio.ensure_future(store.create(A, b"1"))
    await asyncio.sleep(0)
    gone.cancel()
    other = await store.create(B, b"1")
    assert await store.get(A) is None
    assert other.revision == store.revision
    await store.close()


async def test_closing_finishes_the_writes_under_way(path: Path):
    store = await SqliteStore.open(path, StoreConfig(batch_writes=2))
    async with watching(store, PODS, since=store.revision) as watched:
        writes = [asyncio.ensure_future(store.create(f"{A}{number}", b"")) for number in range(7)]
        await asyncio.sleep(0)
        await store.close()
        entries = await asyncio.gather(*writes)
        assert [event.entry for event in await watched.until(7)] == entries
    store = await SqliteStore.open(path)
    assert (await store.list(PODS)).entries == entries
    await store.close()


async def test_compaction_drops_the_rows_and_shrinks_the_file(path: Path):
    store = await SqliteStore.open(path)
    entry = await store.create(A, b"x" * 100_000)
    for _ in range(150):
        entry = await store.update(A, b"x" * 100_000, expected=entry.revision)
    for number in range(3):
        await store.create(f"{B}{number}", b"")
        await store.delete(f"{B}{number}")
    await store.compact(store.revision)
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT revision FROM log").fetchall() == [(entry.revision,)]
    connection.close()
    assert path.stat().st_size < 6 * 2**20


async def test_old_revisions_are_forgotten_by_age_and_by_number(path: Path):
    clock = SteppedClock()
    config = StoreConfig(keep_seconds=100, keep_revisions=20, compaction_interval_seconds=10)
    store = await SqliteStore.open(path, config, clock=clock)

    async def oldest(wanted: int) -> None:
        while store._oldest < wanted:
            await asyncio.sleep(0.001)
        assert store._oldest == wanted

    for number in range(5):
        await store.create(f"{A}{number}", b"")
    await clock.advance(10)
    young = store.revision
    await store.create(B, b"")
    for _ in range(11):
        await clock.advance(10)
    await oldest(store.revision)
    assert store.revision > young
    for number in range(30):
        await store.create(f"{B}{number}", b"")
    await clock.advance(10)
    await oldest(store.revision - 20)
    await store.close()
