import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.power.online import (
    ALARM,
    CEILING_RATIO,
    CONFIRMING_SAMPLES,
    SPIKES_IN_A_ROW,
    STALE_SAMPLES,
    TRACE_LIMIT,
    Learner,
    Refusal,
    Trust,
    assume,
    observe,
    start,
    terms,
)

NODES = 3


def calibrated(nodes=NODES, *, error=0.03):
    """Nodes of 100 W idle and 300 W at full load, whose curve is a straight line."""
    reference = np.tile([100.0, 200.0, 0.0], (nodes, 1))
    return start(reference, error_ratio=np.full(nodes, error), max_watts=np.full(nodes, 300.0))


def at(load, nodes=NODES):
    loads = np.full(nodes, float(load))
    return terms(loads, loads)


def follow(learner, watts_of, *, samples, seed=1, noise=0.02, loads=None):
    """Readings of all nodes at random loads."""
    chance = np.random.default_rng(seed)
    for _ in range(samples):
        load = chance.random(len(learner.max_watts)) if loads is None else np.full(len(learner.max_watts), loads)
        watts = watts_of(load) * (1.0 + noise * chance.standard_normal(len(load)))
        learner, _ = observe(learner, terms(load, load), watts)
    return learner


def test_a_calibrated_node_is_trusted_and_predicts_its_curve():
    learner = calibrated()
    assert learner.trust().tolist() == [Trust.OK] * NODES
    assert learner.watts(at(0.5)).tolist() == [200.0] * NODES
    assert learner.marginal_watts(at(0.5), at(0.6)) == pytest.approx([20.0] * NODES)
    low, high = learner.interval(at(0.5))
    assert (low < 200.0).all()
    assert (high > 200.0).all()


def test_a_server_that_changed_is_followed_and_reported():
    learner = follow(calibrated(), lambda load: 130.0 + 220.0 * load, samples=600)
    assert learner.watts(at(0.0)) == pytest.approx([130.0] * NODES, rel=0.03)
    assert learner.watts(at(1.0)) == pytest.approx([350.0] * NODES, rel=0.03)
    assert learner.trust().tolist() == [Trust.DRIFTING] * NODES


def test_the_alarm_comes_within_few_readings_and_goes_when_the_server_is_itself_again():
    learner = calibrated()
    readings = 0
    while learner.trust()[0] == Trust.OK:
        learner = follow(learner, lambda load: 1.15 * (100.0 + 200.0 * load), samples=1, seed=readings)
        readings += 1
    assert readings <= 6
    learner = follow(learner, lambda load: 100.0 + 200.0 * load, samples=100)
    assert learner.trust().tolist() == [Trust.OK] * NODES


def test_noise_as_large_as_the_calibration_says_never_alarms():
    learner = calibrated(50)
    for seed in range(8):
        learner = follow(learner, lambda load: 100.0 + 200.0 * load, samples=250, noise=0.03, seed=seed)
        assert (np.maximum(learner.above, learner.below) < ALARM).all()


def test_months_at_one_load_forget_nothing_of_the_others_and_do_not_blow_up():
    learner = follow(calibrated(1), lambda load: 100.0 + 200.0 * load, samples=20_000, loads=0.1)
    assert np.trace(learner.covariance[0]) <= TRACE_LIMIT
    assert np.linalg.eigvalsh(learner.covariance[0]).min() > -1e-9
    assert learner.watts(at(1.0, 1))[0] == pytest.approx(300.0, rel=0.05)


@pytest.mark.parametrize(
    ("watts", "refusal"),
    [
        (np.nan, Refusal.MISSING),
        (np.inf, Refusal.MISSING),
        (-np.inf, Refusal.MISSING),
        (0.0, Refusal.NOT_POSITIVE),
        (-250.0, Refusal.NOT_POSITIVE),
        (1e15, Refusal.TOO_MUCH),
        (1e308, Refusal.TOO_MUCH),
        (800.0, Refusal.SPIKE),
        (20.0, Refusal.SPIKE),
    ],
)
def test_a_reading_that_cannot_be_true_touches_nothing_that_was_learned(watts, refusal):
    before = follow(calibrated(), lambda load: 100.0 + 200.0 * load, samples=50)
    after, refusals = observe(before, at(0.5), np.array([watts, 200.0, watts]))
    assert refusals.tolist() == [refusal, Refusal.NONE, refusal]
    for name in ("coefficients", "covariance", "mean_square", "learned", "above", "below"):
        for node in (0, 2):
            assert np.array_equal(getattr(after, name)[node], getattr(before, name)[node]), name
    assert after.learned[1] == before.learned[1] + 1


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        (np.nan, Refusal.MISSING),
        (np.inf, Refusal.MISSING),
        (-0.1, Refusal.IMPOSSIBLE_LOAD),
        (1.2, Refusal.IMPOSSIBLE_LOAD),
        (57.0, Refusal.IMPOSSIBLE_LOAD),
    ],
)
def test_a_reading_at_a_load_that_is_no_load_is_refused(broken, refusal):
    before = calibrated()
    with np.errstate(invalid="ignore"):
        after, refusals = observe(before, at(broken), np.full(NODES, 200.0))
    assert refusals.tolist() == [refusal] * NODES
    assert np.array_equal(after.coefficients, before.coefficients)


def test_a_load_that_is_no_number_makes_its_node_dear_and_spoils_no_other():
    learner = calibrated()
    load = np.array([np.nan, 0.5, 0.2])
    assumed = assume(learner, terms(load, load), terms(load + 0.1, load + 0.1))
    assert np.isfinite(assumed.watts).all()
    assert assumed.marginal_watts[1:] == pytest.approx([20.0, 20.0])
    assert assumed.marginal_watts[0] > 20.0


