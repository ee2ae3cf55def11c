import math

import msgspec
import numpy as np
import pytest

from sparsam.power.learned import begin, encode, states
from sparsam.power.model import encode as encode_model
from sparsam.power.nodemodel import linear_model
from sparsam.power.server import MODEL_ANNOTATION, ServerPower
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.powercolumns import PowerColumns

MEASURED = linear_model(ServerPower(80.0, 180.0, False, "a test bench"))
EVERY = slice(None)


def columns(annotations=None, status=None):
    made = PowerColumns()
    made.grow(1)
    made.set_node(
        0, "n", {MODEL_ANNOTATION: encode_model(MEASURED).decode()} if annotations is None else annotations, 8
    )
    if status is not None:
        made.set_state("n", status)
    return made


def ends(made):
    return *made.level_watts(slice(0, 1), 0), *made.level_watts(slice(0, 1), STEPS)


def test_watts_follow_the_model_between_the_steps():
    made = columns()
    for load in (0.0, 0.113, 0.5, 0.999, 1.0):
        assert made.watts_at(EVERY, np.array([load]))[0] == pytest.approx(MEASURED.watts(load), rel=1e-9)
    assert made.watts_at(EVERY, np.array([1.7]))[0] == MEASURED.max_watts


def test_a_node_without_annotations_has_the_prior_and_says_so():
    made = columns({})
    assert made.estimated[0]
    assert made.errors[0] > 0.1


@pytest.mark.parametrize(
    "state", [{"trust": "out_of_tolerance", "readings": 9}, {"trust": "unknown", "readings": 9}, {"trust": "ok"}]
)
def test_a_node_whose_meter_disowns_its_model_is_not_to_be_trusted(state):
    made = columns(status={"model": state})
    assert made.untrusted[0] == (state["trust"] != "ok")
    assert ends(made) == (80.0, 180.0)


def test_what_was_learned_replaces_the_calibration_until_it_is_forgotten():
    _, learner = begin([MEASURED])
    learned = msgspec.structs.replace(states(learner)[0], coefficients=(90.0, 110.0, 20.0))
    made = columns(status={"model": {"trust": "drifting", "learned": encode(learned).decode()}})
    assert ends(made) == (90.0, 220.0)
    made.set_state("n", None)
    assert ends(made) == (80.0, 180.0)


@pytest.mark.parametrize("utilization", [None, "much", math.nan])
def test_a_utilization_that_is_none_is_unknown(utilization):
    made = columns(status={"utilization": utilization})
    assert math.isnan(made.observed_load[0])
    assert made.unexplained_millicores[0] == 0.0


def test_an_observation_counts_beside_the_pods_that_it_cannot_have_seen():
    made = columns()
    made.count(0, 1000.0, +1)
    made.set_state("n", {"utilization": 0.25})
    assert made.unexplained_millicores[0] == 2000.0
    made.count(0, 500.0, +1)
    made.set_state("n", {"utilization": 0.25})
    assert made.expected_millicores[0] + made.unexplained_millicores[0] == 2500.0
    made.set_state("n", {"utilization": 0.25})
    assert made.expected_millicores[0] + made.unexplained_millicores[0] == 2000.0
