import math

import msgspec
import pytest

from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.metering.trust import ModelTrust
from sparsam.power.model import LevelError, ServerModel
from sparsam.power.online import STALE_SAMPLES, Trust

MODEL = ServerModel(
    family="linear",
    coefficients={"idle_watts": 100.0, "range_watts": 100.0},
    load_range=(0.0, 1.0),
    error_by_level=tuple(LevelError(load=load, mean_ratio=0.01, p90_ratio=0.02) for load in (0.0, 0.5, 1.0)),
    source="calibrated here",
    date="2026-01-01",
)


def read(watts, domain=Domain.WALL, provenance=Provenance.MEASURED):
    return Reading(0.0, watts, domain, "bmc", 0.02, provenance)


def silent():
    return Gap(0.0, Fault.TIMEOUT, "no answer", "bmc")


def taught(trust, factor, readings=60):
    """The state after readings that are `factor` times what the model says."""
    state = None
    for number in range(readings):
        load = (number % 11) / 10.0
        state = trust.observe(MODEL, load, read(factor * (100.0 + 100.0 * load)))
    return state


def test_a_model_that_its_meter_confirms_is_trusted():
    state = taught(ModelTrust(None), 1.0)
    assert (state.trust, state.readings) == (Trust.OK, 60)
    assert state.watts == pytest.approx(MODEL.watts(0.4), rel=1e-3)


def test_a_server_that_has_changed_is_told_and_followed(caplog):
    trust = ModelTrust(None)
    state = taught(trust, 1.2)
    assert state.trust is Trust.DRIFTING
    assert state.watts == pytest.approx(1.2 * MODEL.watts(0.4), rel=0.02)
    assert caplog.text.count("trust=drifting") == 1


def test_a_server_that_no_model_predicts_is_out_of_tolerance():
    trust, state = ModelTrust(None), None
    for number in range(100):
        state = trust.observe(MODEL, 0.5, read(150.0 * (1.4 if number % 2 else 0.6)))
    assert state.trust is Trust.OUT_OF_TOLERANCE


@pytest.mark.parametrize(
    "reading", [read(500.0, Domain.PACKAGE), read(500.0, provenance=Provenance.ESTIMATED), silent()]
)
def test_what_is_no_measurement_of_the_node_teaches_nothing(reading):
    trust = ModelTrust(None)
    for _ in range(50):
        state = trust.observe(MODEL, 0.5, reading)
    assert (state.trust, state.readings, state.watts) == (Trust.OK, 0, 150.0)


def test_a_meter_that_went_silent_leaves_its_node_unknown():
    trust = ModelTrust(None)
    taught(trust, 1.0)
    for _ in range(STALE_SAMPLES):
        state = trust.observe(MODEL, 0.5, silent())
    assert state.trust is Trust.UNKNOWN
    assert trust.observe(MODEL, 0.5, read(150.0)).trust is Trust.OK


def test_what_was_learned_predicts_when_the_meter_is_silent():
    trust = ModelTrust(None)
    assert trust.predict(MODEL, 0.5) == pytest.approx((150.0, 0.02))
    taught(trust, 1.2)
    watts, ratio = trust.predict(MODEL, 0.5)
    assert watts == pytest.approx(180.0, rel=0.02)
    assert 0.02 <= ratio < 0.2


async def test_what_was_learned_outlives_the_process_but_not_its_calibration(tmp_path):
    path = tmp_path / "learned.json"
    first = ModelTrust(path)
    before = taught(first, 1.2)
    await first.save(now=True)
    again = ModelTrust(path).observe(MODEL, 0.4, silent())
    assert again.learned.coefficients == before.learned.coefficients
    other = msgspec.structs.replace(MODEL, coefficients={"idle_watts": 90.0, "range_watts": 100.0})
    assert ModelTrust(path).observe(other, 0.4, silent()).readings == 0


async def test_a_broken_file_costs_what_was_learned_and_no_more(tmp_path, caplog):
    path = tmp_path / "learned.json"
    path.write_text("{")
    trust = ModelTrust(path)
    assert "begins anew" in caplog.text
    assert trust.observe(MODEL, 0.5, read(150.0)).readings == 1


async def test_a_load_that_nobody_knows_teaches_nothing():
    trust = ModelTrust(None)
    state = trust.observe(MODEL, None, read(150.0))
    assert (state.readings, math.isnan(state.watts)) == (0, False)
