"""A copy of a part of the store stays like it."""

from __future__ import annotations

import asyncio

from sparsam.apiserver.following import follow, key_of
from sparsam.objects.kinds import NODES, PODS
from sparsam.store.interface import Entry, Event, EventType
from sparsam.store.memory import MemoryStore
from tests.support.controllers import eventually


async def test_what_was_there_comes_first_and_then_each_change():
    store = await MemoryStore.open()
    await store.create(PODS.key("a", "d"), b"1")
    await store.create("/core/secrets/d/a", b"no pod")
    held: dict[tuple[str, str], bytes] = {}

    def reset(entries: list[Entry]) -> None:
        held.clear()
        held.update({key_of(PODS, each): each.value for each in entries})

    def change(event: Event) -> None:
        if event.type is EventType.DELETED:
            del held[key_of(PODS, event.entry)]
        else:
            held[key_of(PODS, event.entry)] = event.entry.value

    async def holds(wanted):
        async def look():
            return held == wanted

        return await eventually(look)

    task = asyncio.create_task(follow(store, PODS, reset, change))
    try:
        assert await holds({("d", "a"): b"1"})
        entry = await store.create(PODS.key("b", "e"), b"2")
        await store.update(entry.key, b"3", expected=entry.revision)
        await store.delete(PODS.key("a", "d"))
        assert await holds({("e", "b"): b"3"})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


def test_what_has_no_namespace_has_an_empty_one():
    assert key_of(NODES, Entry(NODES.key("n"), b"", 1, 1)) == ("", "n")
