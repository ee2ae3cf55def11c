import math

import msgspec
import numpy as np
import pytest

from sparsam.power.learned import begin, encode, states
from sparsam.power.model import encode as encode_model
from sparsam.power.nodemodel import linear_model
from sparsam.power.server import MODEL_ANNOTATION, ServerPower
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.powercolumns import UNTRUSTED_RATIO, PowerColumns

MEASURED = linear_model(ServerPower(80.0, 180.0, False, "a test bench"))
EVERY = slice(None)


def columns(annotations=None, status=None):
    made = PowerColumns()
    made.grow(1)
    made.set_node(
        0, "n", {MODEL_ANNOTATION: encode_model(MEASURED).decode()} if annotations is None else annotations, 8000.0
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
    assert made.facts.errors[0] > 0.1


@pytest.mark.parametrize(
    "state", [{"trust": "out_of_tolerance", "readings": 9}, {"trust": "unknown", "readings": 9}, {"trust": "ok"}]
)
def test_a_node_whose_meter_disowns_its_model_is_not_to_be_trusted(state):
    made = columns(status={"model": state})
    assert made.facts.doubt_ratio[0] == (UNTRUSTED_RATIO if state["trust"] != "ok" else 1.0)
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
    assert made.facts.load[0] == 0.0


def test_an_observation_counts_beside_the_pods_that_it_cannot_have_seen():
    made = columns()
    made.count(0, 1000.0, +1)
    assert made.facts.load[0] == 1.0 / 8.0
    made.set_state("n", {"utilization": 0.25})
    assert made.facts.load[0] == 3.0 / 8.0
    made.set_state("n", {"utilization": 0.25})
    assert made.facts.load[0] == 2.0 / 8.0
    made.count(0, 500.0, +1)
    assert made.facts.load[0] == 2.5 / 8.0
    made.set_state("n", {"utilization": 0.25})
    assert made.facts.load[0] == 2.5 / 8.0
    made.set_state("n", {"utilization": 0.25})
    assert made.facts.load[0] == 2.0 / 8.0
    made.count(0, 1000.0, -1)
    assert made.facts.load[0] == 1.0 / 8.0


@pytest.mark.parametrize("celsius", [None, 24.0, 38.0])
def test_one_row_is_told_what_all_are_told(celsius):
    made = columns(status={"utilization": 0.5, "cpuPressure": 0.1, "state": "Asleep"})
    if celsius is not None:
        assert made.observe_inlets(np.array([0]), np.array([celsius])).tolist() == [0]
        assert made.observe_inlets(np.array([0]), np.array([celsius + 0.2])).tolist() == []
    for before, after in ((0.0, 0.3), (0.25, 0.25), (0.7, 1.0), (0.9, 1.6)):
        found = made.rises_at(EVERY, np.array([before]), np.array([after]))
        assert made.rise_at(0, before, after) == tuple(float(each[0]) for each in found)
    assert made.seen(0).facts == tuple(float(each[0]) for each in made.facts_of(np.array([0])))


def test_warm_air_makes_load_dearer():
    plain, warm = columns(), columns(status={"inletCelsius": 38.0})
    assert warm.rise_at(0, 0.2, 0.9)[0] > plain.rise_at(0, 0.2, 0.9)[0]
