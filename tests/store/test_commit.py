"""Group commit over a disk that the test plays."""

from __future__ import annotations

import asyncio

import pytest

from sparsam.store.commit import GroupCommit, Settled
from sparsam.store.decision import Verb, Write
from sparsam.store.index import LiveIndex
from sparsam.store.interface import Event, KeyExists, KeyMissing, StoreUnavailable


class Disk:
    """Holds each batch until the test says how it went."""

    def __init__(self, batch_writes: int = 100) -> None:
        self.index, self.revision = LiveIndex(), 1
        self.batches: list[tuple[list[Event], Settled]] = []
        self.commits = GroupCommit(
            live=self.index.get,
            revision=lambda: self.revision,
            commit=lambda events, settled: self.batches.append((events, settled)),
            publish=self.publish,
            batch_writes=batch_writes,
        )

    def publish(self, events: list[Event]) -> None:
        for event in events:
            self.index.apply(event)
        self.revision = events[-1].entry.revision

    def create(self, key: str) -> asyncio.Future:
        return self.commits.submit(Write(Verb.CREATE, key))

    async def settle(self, failure: StoreUnavailable | None = None) -> int:
        """Let the batch in flight succeed or fail; its size."""
        while not self.batches:
            await asyncio.sleep(0)
        events, settled = self.batches.pop()
        settled(failure)
        return len(events)


async def test_what_arrives_during_a_commit_becomes_the_next_batch():
    disk = Disk()
    first = disk.create("/a")
    await asyncio.sleep(0)
    later = [disk.create(f"/b{number}") for number in range(3)]
    await asyncio.sleep(0)
    assert len(disk.batches) == 1
    assert await disk.settle() == 1
    assert (await first).revision == 2
    assert await disk.settle() == 3
    assert [(await future).revision for future in later] == [3, 4, 5]


async def test_batches_are_bounded():
    disk = Disk(batch_writes=2)
    futures = [disk.create(f"/{number}") for number in range(5)]
    assert [await disk.settle() for _ in range(3)] == [2, 2, 1]
    await asyncio.gather(*futures)


async def test_nothing_shows_before_the_commit():
    disk = Disk()
    future = disk.create("/a")
    await asyncio.sleep(0)
    assert disk.batches
    assert not future.done()
    assert (len(disk.index), disk.revision) == (0, 1)
    await disk.settle()
    assert await future == disk.index.get("/a")


async def test_a_failed_batch_uses_no_revision_and_takes_the_next_one_not_with_it():
    disk = Disk()
    lost = [disk.create("/a"), disk.create("/a"), disk.create("/b")]
    await asyncio.sleep(0)
    next_one = disk.create("/a")
    await disk.settle(StoreUnavailable("disk full"))
    for future in lost:
        with pytest.raises(StoreUnavailable, match="disk full"):
            await future
    await disk.settle()
    assert (await next_one).revision == 2


async def test_a_refusal_that_rests_on_the_batch_waits_for_it_and_others_do_not():
    disk = Disk()
    await asyncio.gather(disk.settle(), disk.create("/old"))
    winner, loser, unrelated = disk.create("/a"), disk.create("/a"), disk.create("/old")
    await asyncio.sleep(0)
    assert unrelated.done()
    assert not loser.done()
    await disk.settle()
    await winner
    for future in (loser, unrelated):
        with pytest.raises(KeyExists):
            await future


async def test_writes_of_one_batch_see_each_other():
    disk = Disk()
    futures = [
        disk.create("/a"),
        disk.commits.submit(Write(Verb.UPDATE, "/a", b"2", expected=2)),
        disk.commits.submit(Write(Verb.DELETE, "/a")),
        disk.commits.submit(Write(Verb.DELETE, "/a")),
        disk.create("/a"),
    ]
    await disk.settle()
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[3], KeyMissing)
    assert [result.revision for result in results if not isinstance(result, KeyMissing)] == [2, 3, 4, 5]


async def test_draining_waits_for_all():
    disk = Disk(batch_writes=1)
    futures = [disk.create("/a"), disk.create("/b")]
    drain = asyncio.ensure_future(disk.commits.drain())
    await disk.settle()
    assert not drain.done()
    await disk.settle()
    await drain
    await asyncio.gather(*futures)
