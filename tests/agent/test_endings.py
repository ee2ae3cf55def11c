"""Ends that the engine told of and does not list yet."""

from __future__ import annotations

from sparsam.agent.endings import BELIEVED_SECONDS, FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Endings


def test_nothing_told_needs_no_second_look():
    assert Endings().next_look({"a"}, 0.0) is None


def test_an_end_is_looked_for_until_the_engine_lists_it():
    endings = Endings()
    endings.tell("a", 10.0)
    assert endings.next_look({"a", "b"}, 10.0) == 10.0 + FIRST_PAUSE_SECONDS
    assert endings.next_look({"a"}, 12.0) == 14.0
    assert endings.next_look({"a"}, 60.0) == 60.0 + LAST_PAUSE_SECONDS
    assert endings.next_look({"b"}, 61.0) is None


def test_an_end_told_before_the_container_was_seen_is_remembered():
    endings = Endings()
    endings.tell("a", 0.0)
    assert endings.next_look((), 5.0) is None
    assert endings.next_look({"a"}, 6.0) is not None


def test_an_engine_that_keeps_to_its_books_is_believed_at_last():
    endings = Endings()
    endings.tell("a", 0.0)
    assert endings.next_look({"a"}, BELIEVED_SECONDS) is None
