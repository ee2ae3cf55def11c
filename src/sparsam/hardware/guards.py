"""What may be believed of a raw sample. Pure: time comes in as a number, verdicts go out as values.

Energy counters wrap, restart, freeze and now and then return a bit pattern instead of a number; power sensors return
zero, minus one or petawatts while their controller boots. Each of these has cost somebody a dashboard full of
peta-joules, so each has a name here, and none of them becomes a Reading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sparsam.hardware.meter import Fault, Reading, usable


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source can show at all."""

    min_watts: float = 0.0
    """A running server never draws nothing: sources of the whole node say more than zero here."""
    max_watts: float = 20_000.0
    """Above what any single node takes from its feed (the largest eight-card servers stay below 15 kW)."""
    min_interval_seconds: float = 0.05
    """RAPL's counter moves about once in a millisecond; below fifty of them the quotient is noise."""
    stuck_seconds: float = 10.0
    """A processor's counter moves all the time, so one that stands still this long is broken."""


WHOLE_NODE = Limits(min_watts=0.5)
"""For sources that show the whole node: half a watt is less than any computer awake."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A refusal and its grounds."""

    fault: Fault
    detail: str = ""


def judge_watts(watts: float, limits: Limits) -> Verdict | None:
    """Why a momentary power must not be believed; None when it may."""
    if math.isnan(watts):
        return Verdict(Fault.NOT_A_NUMBER, "NaN")
    if watts < 0.0:
        return Verdict(Fault.NEGATIVE, f"{watts:g} W")
    if watts < limits.min_watts:
        return Verdict(Fault.IMPLAUSIBLE, f"{watts:g} W is below {limits.min_watts:g} W")
    if watts > limits.max_watts:
        return Verdict(Fault.IMPLAUSIBLE, f"{watts:g} W is above {limits.max_watts:g} W")
    return None


@dataclass(frozen=True, slots=True)
class CounterState:
    """The last sample of an energy counter from which a difference may be taken."""

    raw_joules: float
    at_seconds: float
    stuck: bool = False
    """It stood still for so long that others were asked instead: what it missed must not be counted twice."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Energy between two good samples."""

    joules: float
    seconds: float

    @property
    def watts(self) -> float:
        """Mean power over the time between."""
        return self.joules / self.seconds


def advance(
    state: CounterState | None, raw_joules: float, at_seconds: float, range_joules: float, limits: Limits
) -> tuple[CounterState | None, Delta | Verdict]:
    """Take one sample of a counter that wraps at `range_joules` (infinite for one that never does).

    A sample that cannot be believed leaves the state alone, or starts anew from itself where the counter may have
    jumped for good; the energy in between is then missing, which the gap shows, rather than guessed.
    """
    if wrong := _judge_raw(raw_joules, range_joules):
        return state, wrong
    fresh = CounterState(raw_joules, at_seconds)
    if state is None:
        return fresh, Verdict(Fault.FIRST)
    seconds = at_seconds - state.at_seconds
    if seconds < 0.0:
        return fresh, Verdict(Fault.FIRST, "the clock went back")
    if seconds < limits.min_interval_seconds:
        return state, Verdict(Fault.TOO_SOON, f"{seconds:.3f} s")
    if raw_joules == state.raw_joules:
        return _stand_still(state, seconds, limits)
    if state.stuck:
        return fresh, Verdict(Fault.FIRST, "moves again")
    if seconds * limits.max_watts >= range_joules:
        # More than one wrap fits into the time, and nothing tells how many there were.
        return fresh, Verdict(Fault.TOO_LATE, f"{seconds:.0f} s, in which the counter may wrap more than once")
    joules = raw_joules - state.raw_joules
    fell = joules < 0.0
    if fell:
        joules += range_joules
    if joules > seconds * limits.max_watts:
        return fresh, _jump(state.raw_joules, raw_joules, joules / seconds, fell)
    return fresh, Delta(joules, seconds)


