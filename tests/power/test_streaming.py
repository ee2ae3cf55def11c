import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsam.power.model import fit_model
from sparsam.power.streaming import (
    CELLS,
    STRETCHES,
    LoadStatistics,
    error_by_level,
    errors_of,
    held_out_folds,
    levelled,
    steps_of,
)


def telemetry(samples=20_000, *, noise=2.0, low=0.0, high=1.0, seed=1):
    chance = np.random.default_rng(seed)
    load = chance.uniform(low, high, samples)
    load[: samples // 10] = low
    chance.shuffle(load)
    watts = 100.0 + 80.0 * load + 70.0 * load**3 + chance.normal(0.0, noise, samples)
    stretch = np.linspace(0, STRETCHES - 1e-9, samples).astype(int)
    return stretch, load, watts


def same(one, other):
    return all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12)
        for name in ("count", "load", "watts", "square")
    )


@given(st.lists(st.integers(1, 999), max_size=5))
def test_statistics_of_pieces_are_those_of_the_whole(cuts):
    stretch, load, watts = telemetry(1000)
    pieces = list(zip(*(np.split(each, sorted(cuts)) for each in (stretch, load, watts)), strict=True))
    total = LoadStatistics.empty()
    for piece in reversed(pieces):
        total = LoadStatistics.of(*piece).merged(total)
    assert same(total, LoadStatistics.of(stretch, load, watts))


def test_the_steps_follow_the_curve():
    steps = steps_of(LoadStatistics.of(*telemetry()))
    assert steps.load[0] == 0.0
    expected = 100.0 + 80.0 * steps.load + 70.0 * steps.load**3
    assert steps.watts == pytest.approx(expected, rel=0.01)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1000)))
def test_levelling_never_falls_keeps_the_mean_and_leaves_rising_values_alone(values):
    weights = np.ones(len(values))
    level = levelled(values, weights)
    assert (np.diff(level) >= -1e-9).all()
    assert level.mean() == pytest.approx(values.mean())
    assert levelled(np.sort(values), weights) == pytest.approx(np.sort(values))


def test_errors_are_those_of_the_samples():
    stretch, load, watts = telemetry(noise=5.0)
    statistics = LoadStatistics.of(stretch, load, watts)
    steps = steps_of(statistics)
    model = fit_model("piecewise", steps.load, steps.watts, source="", date="")
    held = held_out_folds(statistics)[1]
    errors = errors_of(statistics, model, held)
    inside = held[stretch] > 0.0
    predicted = model.curves().take(np.zeros(int(inside.sum()), dtype=np.intp)).watts(load[inside])
    exact = (watts[inside] - predicted) / predicted
    assert errors.count.sum() == inside.sum()
    assert errors.square.sum() == pytest.approx((exact**2).sum(), rel=0.01)
    assert errors.signed.sum() == pytest.approx(exact.sum(), abs=0.01 * inside.sum())
    assert {round(level.load, 1) for level in error_by_level(errors)} == {each / 10 for each in range(11)}


def test_folds_cover_all_time_that_has_samples_once():
    stretch, load, watts = telemetry()
    early = stretch < 12
    statistics = LoadStatistics.of(stretch[early], load[early], watts[early])
    total = sum(held_out_folds(statistics))
    assert total.tolist() == [1.0] * 12 + [0.0] * 8


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((np.zeros(3), np.zeros(3), np.full(3, 100.0)), "no load level has"),
        ((np.zeros(60), np.full(60, 0.5), np.full(60, 100.0)), "no sample is idle"),
        ((np.zeros(60), np.zeros(60), np.full(60, 100.0)), "needs at least 3"),
        ((np.zeros(60), np.repeat([0.0, 0.3, 0.6], 20), np.repeat([100.0, 300.0, 150.0], 20)), "power falls with load"),
    ],
)
def test_what_carries_no_curve_is_refused(samples, words):
    with pytest.raises(ValueError, match=words):
        steps_of(LoadStatistics.of(*samples))


def test_a_known_idle_stands_in_for_missing_idle_samples():
    statistics = LoadStatistics.of(np.zeros(60), np.repeat([0.2, 0.5, 0.8], 20), np.repeat([150.0, 200.0, 250.0], 20))
    assert steps_of(statistics, idle_watts=110.0).watts.tolist() == [110.0, 150.0, 200.0, 250.0]


def test_the_size_does_not_depend_on_the_samples():
    assert (
        LoadStatistics.of(*telemetry(100)).count.shape
        == LoadStatistics.of(*telemetry()).count.shape
        == (STRETCHES, CELLS)
    )
