import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsam.power.curves import (
    Exponential,
    IdleExponential,
    PowerLaw,
    akima_slopes,
    hermite,
    limit_slopes,
    pchip_slopes,
    piecewise_linear,
)

SERVERS, POINTS = 40, 11


@pytest.fixture
def points():
    chance = np.random.default_rng(3)
    knots = np.sort(chance.random((SERVERS, POINTS)), axis=1)
    return knots, 50 + np.cumsum(chance.exponential(20, (SERVERS, POINTS)), axis=1)


def rising(values):
    return 40 + np.cumsum(values, axis=1)


STEPS = arrays(np.float64, (3, 8), elements=st.floats(0, 80))


@pytest.mark.parametrize("method", ["pchip", "akima", "makima"])
def test_interpolation_agrees_with_scipy(points, method):
    interpolate = pytest.importorskip("scipy.interpolate", reason="scipy, a development dependency, is not installed")
    knots, watts = points
    slopes = (
        pchip_slopes(knots, watts) if method == "pchip" else akima_slopes(knots, watts, modified=method == "makima")
    )
    curves = hermite(knots, watts, slopes)
    for share in np.linspace(0, 1, 23):
        load = knots[:, 0] + share * (knots[:, -1] - knots[:, 0])
        expected = [
            interpolate.PchipInterpolator(x, y)(at)
            if method == "pchip"
            else interpolate.Akima1DInterpolator(x, y, method=method)(at)
            for x, y, at in zip(knots, watts, load, strict=True)
        ]
        np.testing.assert_allclose(curves.watts(load), expected, rtol=1e-9)


def test_straight_pieces_agree_with_linear_interpolation(points):
    knots, watts = points
    curves, load = piecewise_linear(knots, watts), np.linspace(0.2, 0.8, SERVERS)
    expected = [np.interp(at, x, y) for x, y, at in zip(knots, watts, load, strict=True)]
    np.testing.assert_allclose(curves.watts(load), expected)


@given(STEPS)
def test_limited_cubics_through_rising_points_never_fall(steps):
    watts = rising(steps)
    knots = np.tile(np.linspace(0, 1, 8), (3, 1))
    for slopes in (pchip_slopes(knots, watts), akima_slopes(knots, watts), akima_slopes(knots, watts, modified=True)):
        curves = hermite(knots, watts, limit_slopes(knots, watts, slopes))
        drawn = np.stack([curves.watts(np.full(3, load)) for load in np.linspace(0, 1, 101)], axis=1)
        assert (np.diff(drawn) > -1e-9 * drawn.max()).all()


@given(STEPS)
def test_cubics_pass_through_their_points(steps):
    watts = rising(steps)
    knots = np.tile(np.linspace(0, 1, 8), (3, 1))
    curves = hermite(knots, watts, limit_slopes(knots, watts, akima_slopes(knots, watts)))
    for column in range(8):
        np.testing.assert_allclose(curves.watts(knots[:, column]), watts[:, column])


def every_form():
    two = np.ones(2)
    knots = np.tile([0.0, 0.3, 0.6, 1.0], (2, 1))
    watts = np.array([[50.0, 90, 110, 200], [20.0, 30, 60, 80]])
    active = Exponential(80 * two, 20 * two, np.array([1.5, 2.0]))
    return [
        PowerLaw(50 * two, 150 * two, np.array([0.7, 1.4])),
        active,
        Exponential(150 * two, -80 * two, -2 * two),
        IdleExponential(60 * two, active),
        piecewise_linear(knots, watts),
        hermite(knots, watts, pchip_slopes(knots, watts)),
    ]


@pytest.mark.parametrize("curves", every_form(), ids=lambda one: type(one).__name__)
def test_the_slope_is_the_derivative_of_the_watts(curves):
    for load in (0.05, 0.2, 0.45, 0.9):
        at, step = np.full(2, load), 1e-6
        numeric = (curves.watts(at + step) - curves.watts(at - step)) / (2 * step)
        np.testing.assert_allclose(curves.slope(at), numeric, rtol=1e-4)


@pytest.mark.parametrize("curves", every_form(), ids=lambda one: type(one).__name__)
def test_loads_outside_the_range_are_cut_to_it(curves):
    np.testing.assert_array_equal(curves.watts(np.array([-1.0, 7.0])), curves.watts(np.array([0.0, 1.0])))


@pytest.mark.parametrize("curves", every_form(), ids=lambda one: type(one).__name__)
def test_taken_servers_keep_their_curves(curves):
    twice = curves.take(np.array([1, 1, 0]))
    both = curves.watts(np.full(2, 0.4))
    np.testing.assert_array_equal(twice.watts(np.full(3, 0.4)), both[[1, 1, 0]])


def test_an_idle_state_of_its_own_is_left_within_the_first_per_cents():
    awake = Exponential(np.array([80.0]), np.array([20.0]), np.array([1.5]))
    curve = IdleExponential(np.array([60.0]), awake)
    assert curve.watts(np.zeros(1))[0] == pytest.approx(60)
    assert curve.watts(np.array([0.1]))[0] == pytest.approx(awake.watts(np.array([0.1]))[0], rel=0.005)


@pytest.mark.parametrize("slopes", [pchip_slopes, akima_slopes])
def test_two_points_make_a_straight_line(slopes):
    knots, watts = np.array([[0.0, 1.0]]), np.array([[50.0, 150.0]])
    assert hermite(knots, watts, slopes(knots, watts)).watts(np.array([0.25]))[0] == pytest.approx(75)