def _judge_raw(raw_joules: float, range_joules: float) -> Verdict | None:
    if math.isnan(raw_joules):
        return Verdict(Fault.NOT_A_NUMBER, "NaN")
    if raw_joules < 0.0:
        return Verdict(Fault.NEGATIVE, f"{raw_joules:g} J")
    if raw_joules > range_joules or math.isinf(raw_joules):
        return Verdict(Fault.IMPLAUSIBLE, f"{raw_joules:g} J is beyond the counter's range of {range_joules:g} J")
    return None


def _stand_still(state: CounterState, seconds: float, limits: Limits) -> tuple[CounterState, Verdict]:
    """The sample's time is not taken over: when the counter moves again its energy covers the whole time."""
    if seconds < limits.stuck_seconds:
        return state, Verdict(Fault.UNCHANGED, f"{seconds:.2f} s")
    stuck = CounterState(state.raw_joules, state.at_seconds, stuck=True)
    return stuck, Verdict(Fault.STUCK, f"at {state.raw_joules:.6g} J")


def _jump(before: float, after: float, watts: float, fell: bool) -> Verdict:
    detail = f"from {before:.6g} J to {after:.6g} J"
    return Verdict(Fault.RESET, detail) if fell else Verdict(Fault.IMPLAUSIBLE, f"{detail} would be {watts:.3g} W")


@dataclass(frozen=True, slots=True)
class GaugeState:
    """How long a power has shown the same value, and how far others moved meanwhile."""

    watts: float
    since_seconds: float
    lowest_reference_watts: float
    highest_reference_watts: float


GAUGE_STUCK_SECONDS = 120.0
GAUGE_STUCK_RATIO, GAUGE_STUCK_WATTS = 0.25, 10.0


def watch_gauge(
    state: GaugeState | None, watts: float, reference_watts: float | None, at_seconds: float
) -> tuple[GaugeState, Verdict | None]:
    """Tell a frozen power sensor from a node that idles evenly: only another source can.

    The sensor is stuck when it showed one value for two minutes while the other source moved by a quarter of that
    value (and ten watts at least). Without another source nothing is concluded.
    """
    reference = reference_watts if reference_watts is not None and usable(reference_watts) else None
    if state is None or watts != state.watts:
        low, high = (reference, reference) if reference is not None else (math.inf, -math.inf)
        return GaugeState(watts, at_seconds, low, high), None
    if reference is not None:
        state = replace(
            state,
            lowest_reference_watts=min(state.lowest_reference_watts, reference),
            highest_reference_watts=max(state.highest_reference_watts, reference),
        )
    moved = state.highest_reference_watts - state.lowest_reference_watts
    still = at_seconds - state.since_seconds
    if still >= GAUGE_STUCK_SECONDS and moved >= max(GAUGE_STUCK_WATTS, GAUGE_STUCK_RATIO * watts):
        return state, Verdict(Fault.STUCK, f"{watts:g} W for {still:.0f} s while another source moved by {moved:.0f} W")
    return state, None


class EnergyCounter:
    """Joules since it was made, or carried over from before: never falls, never holds what is not a number."""

    def __init__(self, joules: float = 0.0) -> None:
        self._joules = joules if usable(joules) else 0.0
        self._last: Reading | None = None

    @property
    def joules(self) -> float:
        """The sum so far."""
        return self._joules

    def observe(self, reading: Reading, *, longest_seconds: float) -> float:
        """Add a reading's energy and return it.

        A counter's own joules count as they are. Power alone is taken to have lasted since the reading before
        (whatever its source), at most `longest_seconds`, so that an outage is not filled with a guess. The same
        sample seen twice, or one that a cache held back, adds nothing.
        """
        last, added = self._last, 0.0
        if last is None or reading.at_seconds > last.at_seconds:
            added = self._energy(reading, last, longest_seconds)
            self._last = reading
        self._joules += added
        return added

    @staticmethod
    def _energy(reading: Reading, last: Reading | None, longest_seconds: float) -> float:
        since_last = reading.at_seconds - last.at_seconds if last is not None else 0.0
        if reading.joules is not None and reading.interval_seconds is not None:
            # After a change of source the interval may reach back into time that is paid for already.
            if last is None or reading.interval_seconds <= since_last:
                return reading.joules
            return reading.joules * since_last / reading.interval_seconds
        return reading.watts * min(since_last, longest_seconds)
