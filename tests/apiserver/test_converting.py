"""Versions that differ in more than their name: what a store shows of them, with a conversion that counts upwards."""

import asyncio

import pytest

from sparsam.apiserver import conversion
from sparsam.apiserver.converting import ConvertingStore, refuse
from sparsam.errors import InternalError
from sparsam.objects.customresources import resources_of
from sparsam.store.interface import EventType, RevisionMismatch
from sparsam.store.memory import MemoryStore
from tests.support.customresources import OPEN, accepted, definition, version

CALLS = []


async def convert(_resource, objects, desired):
    """v1 says `one`, v2 says `two`."""
    CALLS.append(len(objects))
    name = {"example.com/v1": "one", "example.com/v2": "two"}
    return [
        {"apiVersion": desired, "kind": each["kind"], "metadata": each["metadata"], name[desired]: each[_said(each)]}
        for each in objects
    ]


def _said(obj):
    return "one" if "one" in obj else "two"


@pytest.fixture
async def stores():
    obj = definition(version("v1", OPEN), version("v2", OPEN, storage=False))
    obj["spec"]["conversion"] = {"strategy": "Webhook", "webhook": {}}
    two, one = resources_of(accepted(obj))
    store = await MemoryStore.open()
    yield store, ConvertingStore(store, one, convert), ConvertingStore(store, two, convert), one, two
    await store.close()


def wire(resource, name, **fields):
    return conversion.encode(resource, {"metadata": {"name": name}, **fields})


async def test_objects_are_stored_in_one_version_and_shown_in_both(stores):
    store, first, second, one, two = stores
    key = one.key("a", "default")
    assert conversion.decode(two, (await second.create(key, wire(two, "a", two=5))).value, 1)["two"] == 5
    raw = await store.get(key)
    assert b'"one":5' in raw.value
    assert b'"apiVersion":"example.com/v1"' in raw.value
    CALLS.clear()
    assert conversion.decode(one, (await first.get(key)).value, 1)["one"] == 5
    assert CALLS == []
    shown = conversion.decode(two, (await second.get(key)).value, 1)
    assert (shown["apiVersion"], shown["two"]) == ("example.com/v2", 5)
    page = await second.list(one.storage_prefix)
    assert b'"two":5' in page.entries[0].value
    assert await second.get(one.key("b", "default")) is None


async def test_a_lost_race_and_a_deletion_show_the_version_asked_for(stores):
    _store, first, second, one, two = stores
    key = one.key("a", "default")
    made = await first.create(key, wire(one, "a", one=1))
    await first.update(key, wire(one, "a", one=2), expected=made.revision)
    with pytest.raises(RevisionMismatch) as lost:
        await second.update(key, wire(two, "a", two=3), expected=made.revision)
    assert b'"two":2' in lost.value.current.value
    with pytest.raises(RevisionMismatch) as lost:
        await second.delete(key, expected=made.revision)
    assert b'"two":2' in lost.value.current.value
    assert b'"two":2' in (await second.delete(key)).value


async def test_a_watch_converts_each_batch_at_once(stores):
    store, first, second, one, _two = stores
    key = one.key("a", "default")
    async with second.watch(one.storage_prefix, since=store.revision) as batches:
        made = await first.create(key, wire(one, "a", one=1))
        await first.update(key, wire(one, "a", one=2), expected=made.revision)
        events = []
        async with asyncio.timeout(30):
            while len(events) < 2:
                events += await anext(batches)
    assert [each.type for each in events] == [EventType.ADDED, EventType.MODIFIED]
    assert b'"two":2' in events[1].entry.value
    assert b'"two":1' in events[1].previous.value
    assert events[0].previous is None


async def test_without_webhooks_a_conversion_is_refused(stores):
    store, first, _second, one, two = stores
    await first.create(one.key("a", "default"), wire(one, "a", one=1))
    with pytest.raises(InternalError, match=r"conversion webhook for example\.com/v1, Kind=Widget failed"):
        await ConvertingStore(store, two, refuse).list(one.storage_prefix)
