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


def test_all_cards_are_predicted_at_once_and_waking_costs():
    cards = Cards(np.array([30.0, 50.0]), np.array([70.0, 80.0]), np.array([200.0, 240.0]), np.array([0.1, np.nan]))
    assert cards.watts(np.array([0.0, 0.5])).tolist() == [30.0, 200.0]
    assert cards.marginal_watts(np.array([0.0, 1.0]), np.array([0.1, 0.1])).tolist() == pytest.approx([60.0, 0.0])
    low, high = cards.interval(np.array([0.5, 0.5]))
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
