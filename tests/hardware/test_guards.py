import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.hardware.guards import (
    GAUGE_STUCK_SECONDS,
    WHOLE_NODE,
    CounterState,
    Delta,
    EnergyCounter,
    GaugeState,
    Limits,
    Verdict,
    advance,
    judge_watts,
    watch_gauge,
)
from sparsam.hardware.meter import Domain, Fault, Reading

RANGE = 262_143.0
LIMITS = Limits(max_watts=1000.0)
ANY = st.floats(allow_nan=True, allow_infinity=True)
TIMES = st.floats(-10.0, 1e5)


def verdict(result: Delta | Verdict) -> Fault:
    assert isinstance(result, Verdict), result
    return result.fault


@pytest.mark.parametrize(
    ("watts", "fault"),
    [
        (math.nan, Fault.NOT_A_NUMBER),
        (-1.0, Fault.NEGATIVE),
        (-math.inf, Fault.NEGATIVE),
        (0.0, Fault.IMPLAUSIBLE),
        (1e15, Fault.IMPLAUSIBLE),
        (math.inf, Fault.IMPLAUSIBLE),
    ],
)
def test_impossible_powers_are_named(watts, fault):
    wrong = judge_watts(watts, WHOLE_NODE)
    assert wrong is not None and wrong.fault is fault


def test_possible_powers_pass():
    assert judge_watts(0.0, Limits()) is None
    assert judge_watts(212.0, WHOLE_NODE) is None


@pytest.mark.parametrize(
    ("before", "after", "seconds", "expected"),
    [
        (100.0, 600.0, 5.0, 500.0),
        (262_000.0, 57.0, 5.0, 200.0),
        (100.0, 600.0, 0.01, Fault.TOO_SOON),
        (100.0, 600.0, -1.0, Fault.FIRST),
        (100.0, 100.0, 5.0, Fault.UNCHANGED),
        (100.0, 100.0, 60.0, Fault.STUCK),
        (50_000.0, 0.0, 5.0, Fault.RESET),
        (100.0, 200_000.0, 5.0, Fault.IMPLAUSIBLE),
        (100.0, 600.0, 300.0, Fault.TOO_LATE),
        (100.0, math.nan, 5.0, Fault.NOT_A_NUMBER),
        (100.0, -1.0, 5.0, Fault.NEGATIVE),
        (100.0, 1e15, 5.0, Fault.IMPLAUSIBLE),
        (100.0, math.inf, 5.0, Fault.IMPLAUSIBLE),
    ],
)
def test_each_step_of_a_counter_has_one_meaning(before, after, seconds, expected):
    _, result = advance(CounterState(before, 1000.0), after, 1000.0 + seconds, RANGE, LIMITS)
    if isinstance(expected, Fault):
        assert verdict(result) is expected
    else:
        assert isinstance(result, Delta) and result.joules == pytest.approx(expected)


def test_a_counter_without_a_known_range_resets_but_never_wraps():
    state, result = advance(CounterState(1e9, 0.0), 0.0, 5.0, math.inf, LIMITS)
    assert verdict(result) is Fault.RESET
    _, result = advance(state, 500.0, 10.0, math.inf, LIMITS)
    assert isinstance(result, Delta) and result.watts == pytest.approx(100.0)


def test_energy_that_a_stuck_counter_missed_is_not_counted_afterwards():
    state: CounterState | None = CounterState(100.0, 0.0)
    state, result = advance(state, 100.0, 60.0, RANGE, LIMITS)
    assert verdict(result) is Fault.STUCK
    state, result = advance(state, 5000.0, 65.0, RANGE, LIMITS)
    assert verdict(result) is Fault.FIRST
    _, result = advance(state, 5100.0, 66.0, RANGE, LIMITS)
    assert isinstance(result, Delta) and result.joules == pytest.approx(100.0)


@given(st.lists(st.tuples(ANY, TIMES), max_size=40), st.sampled_from([RANGE, 65_000.0, math.inf]))
def test_energy_is_monotone_for_every_sequence_of_raw_readings(samples, range_joules):
    state, counter, before, first = None, EnergyCounter(), 0.0, None
    for raw, at in samples:
        first = at if first is None else first
        state, result = advance(state, raw, at, range_joules, LIMITS)
        if isinstance(result, Delta):
            assert math.isfinite(result.joules) and 0.0 <= result.watts <= LIMITS.max_watts * (1 + 1e-9)
            reading = Reading(
                at, result.watts, Domain.PACKAGE, "x", 0.05, joules=result.joules, interval_seconds=result.seconds
            )
            counter.observe(reading, longest_seconds=30.0)
        assert math.isfinite(counter.joules) and counter.joules >= before
        before = counter.joules


