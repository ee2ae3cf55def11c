from __future__ import annotations

import pytest

from sparsam.store.decision import Verb, Write, decide
from sparsam.store.interface import Entry, EventType, RevisionMismatch

LIVE = Entry("/core/pods/a", b"1", 5, 3)


def test_an_update_keeps_when_the_key_was_created():
    event = decide(Write(Verb.UPDATE, LIVE.key, b"2", expected=5), LIVE, 9)
    assert (event.type, event.entry, event.previous) == (EventType.MODIFIED, Entry(LIVE.key, b"2", 9, 3), LIVE)


def test_a_deletion_carries_the_last_value_at_its_own_revision():
    event = decide(Write(Verb.DELETE, LIVE.key), LIVE, 9)
    assert (event.type, event.entry, event.previous) == (EventType.DELETED, Entry(LIVE.key, b"1", 9, 3), LIVE)


@pytest.mark.parametrize("expected", [4, 6, 0])
@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE])
def test_another_revision_than_expected_is_refused(verb: Verb, expected: int):
    with pytest.raises(RevisionMismatch):
        decide(Write(verb, LIVE.key, b"", expected), LIVE, 9)
