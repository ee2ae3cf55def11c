import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsam.power.sleep import ASSUMED, Sleep, assumed

COLUMNS = Sleep.__slots__


def node(count=1, **changes):
    usual = {
        "idle_watts": 100.0,
        "asleep_watts": 10.0,
        "sleep_seconds": 10.0,
        "sleep_joules": 1000.0,
        "wake_seconds": 50.0,
        "wake_joules": 8600.0,
    }
    return Sleep(**{name: np.full(count, value) for name, value in {**usual, **changes}.items()})


def at(value):
    return np.array([value], dtype=np.float64)


SLEEPS = st.builds(
    node,
    idle_watts=st.floats(20.0, 500.0),
    asleep_watts=st.floats(0.0, 15.0),
    sleep_seconds=st.floats(0.0, 60.0),
    sleep_joules=st.floats(0.0, 2e4),
    wake_seconds=st.floats(0.0, 600.0),
    wake_joules=st.floats(0.0, 2e5),
)


def test_the_break_even_time_is_what_the_formula_of_the_survey_says():
    # (1000 + 8600 - 10 * 60) / (100 - 10)
    assert node().break_even_seconds()[0] == pytest.approx(100.0)


def test_cheap_transitions_still_need_their_own_time():
    assert node(sleep_joules=0.0, wake_joules=0.0).break_even_seconds()[0] == 60.0


@given(SLEEPS, st.floats(1e-3, 10.0))
def test_sleeping_saves_after_the_break_even_time_and_not_before(sleep, beyond):
    even = sleep.break_even_seconds()
    scale = float(sleep.idle_watts[0] * even[0]) + 1.0
    assert sleep.joules_saved(even * (1.0 + beyond))[0] > -1e-9 * scale
    assume(even[0] > sleep.transition_seconds()[0])
    assert sleep.joules_saved(even)[0] == pytest.approx(0.0, abs=1e-9 * scale)
    assert sleep.joules_saved(even / (1.0 + beyond))[0] < 1e-9 * scale


@given(SLEEPS, st.floats(0.0, 1e5), st.floats(0.0, 1e4))
def test_a_longer_idle_time_never_saves_less(sleep, idle, more):
    assert sleep.joules_saved(at(idle + more))[0] >= sleep.joules_saved(at(idle))[0] - 1e-6


def test_over_a_long_time_all_that_is_saved_is_idle_less_asleep():
    assert node().watts_saved(at(1e9))[0] == pytest.approx(90.0, rel=1e-4)


@pytest.mark.parametrize("mean", [30.0, 100.0, 3000.0])
def test_the_expected_saving_is_the_mean_over_exponential_idle_times(mean):
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    times = -mean * np.log1p(-quantiles)
    average = node(len(times)).joules_saved(times).mean()
    assert node().expected_joules_saved(at(mean))[0] == pytest.approx(average, rel=1e-3, abs=1.0)


@given(SLEEPS)
def test_sleep_pays_for_long_idle_times_and_not_for_short_ones(sleep):
    even = sleep.break_even_seconds()
    assume(even[0] > 1.0)
    assert sleep.pays(even * 100.0)[0]
    assume(even[0] > sleep.transition_seconds()[0])
    assert not sleep.pays(even * 0.01)[0]


def test_sleep_must_save_more_than_the_margin():
    sleep, long = node(), at(1e6)
    assert sleep.pays(long, margin_watts=80.0)[0]
    assert not sleep.pays(long, margin_watts=95.0)[0]


def test_observed_idle_times_with_a_long_tail_pay_where_short_ones_do_not():
    rows = np.array(
        [[60.0, 60.0, 60.0, 20_000.0], [90.0, 90.0, 90.0, np.nan], [np.nan] * 4, [-1e9, np.inf, 60.0, 60.0]]
    )
    assert node(4).pays_over(rows).tolist() == [True, False, False, False]


def test_a_node_that_draws_as_much_asleep_never_breaks_even():
    sleep = node(asleep_watts=100.0)
    assert sleep.break_even_seconds()[0] == np.inf
    assert not sleep.pays(at(1e9))[0]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_node_of_which_something_is_unknown_stays_awake_and_is_not_woken(column, broken):
    sleep = node(**{column: broken})
    assert sleep.break_even_seconds()[0] == np.inf
    assert not sleep.pays(at(1e9))[0]
    assert not sleep.pays_over(np.array([[1e9]]))[0]
    assert sleep.option_watts(at(1e9))[0] == 0.0
    assert np.isnan(sleep.wake_watts(at(3600.0))[0])


@pytest.mark.parametrize("idle", [np.nan, np.inf, -5.0, 0.0])
def test_an_idle_time_that_is_no_time_does_not_pay(idle):
    assert not node().pays(at(idle))[0]
    assert node().option_watts(at(idle))[0] == 0.0


def test_waking_for_a_short_stay_costs_more_watts_than_for_a_long_one():
    # 90 W awake, and 9000 J up and down beyond being asleep.
    assert node().wake_watts(at(900.0))[0] == pytest.approx(100.0)
    assert node().wake_watts(at(1e9))[0] == pytest.approx(90.0)


def test_a_scheduler_pays_for_waking_for_forgone_sleep_and_for_nothing_on_a_busy_node():
    asleep, empty = np.array([True, False, False]), np.array([True, True, False])
    added = node(3).idle_watts_added(asleep, empty, np.full(3, 3600.0), np.full(3, 3600.0))
    assert added[0] == pytest.approx(92.5)
    assert 80.0 < added[1] < 90.0
    assert added[2] == 0.0


def test_many_nodes_are_answered_as_each_alone():
    chance, times = np.random.default_rng(3), np.linspace(1.0, 5000.0, 50)
    many = Sleep(**{name: chance.uniform(1.0, 200.0, 50) for name in COLUMNS})
    alone = [Sleep(**{name: getattr(many, name)[[row]] for name in COLUMNS}) for row in range(50)]
    for name in ("joules_saved", "expected_joules_saved", "option_watts", "wake_watts"):
        each = [getattr(one, name)(times[[row]])[0] for row, one in enumerate(alone)]
        np.testing.assert_allclose(getattr(many, name)(times), each)


@pytest.mark.parametrize("kind", list(ASSUMED))
def test_assumed_states_break_even_within_the_hour_and_never_draw_more_asleep_than_idle(kind):
    sleep = assumed(kind, np.array([5.0, 100.0]), np.array([10.0, 300.0]))
    assert (sleep.asleep_watts <= sleep.idle_watts).all()
    assert 20.0 <= sleep.break_even_seconds()[1] < 1800.0


def test_negative_costs_and_unknown_states_are_refused():
    with pytest.raises(ValueError, match="wake_joules must not be negative"):
        node(wake_joules=-1.0)
    with pytest.raises(ValueError, match="unknown sleep state 'hibernated'"):
        assumed("hibernated", at(1.0), at(2.0))