@given(st.lists(st.floats(0.0, 999.0), min_size=1, max_size=60), st.floats(0.1, 60.0), st.floats(0.0, RANGE))
def test_no_energy_is_lost_or_made_over_any_number_of_wraps(powers, seconds, start):
    state, at, raw, measured, true = CounterState(start, 0.0), 0.0, start, 0.0, 0.0
    for watts in powers:
        at += seconds
        true += watts * seconds
        raw = math.fmod(raw + watts * seconds, RANGE)
        new, result = advance(state, raw, at, RANGE, LIMITS)
        if isinstance(result, Delta):
            measured += result.joules
        elif result.fault not in (Fault.UNCHANGED, Fault.TOO_SOON):
            return
        assert new is not None
        state = new
    assert measured == pytest.approx(true, abs=1e-3 * len(powers)) or state.at_seconds < at


READINGS = st.builds(
    lambda at, watts, energy: (at, watts, energy),
    st.floats(0.0, 1e6),
    st.floats(0.0, 2e4),
    st.one_of(st.none(), st.tuples(st.floats(0.0, 1e6), st.floats(1.0, 1e3))),
)


@given(st.lists(READINGS, max_size=40), ANY)
def test_the_nodes_energy_never_falls_and_never_outgrows_its_readings(items, start):
    counter = EnergyCounter(start)
    before = counter.joules
    assert math.isfinite(before) and before >= 0.0
    for at, watts, energy in items:
        joules, interval = energy if energy else (None, None)
        reading = Reading(at, watts, Domain.WALL, "x", 0.05, joules=joules, interval_seconds=interval)
        added = counter.observe(reading, longest_seconds=30.0)
        assert added >= 0.0
        assert added <= max(joules or 0.0, watts * 30.0 + 1e-6)
        assert counter.joules == pytest.approx(before + added)
        before = counter.joules


def test_power_lasts_until_the_next_reading_but_never_through_an_outage():
    counter = EnergyCounter(1000.0)
    for at, watts in [(0.0, 100.0), (10.0, 200.0), (10.0, 900.0), (5.0, 900.0), (1000.0, 50.0)]:
        counter.observe(Reading(at, watts, Domain.WALL, "x", 0.05), longest_seconds=30.0)
    assert counter.joules == pytest.approx(1000.0 + 2000.0 + 50.0 * 30.0)


def test_time_that_another_source_paid_for_is_not_paid_twice():
    counter = EnergyCounter()
    counter.observe(Reading(0.0, 100.0, Domain.WALL, "model", 0.3), longest_seconds=30.0)
    counter.observe(Reading(10.0, 100.0, Domain.WALL, "model", 0.3), longest_seconds=30.0)
    late = Reading(15.0, 100.0, Domain.PACKAGE, "rapl", 0.05, joules=1500.0, interval_seconds=15.0)
    assert counter.observe(late, longest_seconds=30.0) == pytest.approx(500.0)


def frozen(*references: float | None, watts: float = 112.0) -> Verdict | None:
    state: GaugeState | None = None
    wrong = None
    for index, reference in enumerate(references):
        state, wrong = watch_gauge(state, watts, reference, index * GAUGE_STUCK_SECONDS)
    return wrong


def test_a_gauge_that_stands_still_is_stuck_only_if_something_else_moves():
    assert frozen(60.0, 61.0, 60.0) is None
    assert frozen(None, None, None) is None
    wrong = frozen(40.0, 140.0)
    assert wrong is not None and wrong.fault is Fault.STUCK
    assert frozen(40.0, math.nan, 45.0) is None


def test_a_gauge_that_moves_again_is_believed_at_once():
    state, _ = watch_gauge(None, 112.0, 40.0, 0.0)
    state, wrong = watch_gauge(state, 112.0, 140.0, 200.0)
    assert wrong is not None
    _, wrong = watch_gauge(state, 113.0, 140.0, 201.0)
    assert wrong is None
