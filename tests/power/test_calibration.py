import numpy as np
import pytest

from sparsam.power.calibration import Peers, calibrate, estimate
from sparsam.power.description import Description
from sparsam.power.model import decode, encode
from sparsam.power.priors import learn
from tests.support.servers import made_up_servers

SERVERS = made_up_servers()


@pytest.fixture(scope="module")
def peers():
    others = SERVERS.take(np.arange(1, 60))
    return Peers(learn(others.descriptions, others.load, others.watts), SERVERS.descriptions[0])


def calibrated(columns, **options):
    return calibrate(SERVERS.load[0, columns], SERVERS.watts[0, columns], source="bench", date="2026-11-23", **options)


EVERY = list(range(11))


def test_all_steps_give_a_model_that_keeps_to_them_with_an_error_for_each_level(peers):
    for model in (calibrated(EVERY), calibrated(EVERY, peers=peers)):
        drawn = [model.watts(load) for load in SERVERS.load[0]]
        np.testing.assert_allclose(drawn, SERVERS.watts[0], rtol=0.03)
        assert [round(one.load, 1) for one in model.error_by_level] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        assert not model.estimated
        assert model.load_range[0] == 0.0
        assert decode(encode(model)) == model


def test_few_steps_lean_on_servers_like_this_one_and_say_so(peers):
    model = calibrated([0, 5, 10], peers=peers)
    assert model.estimated
    assert "3 points measured" in model.source
    assert model.watts(0.2) == pytest.approx(SERVERS.watts[0, 2], rel=0.05)
    np.testing.assert_allclose([model.watts(SERVERS.load[0, one]) for one in (0, 5, 10)], SERVERS.watts[0, [0, 5, 10]])


def test_few_steps_without_peers_are_joined_by_straight_lines_whose_error_is_unknown():
    model = calibrated([0, 5, 10])
    assert model.family == "piecewise"
    assert model.error_by_level == ()


def test_two_points_need_peers(peers):
    assert calibrated([0, 10], peers=peers).estimated
    with pytest.raises(ValueError, match="2 points"):
        calibrated([0, 10])


def test_with_nothing_measured_the_estimate_is_wide_and_labelled(peers):
    model, ends = estimate(peers, date="2026-11-23"), calibrated([0, 10], peers=peers)
    assert model.estimated
    assert "nothing measured" in model.source
    assert model.load_range == (0.0, 0.0)
    low, high = model.interval(0.5)
    narrow_low, narrow_high = ends.interval(0.5)
    assert low < SERVERS.watts[0, 5] < high
    assert high - low > narrow_high - narrow_low


def test_an_estimate_never_contradicts_what_was_measured(peers):
    """Readings far from what is expected pull the levels between them along, and the curve still never falls."""
    load, watts = np.array([0.0, 0.33, 1.0]), np.array([300.0, 301.0, 302.0])
    model = estimate(Peers(peers.population, Description()), date="2026-11-23", load=load, watts=watts)
    drawn = np.array([model.watts(one) for one in np.linspace(0, 1, 41)])
    assert (np.diff(drawn) >= -1e-9).all()
    assert drawn.min() >= 300 - 1e-9
    assert drawn.max() <= 302 + 1e-9
