import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.thermal import Thermal, assumed, fit

SERVER = assumed(np.array([400.0]))
INLETS, LOADS = st.floats(5.0, 60.0), st.floats(0.0, 1.0)


def at(value):
    return np.array([value], dtype=np.float64)


def curve(load):
    return 120.0 + 280.0 * load


def samples(count=400, *, seed=5, noise=0.0, fan_watts=60.0, leakage=0.4):
    """A server whose fans hold 30 % up to 24 degrees and turn fully at 40, with full load worth 6 degrees."""
    chance = np.random.default_rng(seed)
    inlet = 25.0 + 8.0 * np.sin(np.arange(count) / 15.0) + chance.normal(0.0, 0.5, count)
    load = chance.random(count)
    speed = np.clip(0.3 + 0.7 * (inlet + 6.0 * load - 24.0) / 16.0, 0.3, 1.0)
    watts = (curve(load) + fan_watts * speed**3 + leakage * inlet) * (1.0 + noise * chance.normal(0.0, 1.0, count))
    return inlet, load, 12_000.0 * speed, watts


def test_half_the_speed_costs_an_eighth_of_the_fan_watts():
    half = 25.0 + 20.0 * (0.5 - 0.3) / 0.7
    assert SERVER.fan_speed(at(half), at(0.0))[0] == pytest.approx(0.5)
    assert SERVER.fan_watts(at(half), at(0.0))[0] == pytest.approx(40.0 / 8.0)


def test_fans_hold_their_floor_below_the_set_point_and_full_speed_above():
    assert SERVER.fan_speed(at(10.0), at(0.0))[0] == pytest.approx(0.3)
    assert SERVER.fan_speed(at(50.0), at(0.0))[0] == 1.0


@given(LOADS)
def test_the_reference_temperature_adds_nothing(load):
    assert SERVER.extra_watts(at(23.0), at(load))[0] == 0.0


@given(INLETS, INLETS, LOADS)
def test_warmer_air_never_costs_less(first, second, load):
    cool, warm = sorted((first, second))
    assert SERVER.extra_watts(at(warm), at(load))[0] >= SERVER.extra_watts(at(cool), at(load))[0] - 1e-9


@given(INLETS, LOADS, LOADS)
def test_with_its_power_curve_a_server_never_draws_less_for_more_load(inlet, first, second):
    low, high = sorted((first, second))
    before, after = (curve(load) + SERVER.extra_watts(at(inlet), at(load))[0] for load in (low, high))
    assert after >= before - 1e-9


@given(INLETS, LOADS)
def test_the_interval_holds_the_prediction(inlet, load):
    low, high = SERVER.interval(at(inlet), at(load))
    assert low[0] <= SERVER.extra_watts(at(inlet), at(load))[0] <= high[0]


@pytest.mark.parametrize("inlet", [20.0, 27.0, 35.0, 44.0])
@pytest.mark.parametrize("load", [0.1, 0.45, 0.9])
def test_the_slope_is_what_little_load_adds(inlet, load):
    little = SERVER.marginal_watts(at(inlet), at(load), at(1e-6))[0] / 1e-6
    assert SERVER.slope(at(inlet), at(load))[0] == pytest.approx(little, rel=1e-3, abs=1e-4)


def test_load_costs_more_in_warm_air_until_the_fans_are_at_their_end():
    assert SERVER.slope(at(35.0), at(0.5))[0] > SERVER.slope(at(28.0), at(0.5))[0] > 0.0
    assert SERVER.slope(at(50.0), at(0.5))[0] <= 0.0


def test_the_assumptions_stay_near_what_was_published():
    def share(cool, warm):
        at_cool, at_warm = (SERVER.extra_watts(at(inlet), at(0.4))[0] for inlet in (cool, warm))
        return (at_warm - at_cool) / (curve(0.4) + at_cool)

    assert 0.0035 < share(23.0, 30.0) / 7.0 < 0.005
    assert 0.05 < share(27.0, 35.0) < 0.1


@pytest.mark.parametrize("inlet", [np.nan, np.inf, -273.0, 127.0])
def test_an_impossible_inlet_is_unknown_and_spoils_no_other_node(inlet):
    two = assumed(np.array([400.0, 400.0]))
    inlets, loads = np.array([inlet, 30.0]), np.full(2, 0.5)
    for found in (two.extra_watts(inlets, loads), two.interval(inlets, loads)[1]):
        assert np.isnan(found).tolist() == [True, False]


