"""What every store must do, one suite over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sparsam.store.config import StoreConfig
from sparsam.store.interface import (
    Compacted,
    EventType,
    FutureRevision,
    KeyExists,
    KeyMissing,
    RevisionMismatch,
    SlowWatcher,
    Store,
    StoreUnavailable,
)
from sparsam.store.memory import MemoryStore
from sparsam.store.sqlite import SqliteStore
from tests.support.store import watching

PODS = "/core/pods/"
A, B, C = (f"{PODS}default/{name}" for name in "abc")


async def open_store(kind: str, directory: Path, config: StoreConfig) -> Store:
    if kind == "memory":
        return await MemoryStore.open(config)
    return await SqliteStore.open(directory / "store.db", config)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(kind, tmp_path, StoreConfig(watch_queue_events=8, progress_seconds=0.05))
    yield opened
    await opened.close()


async def test_an_empty_store_has_a_revision_above_zero_and_nothing_in_it(store: Store):
    assert store.revision >= 1
    page = await store.list("")
    assert (page.entries, page.revision, page.next_key, page.remaining) == ([], store.revision, None, 0)
    assert await store.get(A) is None


async def test_each_write_makes_the_next_revision(store: Store):
    start = store.revision
    created = await store.create(A, b"1")
    updated = await store.update(A, b"2", expected=created.revision)
    same = await store.update(A, b"2", expected=updated.revision)
    deleted = await store.delete(A, expected=same.revision)
    assert [entry.revision - start for entry in (created, updated, same, deleted)] == [1, 2, 3, 4]
    assert {entry.created_revision for entry in (created, updated, same, deleted)} == {created.revision}
    assert deleted.value == b"2"
    assert store.revision == deleted.revision
    again = await store.create(A, b"3")
    assert again.created_revision == again.revision == deleted.revision + 1


async def test_readers_get_the_very_bytes_that_were_written(store: Store):
    value = b'{"metadata":{}}'
    await store.create(A, value)
    entry = await store.get(A)
    assert entry is not None
    assert entry.value is value
    assert (await store.list(PODS)).entries[0] is entry


async def test_writes_that_do_not_fit_are_refused_and_change_nothing(store: Store):
    first = await store.create(A, b"1")
    with pytest.raises(KeyExists):
        await store.create(A, b"2")
    with pytest.raises(KeyMissing):
        await store.update(B, b"2", expected=first.revision)
    with pytest.raises(KeyMissing):
        await store.delete(B)
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.update(A, b"2", expected=first.revision - 1)
    assert mismatch.value.current == first
    with pytest.raises(RevisionMismatch):
        await store.delete(A, expected=first.revision + 1)
    assert store.revision == first.revision
    assert await store.get(A) == first


async def test_a_key_that_cannot_be_encoded_is_refused_alone(store: Store):
    bad, good = await asyncio.gather(
        store.create("/core/pods/\ud800", b""), store.create(A, b""), return_exceptions=True
    )
    assert isinstance(bad, ValueError)
    assert good == await store.get(A)


async def test_lists_are_in_key_order_and_pages_join_without_gaps(store: Store):
    names = ["b", "a-b", "a", "z", "a.b", "ä", "a0"]
    for name in names:
        await store.create(PODS + "ns/" + name, name.encode())
    await store.create("/core/pods.x/ns/b", b"")
    await store.create("/core/podsx", b"")
    whole = await store.list(PODS)
    assert [entry.key for entry in whole.entries] == sorted(PODS + "ns/" + name for name in names)
    keys, start = [], None
    while True:
        page = await store.list(PODS, limit=3, start_key=start, revision=whole.revision)
        keys += [entry.key for entry in page.entries]
        assert page.remaining == len(names) - len(keys)
        if page.next_key is None:
            break
        start = page.next_key
        await store.create(f"{PODS}ns/new-{start[-1]}", b"written between two pages")
    assert keys == [entry.key for entry in whole.entries]


@pytest.mark.parametrize("prefix", ["", "/", "/core/", "/core/pods/", "/core/pods/default/", A])
async def test_any_prefix_can_be_listed(store: Store, prefix: str):
    await store.create(A, b"")
    await store.create("/apps/deployments/default/a", b"")
    found = [entry.key for entry in (await store.list(prefix)).entries]
    everything = [A, "/apps/deployments/default/a"]
    assert found == sorted(key for key in everything if key.startswith(prefix))


async def test_old_revisions_are_read_until_compaction(store: Store):
    first = await store.create(A, b"1")
    await store.create(B, b"1")
    second = await store.update(A, b"2", expected=first.revision)
    await store.delete(B)
    await store.create(C, b"1")
    assert await store.get(A, revision=first.revision) == first
    assert await store.get(B, revision=first.revision) is None
    assert [entry.key for entry in (await store.list(PODS, revision=second.revision)).entries] == [A, B]
    await store.compact(second.revision)
    assert [entry.key for entry in (await store.list(PODS, revision=second.revision)).entries] == [A, B]
    for read in (store.get(A, revision=first.revision), store.list(PODS, revision=first.revision)):
        with pytest.raises(Compacted):
            await read
    with pytest.raises(Compacted):
        async with store.watch(PODS, since=first.revision):
            pass
    assert [entry.key for entry in (await store.list(PODS)).entries] == [A, C]


async def test_compaction_never_takes_what_is_current(store: Store):
    first = await store.create(A, b"1")
    await store.compact(store.revision)
    await store.compact(first.revision)
    await store.compact(0)
    assert await store.get(A) == first
    assert (await store.update(A, b"2", expected=first.revision)).revision == first.revision + 1
    with pytest.raises(FutureRevision):
        await store.compact(store.revision + 1)


async def test_a_revision_that_has_not_happened_is_refused(store: Store):
    ahead = store.revision + 1
    with pytest.raises(FutureRevision) as refused:
        await store.get(A, revision=ahead)
    assert refused.value.current == store.revision
    with pytest.raises(FutureRevision):
        await store.list(PODS, revision=ahead)
    with pytest.raises(FutureRevision):
        async with store.watch(PODS, since=ahead):
            pass


async def test_a_watch_sees_every_change_once_with_what_was_before(store: Store):
    first = await store.create(A, b"1")
    async with watching(store, PODS, since=first.revision - 1) as watched:
        await watched.until(1)
        second = await store.update(A, b"2", expected=first.revision)
        await store.create("/core/secrets/default/a", b"not for pod watchers")
        deleted = await store.delete(A)
        events = await watched.until(3)
    assert [event.type for event in events] == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
    assert [event.entry for event in events] == [first, second, deleted]
    assert [event.previous for event in events] == [None, first, second]


async def test_watchers_share_one_event(store: Store):
    async with (
        watching(store, PODS, since=store.revision) as all_pods,
        watching(store, A, since=store.revision) as one_pod,
        watching(store, "", since=store.revision) as everything,
    ):
        await store.create(A, b"1")
        seen = [(await watched.until(1))[0] for watched in (all_pods, one_pod, everything)]
    assert seen[0] is seen[1] is seen[2]


async def test_a_watch_gets_only_its_prefix(store: Store):
    prefixes = ["", "/core/", PODS, PODS + "default/", A, PODS + "def", PODS + "other/"]
    start = store.revision
    for key in (A, A + "x", PODS + "other/a", "/core/podsx/default/a", "/apps/pods/default/a"):
        await store.create(key, b"")
    every = [entry.key for entry in sorted((await store.list("")).entries, key=lambda entry: entry.revision)]
    for prefix in prefixes:
        wanted = [key for key in every if key.startswith(prefix)]
        async with watching(store, prefix, since=start) as watched:
            assert [event.entry.key for event in await watched.until(len(wanted))] == wanted


async def test_a_slow_watcher_is_cut_off_and_others_are_not(store: Store):
    async with store.watch(PODS, since=store.revision) as stuck, watching(store, PODS, since=store.revision) as live:
        for number in range(20):
            await store.create(f"{PODS}default/{number}", b"")
            await live.until(number + 1)
        with pytest.raises(SlowWatcher):
            await anext(stuck)
        assert len(live.events) == 20
        assert live.error is None


async def test_an_idle_watcher_hears_of_progress_elsewhere(store: Store):
    async with watching(store, PODS, since=store.revision) as watched:
        secret = await store.create("/core/secrets/default/a", b"")
        assert await watched.until_marked() >= secret.revision
        assert watched.events == []


async def test_compaction_does_not_disturb_a_running_watch(store: Store):
    async with watching(store, PODS, since=store.revision) as watched:
        await store.create(A, b"1")
        await store.compact(store.revision)
        await store.delete(A)
        await store.compact(store.revision)
        events = await watched.until(2)
    assert [event.entry.value for event in events] == [b"1", b"1"]


async def test_of_many_writers_to_one_revision_exactly_one_wins(store: Store):
    base = await store.create(A, b"0")
    results = await asyncio.gather(
        *(store.update(A, str(number).encode(), expected=base.revision) for number in range(50)), return_exceptions=True
    )
    winners = [result for result in results if not isinstance(result, BaseException)]
    losers = [result for result in results if isinstance(result, RevisionMismatch)]
    assert (len(winners), len(losers)) == (1, 49)
    assert await store.get(A) == winners[0] == losers[0].current


async def test_counters_raised_by_many_writers_lose_no_step(store: Store):
    await store.create(A, b"0")

    async def raise_it(times: int) -> None:
        while times:
            entry = await store.get(A)
            assert entry is not None
            try:
                await store.update(A, str(int(entry.value) + 1).encode(), expected=entry.revision)
                times -= 1
            except RevisionMismatch:
                continue

    start = store.revision
    await asyncio.gather(*(raise_it(5) for _ in range(10)))
    entry = await store.get(A)
    assert entry is not None
    assert (entry.value, entry.revision) == (b"50", start + 50)


async def test_an_acknowledged_write_is_visible_at_once(store: Store):
    async def write_and_look(number: int) -> None:
        entry = await store.create(f"{PODS}default/{number}", b"")
        assert store.revision >= entry.revision
        assert await store.get(entry.key) == entry

    await asyncio.gather(*(write_and_look(number) for number in range(30)))


async def test_a_closed_store_ends_watches_and_refuses_everything(store: Store):
    async with watching(store, PODS, since=store.revision) as watched:
        await asyncio.sleep(0)
        await store.close()
        await watched.until(1)
        assert watched.ended
    for call in (store.get(A), store.list(PODS), store.create(A, b""), store.delete(A), store.compact(1)):
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable):
        async with store.watch(PODS, since=1):
            pass
    await store.close()
