import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.power.learned import begin, decide, decode, encode, resume, states
from sparsam.power.model import LevelError, fit_model
from sparsam.power.online import Refusal, Trust, observe

LOAD = np.arange(11) / 10.0


def model(idle=100.0, full=300.0, *, family="akima", error=0.03, **changes):
    errors = [LevelError(load=0.5, mean_ratio=error / 2.0, p90_ratio=error)]
    watts = idle + (full - idle) * LOAD**0.7
    return msgspec.structs.replace(fit_model(family, LOAD, watts, source="", date="", errors=errors), **changes)


def follow(shapes, learner, watts_of, *, samples, seed=1):
    chance = np.random.default_rng(seed)
    for _ in range(samples):
        load = chance.random(len(learner.max_watts))
        learner, _ = observe(learner, shapes.terms(load), watts_of(load) * (1.0 + 0.01 * chance.standard_normal()))
    return learner


def full_state(**changes):
    shapes, learner = begin([model()])
    state = states(follow(shapes, learner, lambda load: 110.0 + 200.0 * load, samples=20))[0]
    assert state is not None
    return msgspec.structs.replace(state, **changes)


@pytest.mark.parametrize("family", ["linear", "power_law", "idle_exponential", "pchip", "akima"])
def test_before_any_reading_a_learner_predicts_what_the_model_does(family):
    one = model(family=family)
    shapes, learner = begin([one] * 11)
    np.testing.assert_allclose(learner.watts(shapes.terms(LOAD)), [one.watts(load) for load in LOAD], rtol=1e-9)


def test_a_server_that_gained_a_constant_draw_and_a_steeper_slope_is_followed():
    one = model()
    shapes, learner = begin([one])
    learner = follow(
        shapes, learner, lambda load: 40.0 + 1.2 * np.array([one.watts(each) for each in load]), samples=500
    )
    for load in (0.0, 0.5, 1.0):
        found = learner.watts(shapes.terms(np.array([load])))[0]
        assert found == pytest.approx(40.0 + 1.2 * one.watts(load), rel=0.03)


def test_nodes_without_a_model_or_without_a_calibration_are_unknown():
    _, learner = begin([model(), None, model(estimated=True), model(error_by_level=())])
    assert learner.trust().tolist() == [Trust.OK, Trust.UNKNOWN, Trust.UNKNOWN, Trust.UNKNOWN]


def test_a_node_without_a_model_never_looks_better_than_one_with_a_model():
    shapes, learner = begin([model(), None, model(idle=40.0, full=700.0)])
    assumed = decide(shapes, learner, np.array([0.2, 0.0, 0.9]), np.full(3, 0.1))
    assert assumed.marginal_watts[1] > assumed.marginal_watts[[0, 2]].max()
    assert assumed.watts[1] > 700.0
    assert np.isfinite(assumed.watts).all()


def test_a_fleet_of_which_nothing_is_known_still_gets_finite_watts():
    shapes, learner = begin([None, None])
    assumed = decide(shapes, learner, np.array([0.5, np.nan]), np.full(2, 0.1))
    assert (assumed.watts > 0.0).all()
    assert (assumed.marginal_watts > 0.0).all()
    assert np.isfinite(assumed.marginal_watts).all()


def test_load_beyond_a_full_node_costs_nothing_more_to_decide_and_is_not_learned():
    shapes, learner = begin([model()])
    assert decide(shapes, learner, np.array([1.0]), np.array([0.5])).marginal_watts[0] == 0.0
    _, refusals = observe(learner, shapes.terms(np.array([42.0])), np.array([200.0]))
    assert refusals.tolist() == [Refusal.IMPOSSIBLE_LOAD]


def test_a_flat_model_has_no_shape_and_can_still_be_learned():
    shapes, learner = begin([model(family="linear", coefficients={"idle_watts": 90.0, "range_watts": 0.0})])
    assert shapes.terms(np.array([0.5])).tolist() == [[1.0, 0.0, 0.5]]
    learner = follow(shapes, learner, lambda load: 90.0 + 20.0 * load, samples=500)
    assert learner.watts(shapes.terms(np.array([1.0])))[0] == pytest.approx(110.0, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_what_was_learned_goes_through_json_exactly_and_goes_on(seed, samples):
    chance = np.random.default_rng(seed)
    models = [model(), None, model(idle=50.0, estimated=True), model(family="power_law")]
    shapes, learner = begin(models)
    for _ in range(samples):
        watts = chance.choice([np.nan, -3.0, 1e12, 20.0, 150.0, 290.0], 4)
        learner, _ = observe(learner, shapes.terms(chance.random(4)), watts)
    kept = states(learner)
    assert [state is None for state in kept] == [False, True, False, False]
    read = [None if state is None else decode(encode(state)) for state in kept]
    assert read == kept
    resumed = resume(begin(models)[1], read)
    sound = [0, 2, 3]
    for name in learner.__slots__:
        assert np.array_equal(getattr(resumed, name)[sound], getattr(learner, name)[sound], equal_nan=True), name
    assert resumed.trust()[sound].tolist() == learner.trust()[sound].tolist()


def test_what_was_learned_from_another_calibration_is_dropped():
    kept = [full_state()]
    assert resume(begin([model()])[1], kept).learned[0] == 20.0
    for other in (model(full=301.0), model(error=0.05), None):
        assert resume(begin([other])[1], kept).learned[0] == 0.0
    assert resume(begin([model()])[1], [None]).learned[0] == 0.0


def test_states_must_be_as_many_as_nodes():
    with pytest.raises(ValueError, match="1 states for 2 nodes"):
        resume(begin([model(), model()])[1], [None])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "power.sparsam.dev/learned/v9"}, "unknown schema"),
        ({"coefficients": (1.0, 2.0)}, "3 coefficients"),
        ({"covariance": ((1.0, 0.0), (0.0, 1.0))}, "3 coefficients"),
        ({"coefficients": (-1.0, 0.0, 0.0)}, "between 0 and"),
        ({"coefficients": (1e9, 0.0, 0.0)}, "between 0 and"),
        ({"max_watts": 0.0}, "between 0 and"),
        ({"mean_square": -0.1}, "not be negative"),
        ({"error_ratio": -0.1}, "not be negative"),
        ({"covariance": ((9e9, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "trace"),
        ({"covariance": ((1.0, 0.5, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "symmetric"),
        ({"covariance": ((0.1, 1.0, 0.0), (1.0, 0.1, 0.0), (0.0, 0.0, 1.0))}, "must not be negative"),
        ({"mean_square": float("nan")}, "not a learned state"),
    ],
)
def test_states_that_no_learner_can_reach_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        decode(encode(full_state(**change)))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"schema":1}', b"\xff"])
def test_what_is_no_state_is_refused(raw):
    with pytest.raises(ValueError, match="not a learned state"):
        decode(raw)
