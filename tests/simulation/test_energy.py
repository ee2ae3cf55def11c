import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.sleep import assumed
from sparsam.scheduling.curvetables import STEPS
from sparsam.simulation.energy import ASLEEP, AWAKE, FAILED, FALLING, WAKING, Energy

NODES = 3
CURVES = np.array(
    [np.linspace(idle, idle + 100.0, STEPS + 1) ** power for idle, power in ((80, 1), (60, 1.1), (50, 1))]
)
SLEEP = assumed("suspended", CURVES[:, 0], CURVES[:, -1])


def made():
    return Energy(CURVES, SLEEP)


def test_constant_load_for_an_hour_is_watts_times_seconds():
    energy = made()
    energy.set_load(0, 0.5, 0.0)
    energy.settle(3600.0)
    assert energy.joules[0] == pytest.approx(130.0 * 3600.0)
    assert energy.joules[2] == pytest.approx(50.0 * 3600.0)
    assert energy.parts().load == pytest.approx(50.0 * 3600.0)


def test_load_beyond_a_full_node_draws_no_more():
    energy = made()
    energy.set_load(0, 1.7, 0.0)
    assert energy.watts[0] == pytest.approx(180.0)


def test_sleep_costs_its_ways_down_and_up_and_little_between():
    energy = made()
    for state, now in ((FALLING, 0.0), (ASLEEP, 5.0), (WAKING, 105.0), (AWAKE, 120.0)):
        energy.set_state(0, state, now)
    energy.settle(130.0)
    assert energy.joules[0] == pytest.approx(5 * 80 + 100 * 12 + 15 * 0.8 * 180 + 10 * 80)
    parts = energy.parts()
    assert (parts.asleep, parts.transitions) == pytest.approx((1200.0, 5 * 80 + 15 * 144))


def test_a_failed_node_draws_nothing():
    energy = made()
    energy.set_state(0, FAILED, 10.0)
    energy.settle(100.0)
    assert energy.joules[0] == pytest.approx(800.0)


def test_heat_counts_while_awake():
    energy = made()
    energy.set_heat(np.full(NODES, 7.0), 0.0)
    energy.set_state(1, FALLING, 10.0)
    energy.settle(20.0)
    assert energy.parts().heat == pytest.approx(7.0 * (20 + 10 + 20))


EVENTS = st.lists(
    st.tuples(
        st.floats(0.0, 100.0),
        st.integers(0, NODES - 1),
        st.one_of(st.tuples(st.just("load"), st.floats(0.0, 1.5)), st.tuples(st.just("state"), st.integers(0, 4))),
    ),
    max_size=40,
)


@given(EVENTS, st.booleans())
def test_joules_are_the_sum_of_their_parts_and_of_a_plain_integral(events, at_once):
    energy, now, expected = made(), 0.0, 0.0
    load, state = [0.0] * NODES, [AWAKE] * NODES

    def watts():
        total = 0.0
        for row in range(NODES):
            total += {
                AWAKE: np.interp(min(load[row], 1.0), np.linspace(0, 1, STEPS + 1), CURVES[row]),
                FALLING: SLEEP.sleep_joules[row] / SLEEP.sleep_seconds[row],
                ASLEEP: SLEEP.asleep_watts[row],
                WAKING: SLEEP.wake_joules[row] / SLEEP.wake_seconds[row],
                FAILED: 0.0,
            }[state[row]]
        return total

    for seconds, row, (what, value) in events:
        expected += watts() * seconds
        now += seconds
        if what == "state":
            state[row] = value
            energy.set_state(row, value, now)
        else:
            load[row] = value
            if at_once:
                energy.set_loads(np.array(load), now)
            else:
                energy.set_load(row, value, now)
    energy.settle(now)
    assert energy.joules.sum() == pytest.approx(expected, abs=1e-6)
    assert energy.parts().total == pytest.approx(expected, abs=1e-6)
