import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.counters import (
    COUNTERS,
    CYCLES,
    INSTRUCTIONS,
    MISSES,
    UTILIZATION,
    cpi,
    cpi_per_watt,
    decode,
    encode,
    fit,
    fit_utilization,
    steady,
)

SAMPLES = 400


@pytest.fixture(scope="module")
def series():
    """Square waves of load whose watts follow cycles and the logarithm of misses."""
    chance = np.random.default_rng(3)
    load = np.repeat(chance.random(SAMPLES // 10), 10)
    columns = {
        UTILIZATION: 0.01 + 0.9 * load,
        CYCLES: 5e10 * load * chance.normal(1, 0.01, SAMPLES) + 1e8,
        INSTRUCTIONS: 4e10 * load + 1e8,
        MISSES: 1e5 + 1e7 * load * np.repeat(chance.random(SAMPLES // 10), 10),
    }
    watts = 170 + 3e-9 * columns[CYCLES] + 6 * np.log1p(columns[MISSES] / 1e5)
    return columns, watts


@pytest.fixture(scope="module")
def fitted(series):
    return fit(*series)


def test_a_load_that_follows_the_form_is_predicted(series):
    columns, watts = series
    error = np.abs(fit(columns, watts).watts(columns) / watts - 1.0)
    assert error.mean() < 0.01


@given(st.sampled_from([CYCLES, INSTRUCTIONS, MISSES]), st.floats(1.0, 3.0), st.integers(0, SAMPLES - 1))
def test_more_of_a_counter_never_predicts_fewer_watts(series, fitted, name, factor, row):
    columns, model = series[0], fitted
    one = {each: values[row : row + 1] for each, values in columns.items()}
    more = {**one, name: one[name] * factor}
    assert model.watts(more)[0] >= model.watts(one)[0] - 1e-9


@given(st.floats(1.0, 3.0), st.integers(0, SAMPLES - 1))
def test_the_same_cycles_in_less_cpu_time_never_predict_fewer_watts_without_misses(series, fitted, factor, row):
    columns, model = series[0], fitted
    one = {each: values[row : row + 1] for each, values in columns.items()} | {MISSES: np.zeros(1)}
    faster = {**one, UTILIZATION: one[UTILIZATION] / factor}
    if faster[UTILIZATION][0] > model.idle_utilization:
        assert model.watts(faster)[0] >= model.watts(one)[0] - 1e-9


def test_nothing_beyond_the_highest_watts_of_the_training_is_predicted(series):
    columns, watts = series
    beyond = {name: values * 100.0 for name, values in columns.items()}
    assert fit(columns, watts).watts(beyond).max() <= watts.max()


def test_steady_stretches_are_averaged_over_earlier_samples_only():
    cycles = np.array([10.0, 10.5, 10.1, 50.0, 51.0])
    smooth = steady({CYCLES: cycles})[CYCLES]
    assert smooth.tolist() == pytest.approx([10.0, 10.25, 10.2, 50.0, 50.5])


def test_cpi_is_cycles_for_each_instruction_and_unknown_without_any():
    columns = {CYCLES: np.array([4.0, 1.0]), INSTRUCTIONS: np.array([2.0, 0.0])}
    assert cpi(columns)[0] == 2.0
    assert np.isnan(cpi(columns)[1])
    assert cpi_per_watt(columns, np.array([100.0, 100.0]))[0] == 0.02


def test_the_baseline_rises_with_utilization(series):
    columns, watts = series
    model = fit_utilization(columns, watts)
    ladder = {UTILIZATION: np.linspace(0.0, 1.0, 50)}
    assert (np.diff(model.watts(ladder)) >= -1e-9).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda columns, watts: (columns, watts[:5]), "at least 20"),
        (lambda columns, watts: ({**columns, CYCLES: columns[CYCLES] * np.nan}, watts), "cycles must be finite"),
        (lambda columns, watts: ({**columns, MISSES: -columns[MISSES]}, watts), "none negative"),
        (lambda columns, watts: (columns, watts * 0.0), "above zero"),
        (lambda columns, watts: (columns, watts * 0.0 + 200.0), "never change"),
    ],
)
def test_samples_that_carry_no_model_are_refused(series, change, words):
    with pytest.raises(ValueError, match=words):
        fit(*change(*series))


@pytest.mark.parametrize("error", [0.05, float("nan")])
def test_a_model_survives_json_exactly(series, error):
    columns, watts = series
    model = fit(columns, watts, error_ratio=error)
    again = decode(encode(model))
    assert again.watts(columns).tolist() == model.watts(columns).tolist()
    assert encode(again) == encode(model)
    assert len(encode(model)) < 4096


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "other/v9"}, "schema 'other/v9'"),
        ({"low": {}}, "ranges must be"),
        ({"coefficients": [1.0]}, "coefficients are needed"),
        ({"missScales": [0.0] * 6}, "above zero"),
        ({"maxWatts": -1.0}, "above zero"),
        ({"maxWatts": "much"}, "Expected `float`"),
        ({"volts": 12}, "unknown field"),
    ],
)
def test_json_that_is_no_model_is_refused(fitted, change, words):
    document = json.loads(encode(fitted)) | change
    with pytest.raises(ValueError, match=words):
        decode(json.dumps(document).encode())


def test_constant_counters_do_no_harm(series):
    columns, watts = series
    dead = {**columns, INSTRUCTIONS: np.zeros(SAMPLES), MISSES: np.zeros(SAMPLES)}
    assert np.isfinite(fit(dead, watts).watts(dead)).all()
    assert set(dead) == set(COUNTERS)
