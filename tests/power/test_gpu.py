import numpy as np
import pytest

from sparsam.power.gpu import Cards, fit


def hours(samples=500, *, slope=200.0, awake=70.0, idle=30.0):
    chance = np.random.default_rng(8)
    utilization = np.where(chance.random(samples) < 0.5, 0.0, chance.random(samples))
    watts = np.where(utilization <= 0.01, idle, awake + slope * utilization)
    return utilization, watts


def test_a_card_has_a_state_asleep_and_a_line_awake():
    found = fit(*hours())
    assert (found.idle_watts, found.awake_watts, found.watts_per_utilization) == pytest.approx((30.0, 70.0, 200.0))
    assert found.mape_pct < 0.01


def test_some_wrong_hours_do_not_bend_the_line():
    utilization, watts = hours()
    watts[::50] *= 4.0
    found = fit(utilization, watts)
    assert found.watts_per_utilization == pytest.approx(200.0, rel=0.02)


def test_a_card_that_a_process_holds_is_a_state_of_its_own():
    utilization, watts = hours(2000)
    later = np.arange(2000) > 1200
    watts[(utilization <= 0.01) & later] = 68.0
    found = fit(utilization, watts)
    assert (found.asleep_watts, found.held_watts) == pytest.approx((30.0, 68.0))
    assert found.idle_watts in (found.asleep_watts, found.held_watts)
    # Nobody told: an error wherever the other state reigns. Told by the last reading: one sample only.
    assert found.idle_mape_pct > 20.0
    assert found.told_mape_pct < 0.5


def test_a_single_idle_state_is_not_made_two():
    utilization, watts = hours()
    chance = np.random.default_rng(1)
    found = fit(utilization, watts * chance.normal(1.0, 0.02, len(watts)))
    assert found.asleep_watts == found.held_watts == pytest.approx(30.0, rel=0.01)


def test_all_cards_are_predicted_at_once_and_waking_costs():
    cards = Cards(*np.array([[30.0, 50.0], [60.0, 75.0], [70.0, 80.0], [200.0, 240.0], [0.1, np.nan]]))
    free, held = np.zeros(2, dtype=bool), np.ones(2, dtype=bool)
    assert cards.watts(np.array([0.0, 0.5]), free).tolist() == [30.0, 200.0]
    assert cards.watts(np.array([0.0, 0.0]), held).tolist() == [60.0, 75.0]
    added = np.array([0.1, 0.1])
    assert cards.marginal_watts(np.array([0.0, 1.0]), added, free).tolist() == pytest.approx([60.0, 0.0])
    assert cards.marginal_watts(np.array([0.0, 0.0]), added, held).tolist() == pytest.approx([30.0, 29.0])
    low, high = cards.interval(np.array([0.5, 0.5]), free)
    assert (low[0], high[0]) == pytest.approx((153.0, 187.0))
    assert np.isnan(low[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda u, w: (u[:10], w[:10]), "at least 20"),
        (lambda u, w: (u * 100.0, w), "0..1"),
        (lambda u, w: (u, w * 0.0), "above zero"),
        (lambda u, w: (u * 0.0, w), "hardly changes"),
    ],
)
def test_samples_that_carry_no_line_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        fit(*change(*hours()))