def test_many_nodes_are_answered_as_each_alone():
    sizes, inlets, loads = np.linspace(100.0, 900.0, 20), np.linspace(15.0, 50.0, 20), np.linspace(0.0, 1.0, 20)
    alone = [assumed(at(size)).extra_watts(at(i), at(u))[0] for size, i, u in zip(sizes, inlets, loads, strict=True)]
    np.testing.assert_allclose(assumed(sizes).extra_watts(inlets, loads), alone)


def test_a_fit_finds_the_law_of_the_fans_and_both_coefficients():
    found = fit(*samples(), full_rpm=12_000.0, reference_celsius=25.0).thermal
    assert isinstance(found, Thermal)
    assert found.floor_speed[0] == pytest.approx(0.3, abs=0.001)
    assert found.set_point_celsius[0] == pytest.approx(24.0, abs=0.05)
    assert found.full_speed_celsius[0] == pytest.approx(40.0, abs=0.05)
    assert found.load_kelvin[0] == pytest.approx(6.0, abs=0.05)
    assert found.full_fan_watts[0] == pytest.approx(60.0, rel=0.02)
    assert found.leakage_watts_per_kelvin[0] == pytest.approx(0.4, rel=0.05)
    assert found.reference_celsius[0] == 25.0


def test_noisy_samples_are_predicted_from_inlet_and_load_alone_better_than_from_load():
    found = fit(*samples(noise=0.02), full_rpm=12_000.0)
    assert found.mape_pct < 2.2
    assert found.load_only_mape_pct > 1.5 * found.mape_pct
    assert found.speed_error < 0.01


def test_nine_of_ten_later_readings_lie_in_the_interval():
    fitted = fit(*samples(noise=0.02), full_rpm=12_000.0, reference_celsius=25.0).thermal
    inlet, load, _, watts = samples(noise=0.02, seed=99)
    nodes = Thermal(*(np.repeat(getattr(fitted, name), len(inlet)) for name in Thermal.__slots__))
    at_reference = curve(load) + 60.0 * np.clip(0.3 + 0.7 * (1.0 + 6.0 * load) / 16.0, 0.3, 1.0) ** 3 + 0.4 * 25.0
    low, high = nodes.interval(inlet, load)
    inside = (at_reference + low <= watts) & (watts <= at_reference + high)
    assert inside.mean() > 0.85


def test_a_server_without_fan_watts_gets_none_rather_than_fewer_than_none():
    found = fit(*samples(fan_watts=0.0, leakage=0.0, noise=0.01), full_rpm=12_000.0).thermal
    assert 0.0 <= found.full_fan_watts[0] < 10.0
    assert 0.0 <= found.leakage_watts_per_kelvin[0] < 0.5


def test_some_wrong_readings_do_not_bend_the_fit():
    inlet, load, rpm, watts = samples()
    watts[::40] *= 5.0
    found = fit(inlet, load, rpm, watts, full_rpm=12_000.0).thermal
    assert found.full_fan_watts[0] == pytest.approx(60.0, rel=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, u, r, w: (i[:20], u[:20], r[:20], w[:20]), "at least 50"),
        (lambda i, u, r, w: (i, u[:-1], r, w), "as many"),
        (lambda i, u, r, w: (i, u * 100.0, r, w), "0..1"),
        (lambda i, u, r, w: (i * 9.0 / 5.0 + 32.0, u, r, w), "Celsius"),
        (lambda i, u, r, w: (i, u, r * 2.0, w), "full speed"),
        (lambda i, u, r, w: (i, u, r, -w), "above zero"),
        (lambda i, u, r, w: (i, u, r * np.nan, w), "finite"),
        (lambda i, u, r, w: (i, u, np.full_like(r, 4000.0), w), "hardly changes"),
        (lambda i, u, r, w: (np.full_like(i, 30.0), u, r, w), "inlet temperature hardly changes"),
        (lambda i, u, r, w: (60.0 - i, u, r, w), "does not rise"),
    ],
)
def test_samples_that_carry_no_law_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        fit(*change(*samples()), full_rpm=12_000.0)
