import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sparsam.scheduling.backlog import FLUSH_SECONDS, HELPS, Backlog, Change, Place, pause_seconds


def popped(backlog, now=0.0, limit=10):
    return [pod.key for pod in backlog.pop(limit, now)]


def refused(backlog, *plugins, now=0.0, key="a"):
    backlog.add(key, 0, now)
    backlog.pop(10, now)
    backlog.refuse(key, plugins, now)


def test_the_more_important_goes_first_then_the_older():
    backlog = Backlog()
    for key, priority, now in (("young", 0, 2.0), ("old", 0, 1.0), ("boss", 9, 3.0)):
        backlog.add(key, priority, now)
    assert popped(backlog, 4.0, 2) == ["boss", "old"]
    assert popped(backlog, 4.0) == ["young"]


def test_only_what_may_help_brings_a_pod_back():
    backlog = Backlog()
    refused(backlog, "NodeResourcesFit")
    backlog.note(Change.POD_PLACED, 5.0)
    assert popped(backlog, 5.0) == []
    backlog.note(Change.POD_GONE, 5.0)
    assert popped(backlog, 5.0) == ["a"]


def test_a_pod_that_was_tried_lately_pauses_first():
    backlog = Backlog()
    refused(backlog, "NodeResourcesFit")
    backlog.note(Change.NODE, 0.3)
    assert backlog.get("a").place is Place.BACKOFF
    assert backlog.next_wake() == 1.0
    assert popped(backlog, 0.9) == []
    assert popped(backlog, 1.0) == ["a"]


def test_a_change_while_the_pod_is_in_flight_is_not_missed():
    backlog = Backlog()
    backlog.add("a", 0, 0.0)
    backlog.pop(1, 0.0)
    backlog.note(Change.POD_GONE, 0.1)
    backlog.refuse("a", {"NodeResourcesFit"}, 0.2)
    assert backlog.get("a").place is Place.BACKOFF


def test_an_update_while_in_flight_counts_as_any_change():
    backlog = Backlog()
    backlog.add("a", 0, 0.0)
    backlog.pop(1, 0.0)
    backlog.add("a", 0, 0.1)
    backlog.refuse("a", {"NodeAffinity"}, 0.2)
    assert backlog.get("a").place is Place.BACKOFF


def test_in_the_end_everybody_is_tried_again():
    backlog = Backlog()
    refused(backlog, "NodeAffinity")
    assert backlog.next_wake() == FLUSH_SECONDS
    assert popped(backlog, FLUSH_SECONDS) == ["a"]


def test_pauses_double_up_to_ten_seconds():
    assert [pause_seconds(attempts) for attempts in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert pause_seconds(10_000) == 10.0


@pytest.mark.parametrize("change", Change)
def test_a_pod_that_nobody_in_particular_refused_is_helped_by_anything(change):
    backlog = Backlog()
    refused(backlog)
    backlog.note(change, 50.0)
    assert popped(backlog, 50.0) == ["a"]


class BacklogMachine(RuleBasedStateMachine):
    """Whatever is called in whatever order, no pod is lost and none is in two places."""

    def __init__(self):
        super().__init__()
        self.backlog, self.now, self.known, self.flying = Backlog(), 0.0, set(), set()

    keys = st.sampled_from("abcde")

    @rule(key=keys, priority=st.integers(0, 2))
    def add(self, key, priority):
        self.backlog.add(key, priority, self.now)
        self.known.add(key)

    @rule(key=keys)
    def remove(self, key):
        self.backlog.remove(key)
        self.known.discard(key)
        self.flying.discard(key)

    @rule(limit=st.integers(1, 3))
    def pop(self, limit):
        found = popped(self.backlog, self.now, limit)
        assert not self.flying & set(found)
        self.flying.update(found)

    @rule(key=keys, plugins=st.sets(st.sampled_from(sorted(HELPS[Change.NODE]))))
    def refuse(self, key, plugins):
        if key in self.flying:
            self.backlog.refuse(key, plugins, self.now)
            self.flying.discard(key)

    @rule(key=keys)
    def retry(self, key):
        if key in self.flying:
            self.backlog.retry(key, self.now)
            self.flying.discard(key)

    @rule(change=st.sampled_from(Change))
    def note(self, change):
        self.backlog.note(change, self.now)

    @rule(seconds=st.floats(0.0, 400.0))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def everybody_is_somewhere(self):
        counts = self.backlog.counts()
        assert sum(counts.values()) == len(self.known)
        assert counts["in flight"] == len(self.flying)

    def teardown(self):
        for key in list(self.flying):
            self.backlog.retry(key, self.now)
        assert set(popped(self.backlog, self.now + 2 * FLUSH_SECONDS, 100)) == self.known


TestBacklog = BacklogMachine.TestCase


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 10)), min_size=1, max_size=20))
def test_the_order_is_by_priority_then_age(pods):
    backlog = Backlog()
    for number, (priority, now) in enumerate(pods):
        backlog.add(f"{number:03d}", priority, now)
    order = [(-pods[int(key)][0], pods[int(key)][1]) for key in popped(backlog, 20.0, 100)]
    assert order == sorted(order)
