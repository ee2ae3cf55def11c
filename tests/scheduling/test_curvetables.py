import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsam.scheduling.curvetables import STEPS, CurveTables, envelope, look_up, rise, rises


def test_the_envelope_is_the_greatest_convex_curve_below():
    levels = np.array([10.0, 30.0, 32.0, 33.0, 40.0, 60.0])
    found = envelope(levels)
    assert (found <= levels + 1e-9).all()
    assert (np.diff(found, 2) >= -1e-9).all()
    assert found[[0, 3, 5]].tolist() == [10.0, 32.5, 60.0]


def test_equal_curves_share_a_line_until_the_last_server_has_another():
    tables, line = CurveTables(), np.linspace(100.0, 200.0, STEPS + 1)
    first, second, other = tables.take(line), tables.take(line.copy()), tables.take(2.0 * line)
    assert first == second != other
    tables.drop(first)
    assert tables.take(line) == first
    tables.drop(first)
    tables.drop(first)
    assert tables.take(3.0 * line) == first


@given(st.lists(st.integers(0, 30), max_size=80))
def test_every_server_finds_the_curve_that_it_was_given(given_curves):
    tables, held = CurveTables(), {}
    for server, which in enumerate(given_curves):
        slot = server % 7
        number = tables.take(np.full(STEPS + 1, float(which)))
        if slot in held:
            tables.drop(held[slot][0])
        held[slot] = number, float(which)
        for line, watts in held.values():
            assert (tables.watts[line] == watts).all()


@given(st.floats(0.0, 1.0), st.integers(0, 2))
def test_between_two_steps_the_curve_is_straight(load, number):
    tables = CurveTables()
    lines = [tables.take(np.linspace(50.0 * n, 100.0 + n, STEPS + 1) ** 1.5) for n in range(3)]
    found = look_up(tables.watts, np.array([lines[number]]), np.array([load]))
    assert np.isclose(found[0], np.interp(load, np.linspace(0, 1, STEPS + 1), tables.watts[lines[number]]))


@given(st.floats(0.0, 1.5), st.floats(0.0, 1.5), st.integers(0, 11))
def test_a_rise_is_the_difference_of_two_loads_and_the_same_for_one_curve_and_for_many(before, after, number):
    tables, load = CurveTables(), np.linspace(0.0, 1.0, STEPS + 1)
    lines = np.array([tables.take(100.0 + 50.0 * n + 90.0 * load ** (0.4 + 0.1 * n)) for n in range(12)])
    watts, below = rises(tables.steps, lines, np.full(12, before), np.full(12, after))
    assert rise(tables.lines[lines[number]], before, after) == (watts[number], below[number])
    ends = (np.full(12, min(each, 1.0)) for each in (before, after))
    start, end = (look_up(tables.watts, lines, each) for each in ends)
    assert np.allclose(watts, end - start)
    straight = look_up(tables.envelope, lines, np.full(12, after)) - look_up(
        tables.envelope, lines, np.full(12, before)
    )
    assert np.allclose(below, straight)
