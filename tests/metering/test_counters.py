import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.metering.counters import FORGET_AFTER, Gains, busy_seconds

STAT = "cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3 4\n"


def test_the_first_look_gains_nothing_since_nobody_knows_how_old_the_counters_are():
    assert Gains().take({"a": 500.0}) == {"a": 0.0}


def test_a_counter_gains_what_it_rose():
    gains = Gains()
    gains.take({"a": 500.0})
    assert gains.take({"a": 503.5}) == {"a": 3.5}


def test_a_new_counter_and_one_that_fell_began_within_the_interval():
    gains = Gains()
    gains.take({"a": 500.0})
    assert gains.take({"a": 2.0, "b": 1.0}) == {"a": 2.0, "b": 1.0}


def test_a_counter_that_was_missed_for_a_while_is_not_new():
    gains = Gains()
    gains.take({"a": 500.0})
    for _ in range(FORGET_AFTER):
        gains.take({})
    assert gains.take({"a": 501.0}) == {"a": 1.0}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e9)), max_size=30))
def test_gains_are_never_negative(looks):
    gains = Gains()
    for totals in looks:
        assert all(gain >= 0.0 for gain in gains.take(totals).values())


def test_stolen_time_is_neither_busy_nor_idle():
    assert busy_seconds(STAT, 100) == (1.63, 42.13)


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 3", "cpu a b c d e f g h"])
def test_a_stat_without_sense_is_refused(text):
    with pytest.raises(ValueError, match=r"few|invalid"):
        busy_seconds(text, 100)