def test_a_reading_far_off_is_believed_when_it_stays_and_the_node_flagged():
    learner = calibrated()
    for count in range(1, SPIKES_IN_A_ROW + 1):
        learner, refusals = observe(learner, at(0.0), np.full(NODES, 180.0))
        assert refusals[0] == (Refusal.SPIKE if count < SPIKES_IN_A_ROW else Refusal.NONE)
    assert learner.trust().tolist() == [Trust.OUT_OF_TOLERANCE] * NODES
    learner = follow(learner, lambda load: 180.0 + 200.0 * load, samples=600)
    assert learner.trust().tolist() == [Trust.DRIFTING] * NODES


def test_a_node_whose_meter_fell_silent_is_unknown_until_it_speaks_again():
    learner = follow(calibrated(), lambda load: 100.0 + 200.0 * load, samples=20)
    for _ in range(STALE_SAMPLES):
        learner, _ = observe(learner, at(0.5), np.array([np.nan, 200.0, np.nan]))
    assert learner.trust().tolist() == [Trust.UNKNOWN, Trust.OK, Trust.UNKNOWN]
    learner, _ = observe(learner, at(0.5), np.full(NODES, 200.0))
    assert learner.trust().tolist() == [Trust.OK] * NODES


def test_a_node_nobody_calibrated_is_unknown_until_its_readings_confirm_the_guess():
    learner = calibrated(error=np.nan)
    assert learner.trust().tolist() == [Trust.UNKNOWN] * NODES
    learner = follow(learner, lambda load: 110.0 + 210.0 * load, samples=CONFIRMING_SAMPLES)
    assert learner.trust().tolist() == [Trust.OK] * NODES


def test_a_node_without_a_model_is_unknown_and_learns_nothing():
    learner = start(np.full((1, 3), np.nan), error_ratio=np.array([np.nan]), max_watts=np.array([500.0]))
    learner, refusals = observe(learner, at(0.5, 1), np.array([200.0]))
    assert refusals.tolist() == [Refusal.NO_MODEL]
    assert learner.trust().tolist() == [Trust.UNKNOWN]
    assert np.isnan(learner.watts(at(0.5, 1))[0])


@st.composite
def fleets(draw):
    """Nodes of all kinds: calibrated or not, with and without a model, after readings good and bad."""
    nodes = draw(st.integers(2, 6))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reference = chance.random((nodes, 3)) * 200.0 + 1.0
    reference[chance.random(nodes) < 0.3] = np.nan
    error = np.where(chance.random(nodes) < 0.3, np.nan, chance.random(nodes) * 0.2)
    learner = start(reference, error_ratio=error, max_watts=chance.random(nodes) * 500.0 + 600.0)
    for _ in range(draw(st.integers(0, 60))):
        load = chance.random(nodes)
        watts = chance.choice([np.nan, -1.0, 1e9, 1.0, 50.0, 300.0], nodes)
        learner, _ = observe(learner, terms(load, load), watts)
    return learner, chance.random(nodes) * 0.5


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_what_is_unknown_or_broken_never_looks_better_than_what_is_sound(drawn):
    learner, load = drawn
    assumed = assume(learner, terms(load, load), terms(load + 0.1, load + 0.1))
    trust = learner.trust()
    for values in (assumed.watts, assumed.marginal_watts):
        assert np.isfinite(values).all()
        assert (values >= 0.0).all()
    unknown, doubtful = trust == Trust.UNKNOWN, trust == Trust.OUT_OF_TOLERANCE
    sound = ~unknown & ~doubtful
    if unknown.any() and (~unknown).any():
        assert assumed.marginal_watts[unknown].min() > assumed.marginal_watts[~unknown].max()
        assert (assumed.watts[unknown] == CEILING_RATIO * learner.max_watts[unknown]).all()
    if doubtful.any() and sound.any():
        assert assumed.marginal_watts[doubtful].min() >= assumed.marginal_watts[sound].max()
    assert (assumed.watts[sound] >= learner.watts(terms(load, load))[sound]).all()


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_learned_watts_still_rise_with_load(drawn):
    learner, load = drawn
    modelled = np.isfinite(learner.coefficients).all(axis=1)
    rise = learner.marginal_watts(terms(load, load), terms(load + 0.1, load + 0.1))
    assert (rise[modelled] >= 0.0).all()


def test_many_nodes_at_once_learn_as_one_by_one():
    chance = np.random.default_rng(4)
    together = calibrated(8)
    alone = [together.take(np.array([node])) for node in range(8)]
    for _ in range(50):
        load = chance.random(8)
        watts = np.where(chance.random(8) < 0.1, np.nan, 120.0 + 180.0 * load)
        seen = terms(load, load)
        together, _ = observe(together, seen, watts)
        alone = [observe(one, seen[[node]], watts[[node]])[0] for node, one in enumerate(alone)]
    for name in Learner.__slots__:
        joined = np.concatenate([getattr(one, name) for one in alone])
        assert getattr(together, name) == pytest.approx(joined, rel=1e-12)


def test_impossible_calibrations_are_refused():
    with pytest.raises(ValueError, match="must be as many"):
        start(np.ones((2, 3)), error_ratio=np.ones(3), max_watts=np.ones(2))
    with pytest.raises(ValueError, match="negative"):
        start(-np.ones((2, 3)), error_ratio=np.ones(2), max_watts=np.ones(2))


def test_trust_has_a_label():
    assert [each.label for each in Trust] == ["ok", "drifting", "out_of_tolerance", "unknown"]
