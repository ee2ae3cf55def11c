import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.hollow.node import HollowNode, Running, State
from tests.support.scheduling import node, watts


def made(now=0.0, **annotations):
    built = node("n", cpu="4", annotations={**watts(100, 200), **annotations})
    built["status"]["capacity"] = built["status"]["allocatable"]
    return HollowNode(built, now)


def test_it_draws_what_its_model_says_of_the_pods_on_it():
    hollow = made()
    assert hollow.watts == 100.0
    hollow.run("a", Running("default", "a", 1000.0), 10.0)
    hollow.run("b", Running("default", "b", 1000.0), 10.0)
    assert (hollow.utilization, hollow.watts) == (0.5, 150.0)
    assert hollow.pod_watts() == {"a": 25.0, "b": 25.0}
    hollow.stop("a", 20.0)
    assert hollow.watts == 125.0
    assert hollow.joules(30.0) == pytest.approx(10 * 100 + 10 * 150 + 10 * 125)


def test_more_work_than_it_has_cpus_draws_no_more_than_full_load():
    hollow = made()
    hollow.run("a", Running("default", "a", 9000.0), 0.0)
    assert (hollow.utilization, hollow.watts) == (1.0, 200.0)


def test_it_falls_asleep_and_wakes_in_its_own_time():
    hollow = made()
    hollow.command("asleep", 0.0)
    assert (hollow.state, hollow.watts) == (State.FALLING_ASLEEP, 100.0)
    assert not hollow.advance(4.9)
    assert hollow.advance(5.0)
    assert (hollow.state, hollow.watts) == (State.ASLEEP, 12.0)
    hollow.command("awake", 100.0)
    assert (hollow.state, hollow.watts) == (State.WAKING, 160.0)
    assert hollow.changes_at == 115.0
    hollow.advance(115.0)
    assert (hollow.state, hollow.watts) == (State.AWAKE, 100.0)
    assert hollow.joules(115.0) == pytest.approx(5 * 100 + 95 * 12 + 15 * 160)


def test_a_wish_that_changes_on_the_way_down_is_met_after_it():
    hollow = made()
    hollow.command("asleep", 0.0)
    hollow.command(None, 1.0)
    assert hollow.state is State.FALLING_ASLEEP
    hollow.advance(5.0)
    assert hollow.state is State.WAKING


def test_off_takes_longer_to_wake_than_suspended():
    hollow = made(**{"power.sparsam.dev/sleep-state": "off"})
    hollow.command("asleep", 0.0)
    hollow.advance(30.0)
    assert (hollow.state, hollow.watts) == (State.ASLEEP, 8.0)


def test_a_failed_server_draws_nothing_and_must_come_up_again():
    hollow = made()
    hollow.run("a", Running("default", "a", 4000.0), 0.0)
    hollow.command("failed", 10.0)
    assert (hollow.state, hollow.watts, hollow.utilization) == (State.FAILED, 0.0, 0.0)
    hollow.command("awake", 20.0)
    assert hollow.state is State.WAKING
    hollow.advance(35.0)
    assert hollow.watts == 200.0


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(1.0, 3000.0)), max_size=30))
def test_watts_are_those_of_the_pods_that_are_left(events):
    hollow, left = made(), {}
    for moment, (uid, starts, millicores) in enumerate(events):
        if starts:
            hollow.run(str(uid), Running("d", "p", millicores), float(moment))
            left[str(uid)] = millicores
        else:
            hollow.stop(str(uid), float(moment))
            left.pop(str(uid), None)
    assert hollow.watts == pytest.approx(100.0 + 100.0 * min(sum(left.values()) / 4000.0, 1.0))
    assert sum(hollow.pod_watts().values()) == pytest.approx(hollow.watts - 100.0)
    if not left:
        assert hollow.watts == 100.0
