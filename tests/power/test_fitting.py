import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsam.power.curves import Exponential, IdleExponential, PowerLaw
from sparsam.power.fitting import (
    FAMILIES,
    fit_exponential,
    fit_idle_exponential,
    fit_linear,
    fit_power_law,
    isotonic,
)

LOADS = np.tile(np.arange(11) / 10.0, (3, 1))


def drawn(curves, load=LOADS):
    return np.stack([curves.watts(column) for column in load.T], axis=1)


@pytest.mark.parametrize("exponent", [0.4, 1.0, 2.2])
def test_a_power_law_is_recovered(exponent):
    truth = PowerLaw(np.full(3, 60.0), np.array([50.0, 150.0, 400.0]), np.full(3, exponent))
    fitted = fit_power_law(LOADS, drawn(truth))
    np.testing.assert_allclose(fitted.exponent, truth.exponent, rtol=1e-3)
    np.testing.assert_allclose(drawn(fitted), drawn(truth), rtol=1e-3)


@pytest.mark.parametrize("rate", [-3.0, 0.7, 2.5])
def test_an_exponential_is_recovered(rate):
    truth = Exponential(np.full(3, 100.0), np.array([5.0, 20.0, 40.0]) * np.sign(rate), np.full(3, rate))
    np.testing.assert_allclose(drawn(fit_exponential(LOADS, drawn(truth))), drawn(truth), rtol=1e-4)


def test_an_exponential_with_an_idle_state_is_recovered():
    active = Exponential(np.full(3, 80.0), np.array([5.0, 20.0, 40.0]), np.array([1.0, 1.5, 2.0]))
    truth = IdleExponential(np.full(3, 50.0), active)
    np.testing.assert_allclose(drawn(fit_idle_exponential(LOADS, drawn(truth))), drawn(truth), rtol=0.005)


def test_one_bad_point_bends_a_robust_fit_little():
    truth = Exponential(np.full(3, 100.0), np.full(3, 20.0), np.full(3, 1.8))
    watts = drawn(truth)
    spoilt = watts.copy()
    spoilt[:, 4] *= 1.15
    fitted = drawn(fit_exponential(LOADS, spoilt))
    others = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert (np.abs(fitted / watts - 1)[:, others]).mean() < 0.02


def test_the_line_goes_through_idle_and_the_highest_load():
    load = np.array([[0.0, 0.5, 0.98]])
    fitted = fit_linear(load, np.array([[50.0, 140.0, 148.0]]))
    np.testing.assert_allclose(fitted.watts(np.array([0.0])), 50)
    np.testing.assert_allclose(fitted.watts(np.array([0.98])), 148)


ROWS = arrays(np.float64, (2, 9), elements=st.floats(20, 500))


@given(ROWS)
def test_isotonic_rows_never_fall_and_are_no_farther_than_any_pooled_neighbour(watts):
    fitted = isotonic(watts)
    assert (np.diff(fitted) >= -1e-9 * fitted.max()).all()
    np.testing.assert_allclose(fitted.mean(axis=1), watts.mean(axis=1))
    np.testing.assert_allclose(isotonic(fitted), fitted)


@given(ROWS)
def test_isotonic_agrees_with_pooling_adjacent_violators(watts):
    for row, fitted in zip(watts, isotonic(watts), strict=True):
        blocks: list[list[float]] = []
        for value in row:
            blocks.append([value])
            while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
                last = blocks.pop()
                blocks[-1] += last
        np.testing.assert_allclose(fitted, [np.mean(block) for block in blocks for _ in block])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@given(watts=ROWS)
def test_no_family_goes_below_zero_or_falls_with_load_whatever_is_measured(family, watts):
    load = np.tile(np.linspace(0, 1, 9), (2, 1))
    curves = family.fit(load, watts)
    values = np.stack([curves.watts(np.full(2, at)) for at in np.linspace(0, 1, 51)], axis=1)
    assert np.isfinite(values).all()
    assert (values >= -1e-9).all()
    assert (np.diff(values) >= -1e-6 * values.max()).all()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_servers_fitted_together_get_what_each_gets_alone(family):
    chance = np.random.default_rng(5)
    watts = 50 + np.cumsum(chance.exponential(20, (3, 11)), axis=1)
    together = drawn(family.fit(LOADS, watts))
    alone = [drawn(family.fit(LOADS[:1], watts[row : row + 1]), LOADS[:1])[0] for row in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
