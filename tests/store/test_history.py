from __future__ import annotations

from sparsam.store.config import StoreConfig
from sparsam.store.history import History
from sparsam.store.interface import Entry, Event, EventType


def filled(config: StoreConfig, count: int, size: int = 1) -> History:
    history, previous = History(config, floor=1), None
    for revision in range(2, 2 + count):
        entry = Entry("/core/pods/a", b"x" * size, revision, 2)
        history.append(Event(EventType.MODIFIED if previous else EventType.ADDED, entry, previous))
        previous = entry
    return history


def test_it_keeps_a_bounded_number_of_events_and_knows_how_far_back_it_reaches():
    history = filled(StoreConfig(history_events=3), 10)
    assert history.floor == 8
    assert [event.entry.revision for event in history.since("", 8)] == [9, 10, 11]


def test_it_keeps_a_bounded_number_of_bytes():
    history = filled(StoreConfig(history_bytes=1000), 10, size=100)
    assert [event.entry.revision for event in history.since("", 0)] == [7, 8, 9, 10, 11]


def test_undoing_gives_what_held_before():
    history = filled(StoreConfig(), 3)
    held = history.undo("/core/", 2)["/core/pods/a"]
    assert held is not None
    assert held.revision == 2
    assert history.undo("/core/", 1) == {"/core/pods/a": None}
    assert history.undo("/apps/", 1) == {}


def test_forgetting_raises_the_floor_even_past_all_events():
    history = filled(StoreConfig(), 3)
    history.forget(3)
    assert (history.floor, len(history.since("", 0))) == (3, 1)
    history.forget(9)
    assert (history.floor, history.since("", 0)) == (9, [])
