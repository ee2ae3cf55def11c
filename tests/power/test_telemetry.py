import numpy as np
import pytest

from sparsam.power.calibration import Peers
from sparsam.power.catalogue import population_for
from sparsam.power.description import Description
from sparsam.power.model import decode, encode
from sparsam.power.streaming import LoadStatistics
from sparsam.power.telemetry import fit_telemetry
from tests.power.test_streaming import telemetry

WHEN = {"source": "a test", "date": "2026-11-23"}


def test_the_family_is_chosen_by_stretches_that_it_has_not_seen():
    found = fit_telemetry(LoadStatistics.of(*telemetry()), **WHEN)
    scores = {score.family: score.rms_pct for score in found.scores}
    assert [score.family for score in found.scores if score.chosen] == [found.model.family]
    assert scores[found.model.family] == min(scores.values())
    assert scores["linear"] > 1.5 * scores[found.model.family]
    assert found.model.watts(0.5) == pytest.approx(148.75, rel=0.01)
    assert decode(encode(found.model)) == found.model


def test_the_error_of_the_model_is_that_of_the_samples():
    found = fit_telemetry(LoadStatistics.of(*telemetry(noise=10.0)), **WHEN)
    [half] = [level for level in found.model.error_by_level if level.load == 0.5]
    assert half.p90_ratio == pytest.approx(1.645 * 10.0 / 148.75, rel=0.15)


def test_servers_like_it_say_how_the_curve_goes_on_where_the_telemetry_ends():
    description = Description(cpu_name="AMD EPYC 7742", chips=1, cores=64, threads=128, memory_gb=256)
    peers = Peers(population_for(description), description)
    found = fit_telemetry(LoadStatistics.of(*telemetry(high=0.6)), peers=peers, **WHEN)
    assert found.model.estimated
    assert "above" in found.model.source
    assert found.model.watts(1.0) > found.model.watts(0.6) * 1.1


def test_without_such_servers_it_goes_no_further_than_it_was_seen():
    found = fit_telemetry(LoadStatistics.of(*telemetry(high=0.6)), **WHEN)
    assert found.model.load_range[1] == pytest.approx(0.6, abs=0.03)


def test_samples_of_one_moment_are_refused():
    _, load, watts = telemetry()
    with pytest.raises(ValueError, match="one short stretch"):
        fit_telemetry(LoadStatistics.of(np.zeros(len(load)), load, watts), **WHEN)
