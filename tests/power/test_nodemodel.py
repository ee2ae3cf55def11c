import pytest

from sparsam.power.model import encode
from sparsam.power.nodemodel import error_ratio, linear_model, node_model
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
