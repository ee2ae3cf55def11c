import msgspec
import pytest

from sparsam.power.learned import begin, states
from sparsam.power.learned import encode as encode_learned
from sparsam.power.model import encode
from sparsam.power.nodemodel import ends_as_learned, error_ratio, linear_model, node_ends, node_model
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION, ServerPower

MEASURED = linear_model(ServerPower(80.0, 200.0, False, "a test bench"))
PAIR = {IDLE_ANNOTATION: "50", MAX_ANNOTATION: "100"}


def test_a_whole_model_goes_before_two_numbers_and_these_before_the_prior():
    assert node_model({MODEL_ANNOTATION: encode(MEASURED).decode(), **PAIR}, 8) == MEASURED
    assert (node_model(PAIR, 8).idle_watts, node_model(PAIR, 8).max_watts) == (50.0, 100.0)
    assert node_model({}, 8).estimated


def test_a_model_that_does_not_hold_up_is_passed_over_and_said():
    model = node_model({MODEL_ANNOTATION: '{"schema": "v9"}', **PAIR}, 8)
    assert model.idle_watts == 50.0
    assert model.source == (
        "annotated model unusable: unknown schema 'v9'; this version reads "
        "'power.sparsam.dev/server-model/v1'; node annotations"
    )


def test_the_priors_error_is_stated_and_grows_with_load():
    prior = node_model({}, 8)
    assert error_ratio(prior, 0.0) == pytest.approx(0.45)
    assert error_ratio(prior, 1.0) == pytest.approx(0.61)


def test_no_error_is_stated_where_none_was_held_out():
    assert error_ratio(MEASURED, 0.5) is None


def test_the_ends_of_a_model_are_what_a_first_scheduler_needs():
    ends = node_ends({MODEL_ANNOTATION: encode(MEASURED).decode(), **PAIR}, 8)
    assert (ends.idle_watts, ends.max_watts, ends.estimated) == (80.0, 200.0, False)
    assert node_ends({MODEL_ANNOTATION: "{", **PAIR}, 8).idle_watts == 50.0
    assert node_ends({}, 8).estimated


CALIBRATED = ServerPower(80.0, 180.0, False, "a test bench")


@pytest.mark.parametrize("state", [{"trust": "out_of_tolerance", "readings": 9}, {"trust": "unknown", "readings": 9}])
def test_load_costs_more_where_the_model_cannot_be_relied_on(state):
    ends = ends_as_learned(CALIBRATED, state)
    assert (ends.idle_watts, ends.estimated) == (80.0, True)
    assert ends.max_watts == pytest.approx(80.0 + 1.61 * 100.0)
    assert "not to be relied on" in ends.source


@pytest.mark.parametrize("state", [{}, {"trust": "unknown", "readings": 0}, {"trust": "ok", "learned": "{"}])
def test_where_nothing_was_learned_the_calibration_stands(state):
    assert ends_as_learned(CALIBRATED, state) == CALIBRATED


def test_what_was_learned_replaces_the_calibration():
    _, learner = begin([MEASURED])
    learned = msgspec.structs.replace(states(learner)[0], coefficients=(90.0, 110.0, 20.0))
    ends = ends_as_learned(CALIBRATED, {"trust": "drifting", "learned": encode_learned(learned).decode()})
    assert (ends.idle_watts, ends.max_watts) == (90.0, 220.0)
