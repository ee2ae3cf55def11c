import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.model import FORMULAS, INTERPOLATED, LevelError, check_points, decode, encode, fit_model

LOAD = np.arange(11) / 10.0
WATTS = np.array([52.3, 97, 113, 130, 147, 166, 189, 217, 255, 311, 385.0])
ERRORS = (LevelError(load=0.1, mean_ratio=0.02, p90_ratio=0.05), LevelError(load=0.9, mean_ratio=0.01, p90_ratio=0.02))
EVERY = (*FORMULAS, *INTERPOLATED)
RATIO = st.floats(0, 10)


def model(family="akima", **changes):
    one = fit_model(family, LOAD, WATTS, source="test bench", date="2026-11-23", errors=ERRORS, server_id="srv-1")
    return msgspec.structs.replace(one, **changes)


def wire(**changes):
    value = msgspec.json.decode(encode(model()))
    return msgspec.json.encode({**value, **changes})


@pytest.mark.parametrize("family", EVERY)
def test_models_round_trip_exactly(family):
    one = model(family)
    again = decode(encode(one))
    assert again == one
    assert encode(again) == encode(one)
    assert again.watts(0.37) == one.watts(0.37)


@given(st.lists(st.floats(1e-3, 1e4), min_size=3, max_size=12), st.tuples(RATIO, RATIO), st.text(), st.booleans())
def test_any_readings_round_trip_to_the_last_digit(steps, ratios, source, estimated):
    watts = np.cumsum(steps)
    error = LevelError(load=0.5, mean_ratio=ratios[0], p90_ratio=ratios[1])
    one = fit_model("pchip", np.linspace(0, 1, len(watts)), watts, source=source, date="2026-01-01", errors=[error])
    one = msgspec.structs.replace(one, estimated=estimated)
    assert decode(encode(one)) == one


@pytest.mark.parametrize("family", EVERY)
def test_a_model_is_small(family):
    assert len(encode(model(family))) < 900


@pytest.mark.parametrize("family", INTERPOLATED)
def test_interpolated_families_reproduce_what_was_measured(family):
    one = model(family)
    assert [one.watts(load) for load in LOAD] == pytest.approx(list(WATTS))
    assert (one.idle_watts, one.max_watts) == pytest.approx((52.3, 385.0))


def test_the_interval_is_the_hold_out_error_around_the_watts():
    low, high = model().interval(0.5)
    watts = model().watts(0.5)
    assert (low, high) == pytest.approx((watts * (1 - 0.035), watts * (1 + 0.035)))


def test_no_hold_out_error_means_no_interval_rather_than_none_at_all():
    assert np.isnan(model(error_by_level=()).interval(0.5)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "power.sparsam.dev/server-model/v2"}, "unknown schema"),
        ({"schema": None}, "unknown schema"),
        ({"family": "oracle"}, "unknown family"),
        ({"family": "linear"}, "coefficients of linear are idle_watts, range_watts"),
        ({"units": {"load": "percent", "power": "watt"}}, "units"),
        ({"coefficients": {"load": [0, 0.5, 1], "watts": [50, 90, 40]}}, "power falls with load"),
        ({"coefficients": {"load": [0, 50, 100], "watts": [50, 90, 140]}}, "not per cent"),
        ({"coefficients": {"load": [0, 0.5, 1], "watts": [50, 90]}}, "points"),
        ({"coefficients": {"load": [0, 0.5, 1], "watts": [50, "x", 90]}}, "not a server model"),
        ({"errorByLevel": [{"load": 0.5, "meanRatio": -1, "p90Ratio": 0}]}, "impossible error"),
        ({"somethingElse": 1}, "not a server model"),
    ],
)
def test_what_does_not_hold_up_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        decode(wire(**changes))


@pytest.mark.parametrize(
    "coefficients",
    [
        {"k0_watts": 100.0, "k1_watts": -20.0, "k2": 1.0},
        {"k0_watts": -100.0, "k1_watts": 20.0, "k2": 1.0},
        {"k0_watts": 100.0, "k1_watts": 20.0, "k2": 2000.0},
        {"k0_watts": [1.0, 2.0], "k1_watts": 20.0, "k2": 2.0},
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_coefficients_that_give_impossible_watts_are_refused(coefficients):
    with pytest.raises(ValueError, match="exponential"):
        decode(wire(family="exponential", coefficients=coefficients))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_bytes_that_are_no_model_are_refused(raw):
    with pytest.raises(ValueError, match=r"not JSON|unknown schema"):
        decode(raw)


@pytest.mark.parametrize(
    ("load", "watts", "message"),
    [
        ([0, 1], [50, 90], "at least 3"),
        ([0, 0.5, 0.5], [50, 90, 91], "without repeats"),
        ([0.1, 0.5, 1], [50, 90, 91], "start at 0"),
        ([0, 0.5, 1], [0, 90, 91], "above zero"),
        ([0, 0.5, 1], [50, np.nan, 91], "finite"),
        ([0, 0.5, 1], [50, 90, 80], "power falls with load: 90 W at 50% load, 80 W at 100% load"),
    ],
)
def test_points_that_carry_no_curve_are_refused_with_the_reason(load, watts, message):
    with pytest.raises(ValueError, match=message):
        check_points(np.array(load, dtype=float), np.array(watts, dtype=float))
