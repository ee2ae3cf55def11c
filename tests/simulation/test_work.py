import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.simulation.trace import Trace, UsageSeries
from sparsam.simulation.work import NOBODY, Work
from tests.support.scheduling import pod

SPEED = np.array([1.0, 2.0])


def work(*pods, series=None):
    """Pods as (seconds, batch), each of which requests a core and uses half of it."""
    seconds, batch = zip(*pods, strict=True)
    trace = Trace(
        name="t",
        templates=(pod("p", cpu="1"),),
        template=np.zeros(len(pods), np.int64),
        arrival_seconds=np.zeros(len(pods)),
        duration_seconds=np.array(seconds, dtype=np.float64),
        batch=np.array(batch, dtype=np.bool_),
        usage=np.full(len(pods), 0.5),
        series=np.full(len(pods), -1 if series is None else 0, dtype=np.int64),
        usage_series=None if series is None else UsageSeries(60.0, np.array([series], dtype=np.float32)),
        horizon_seconds=1000.0,
    )
    return Work(trace, np.full(len(pods), 1000.0), SPEED)


def test_batch_is_done_sooner_on_a_faster_core_and_a_service_holds_its_time():
    found = work((100, True), (100, False))
    found.begin(0, 1, 10.0)
    found.begin(1, 1, 10.0)
    assert found.next_end == 60.0
    assert found.ending(59.0) is None
    assert found.ending(60.0) == (60.0, 0)
    assert found.stop(0, 60.0) == 1
    assert found.ending(200.0) == (110.0, 1)
    found.stop(1, 110.0)
    assert found.next_end == math.inf
    # Half a core on cores of speed 1: as much for both, in half the time for the one.
    assert found.core_seconds.tolist() == [50.0, 50.0]
    assert found.node.tolist() == [NOBODY, NOBODY]
    assert found.last.tolist() == [1, 1]


def test_batch_that_is_lost_begins_anew_and_a_service_goes_on():
    found = work((100, True), (100, False))
    for pod_ in (0, 1):
        found.begin(pod_, 0, 0.0)
        found.stop(pod_, 40.0, lost=True)
        found.begin(pod_, 0, 50.0)
    assert found.lost_core_seconds == 20.0
    assert found.ending(1000.0) == (110.0, 1)
    assert found.ending(1000.0) == (150.0, 0)
    assert found.ending(1000.0) is None
    assert found.first.tolist() == [0.0, 0.0]


def test_a_service_that_moves_ends_when_it_would_have():
    found = work((100, False))
    found.begin(0, 0, 0.0)
    found.move(0, 1, 30.0)
    assert found.node[0] == 1
    assert found.ending(100.0) == (100.0, 0)
    found.stop(0, 100.0)
    assert found.core_seconds[0] == 50.0


def test_use_follows_its_series():
    found = work((100, False), (100, True), series=(0.25, 0.75))
    found.begin(0, 0, 0.0)
    found.begin(1, 1, 0.0)
    assert found.follows
    np.testing.assert_allclose(found.follow(0.0, 2), [250.0, 500.0])
    np.testing.assert_allclose(found.follow(60.0, 2), [750.0, 1500.0])
    assert found.used_millicores(0, 0) == pytest.approx(750.0)


@given(st.lists(st.floats(1.0, 50.0), min_size=1, max_size=20))
def test_a_service_does_all_of_its_work_however_often_it_is_interrupted(stretches):
    found, now = work((sum(stretches), False)), 0.0
    for length in stretches[:-1]:
        found.begin(0, 0, now)
        now += length
        found.stop(0, now)
    found.begin(0, 1, now)
    ending = found.ending(math.inf)
    assert ending is not None
    found.stop(0, ending[0])
    assert found.core_seconds[0] == pytest.approx(0.5 * sum(stretches))
    assert ending[0] == pytest.approx(sum(stretches))
