from __future__ import annotations

import pytest

from sparsam.store.config import StoreConfig
from sparsam.store.fanout import Fanout, Watcher
from sparsam.store.interface import Entry, Event, EventType, SlowWatcher


def added(key: str, revision: int = 2, value: bytes = b"") -> Event:
    return Event(EventType.ADDED, Entry(key, value, revision, revision))


async def test_an_event_touches_only_the_watchers_of_its_own_directories(monkeypatch: pytest.MonkeyPatch):
    fanout = Fanout()
    watchers = [Watcher(f"/core/pods/ns-{number}/", StoreConfig()) for number in range(1000)]
    for watcher in watchers:
        fanout.add(watcher)
    looked_at = fanout._concerned("/core/pods/ns-7/a")
    assert looked_at == [watchers[7]]


async def test_events_of_one_publication_arrive_as_one_batch():
    fanout, watcher = Fanout(), Watcher("/core/", StoreConfig())
    fanout.add(watcher)
    fanout.publish([added("/core/pods/a", 2), added("/apps/x", 3), added("/core/pods/b", 4)])
    assert [event.entry.revision for event in await anext(watcher)] == [2, 4]


async def test_a_watcher_is_bounded_in_bytes_but_takes_any_single_event():
    fanout, watcher = Fanout(), Watcher("/core/", StoreConfig(watch_queue_bytes=10))
    fanout.add(watcher)
    fanout.publish([added("/core/pods/a", 2, b"x" * 50)])
    assert len(await anext(watcher)) == 1
    fanout.publish([added("/core/pods/b", 3, b"x" * 50), added("/core/pods/c", 4, b"x")])
    with pytest.raises(SlowWatcher):
        await anext(watcher)
    assert len(fanout) == 0
    assert watcher._waiting == []


async def test_a_mark_becomes_the_events_that_came_before_it_was_read():
    fanout, watcher = Fanout(), Watcher("/core/", StoreConfig())
    fanout.add(watcher)
    fanout.mark()
    fanout.publish([added("/core/pods/a")])
    assert len(await anext(watcher)) == 1
    fanout.mark()
    assert await anext(watcher) == []


async def test_removed_watchers_leave_nothing_behind():
    fanout, watcher = Fanout(), Watcher("/core/pods/", StoreConfig())
    fanout.add(watcher)
    fanout.remove(watcher)
    fanout.remove(watcher)
    assert fanout._by_directory == {}


async def test_what_was_queued_before_the_end_is_still_delivered():
    fanout, watcher = Fanout(), Watcher("/core/", StoreConfig())
    fanout.add(watcher)
    fanout.publish([added("/core/pods/a")])
    fanout.close()
    assert len([batch async for batch in watcher]) == 1
