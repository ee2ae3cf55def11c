from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import SparsamPolicy, Weights
from sparsam.simulation.failures import Failures, draw
from sparsam.simulation.world import Rules, World
from tests.simulation.test_world import servers, trace

OFTEN = Failures(mtbf_hours=0.5, mttr_hours=0.2, detect_seconds=100.0)


def test_the_same_seed_gives_the_same_failures_whatever_else_there_is():
    few, many = draw(OFTEN, 2, 7200.0), draw(OFTEN, 5, 7200.0)
    assert few == [each for each in many if each[1] < 2]
    assert draw(Failures(0.5, 0.2, seed=1), 2, 7200.0) != few


def test_failures_come_as_often_as_stated_and_never_during_repair():
    found = draw(Failures(mtbf_hours=10.0, mttr_hours=2.0), 200, 3600.0 * 600)
    assert len(found) == pytest.approx(200 * 600 / 12.0, rel=0.05)
    for node in range(5):
        own = [(at, until) for at, which, until in found if which == node]
        assert all(until < at for (_, until), (at, _) in pairwise(own))


class One(World):
    """A world in which one server fails once."""

    def __init__(self, *arguments, fails):
        super().__init__(*arguments)
        self._failures = [fails]


def test_batch_work_begins_anew_and_a_service_goes_on():
    rules = Rules(failures=Failures(1.0, detect_seconds=100.0))
    batch = One(servers(1), trace((0, 400, "2", {"batch": True})), KubeDefault(), rules, fails=(300.0, 0, 350.0)).run()
    assert batch.ended_seconds[0] == pytest.approx(800.0)
    assert (batch.core_seconds[0], batch.lost_core_seconds) == pytest.approx((800.0, 600.0))
    assert (batch.failures, batch.restarts) == (1, 1)
    service = One(servers(1), trace((0, 400, "2")), KubeDefault(), rules, fails=(300.0, 0, 350.0)).run()
    assert service.ended_seconds[0] == pytest.approx(500.0)
    assert (service.core_seconds[0], service.lost_core_seconds) == pytest.approx((800.0, 0.0))


def test_a_server_that_failed_draws_nothing_and_takes_nobody_until_it_is_repaired():
    rules = Rules(failures=Failures(1.0))
    history = One(
        servers(1), trace((350, 100, "2"), horizon=1000.0), KubeDefault(), rules, fails=(300.0, 0, 600.0)
    ).run()
    assert history.started_seconds[0] == pytest.approx(600.0)
    assert history.parts.idle == pytest.approx(100.0 * 700.0)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 50), st.booleans())
def test_no_pod_is_lost_and_work_that_counts_is_whole(seed, sleeps):
    chance = np.random.default_rng(seed)
    pods = [
        (int(at), 300, "1", {"batch": bool(number % 2)})
        for number, at in enumerate(np.sort(chance.integers(0, 3000, 20)))
    ]
    rules = Rules(sleeps=sleeps, moves=sleeps, failures=Failures(0.3, 0.1, detect_seconds=60.0, seed=seed))
    arrivals = trace(*pods, horizon=40_000.0)
    history = World(servers(4), arrivals, SparsamPolicy(Weights(sleeps=sleeps)), rules).run()
    # Failures go on for ever, so a pod may be unlucky many times, but not for ten hours.
    assert not np.isnan(history.ended_seconds).any()
    assert history.core_seconds == pytest.approx(np.full(20, 300.0))
    assert history.parts.total == pytest.approx(history.joules.sum())
