from __future__ import annotations

import pytest

from sparsam.store.index import LiveIndex, resource_part
from sparsam.store.interface import Entry, Event, EventType


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("/core/pods/ns/a", "/core/pods/"),
        ("/core/nodes/a", "/core/nodes/"),
        ("/core/nodes/", "/core/nodes/"),
        ("/core/nodes", ""),
        ("/core/", ""),
        ("/", ""),
        ("", ""),
        ("odd", ""),
    ],
)
def test_the_resource_part_of_a_key_is_its_first_two_segments(key: str, part: str):
    assert resource_part(key) == part


def test_an_index_that_was_emptied_holds_nothing():
    entry = Entry("/core/pods/ns/a", b"", 2, 2)
    index = LiveIndex([entry])
    index.apply(Event(EventType.DELETED, Entry(entry.key, b"", 3, 2), entry))
    assert len(index) == 0
    assert index._keys == {}


def test_an_overlay_adds_replaces_and_removes_keys():
    entries = [Entry(f"/core/pods/ns/{name}", b"live", 5, 5) for name in "abc"]
    then = Entry("/core/pods/ns/b", b"then", 3, 3)
    gone_since = Entry("/core/pods/ns/bb", b"then", 4, 4)
    overlay = {then.key: then, gone_since.key: gone_since, "/core/pods/ns/c": None}
    index = LiveIndex(entries)
    assert index.slice("/core/pods/", start_key=None, limit=0, overlay=overlay) == (
        [entries[0], then, gone_since],
        None,
        0,
    )
    assert index.slice("/core/pods/", start_key=then.key, limit=1, overlay=overlay) == ([then], gone_since.key, 1)
    assert index.slice("/core/pods/", start_key=gone_since.key, limit=0, overlay=overlay) == ([gone_since], None, 0)
