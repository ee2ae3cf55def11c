"""Sleep states of nodes: what one costs to enter and to leave, and whether an idle time is worth it.

A node that falls asleep pays for the way down and the way up, in seconds and in joules, and draws little in between.
Sleeping pays from the break-even time on (Benini, Bogliolo, De Micheli, "A survey of design techniques for system-level
dynamic power management", IEEE Trans. VLSI 8, 2000):

    break_even = max(sleep_seconds + wake_seconds,
                     (sleep_joules + wake_joules - asleep_watts * (sleep_seconds + wake_seconds))
                     / (idle_watts - asleep_watts))

How long a node will stay idle is not known when it has to be decided; idle times are taken as exponentially distributed
around a predicted mean, or as they were observed. Every column has shape (nodes,). Whatever is not a number never pays:
a node of which something is unknown stays awake.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class State:
    """Assumed costs of a kind of sleep, for nodes of which nothing was measured."""

    asleep_watts: float
    sleep_seconds: float
    wake_seconds: float
    sleep_ratio: float
    """Watts on the way down as a share of idle watts."""
    wake_ratio: float
    """Watts on the way up as a share of the watts at full load."""


ASSUMED = {
    "off": State(asleep_watts=8.0, sleep_seconds=30.0, wake_seconds=260.0, sleep_ratio=1.0, wake_ratio=1.0),
    "suspended": State(asleep_watts=12.0, sleep_seconds=5.0, wake_seconds=15.0, sleep_ratio=1.0, wake_ratio=0.8),
}
"""Assumptions, not measurements. Off (S5): 260 s of booting near full-load watts is what Gandhi, Harchol-Balter,
Raghunathan and Kozuch measured ("AutoScale", ACM TOCS 30, 2012); the watts of the management controller and the way
down are guesses. Suspended to RAM (S3): guesses throughout, and few servers offer it."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """A sleep state of each node, as columns."""

    idle_watts: Floats
    """Awake, without load."""
    asleep_watts: Floats
    sleep_seconds: Floats
    sleep_joules: Floats
    wake_seconds: Floats
    wake_joules: Floats

    def __post_init__(self) -> None:
        """Raises ValueError for negative costs; NaN is allowed and means unknown."""
        for name in self.__slots__:
            if (getattr(self, name) < 0.0).any():
                raise ValueError(f"{name} must not be negative")

    def transition_seconds(self) -> Floats:
        """Down and up again."""
        return np.asarray(self.sleep_seconds + self.wake_seconds)

    def break_even_seconds(self) -> Floats:
        """The idle time from which on sleeping saves energy; infinite where being asleep saves nothing."""
        down_and_up = self.transition_seconds()
        gain = self.idle_watts - self.asleep_watts
        excess = self._fixed_joules() - self.asleep_watts * down_and_up
        useful = self._known() & (gain > 0.0)
        return np.where(useful, np.maximum(down_and_up, excess / np.where(useful, gain, 1.0)), np.inf)

    def joules_saved(self, idle_seconds: Floats) -> Floats:
        """What sleeping saves over an idle time that turns out this long, the way down and up included.

        Negative below the break-even time. In an idle time shorter than the way down and up the node pays both in full.
        """
        asleep = np.maximum(idle_seconds - self.transition_seconds(), 0.0)
        return np.asarray(self.idle_watts * idle_seconds - self._fixed_joules() - self.asleep_watts * asleep)

    def watts_saved(self, idle_seconds: Floats) -> Floats:
        """`joules_saved` as watts over the idle time, which must be above zero."""
        return np.asarray(self.joules_saved(idle_seconds) / idle_seconds)

    def expected_joules_saved(self, mean_idle_seconds: Floats) -> Floats:
        """The mean of `joules_saved` over exponentially distributed idle times.

        `E[max(t - T, 0)] = mean * exp(-T / mean)` for the time asleep, with T down and up together. Real idle times
        often have longer tails; for a given mean, this is then on the careful side.
        """
        mean = mean_idle_seconds
        asleep = mean * np.exp(-self.transition_seconds() / np.maximum(mean, 1e-9))
        return np.asarray(self.idle_watts * mean - self._fixed_joules() - self.asleep_watts * asleep)

    def pays(self, mean_idle_seconds: Floats, *, margin_watts: float = 0.0) -> Bools:
        """Whether sleeping at once saves more than `margin_watts` on average, for exponential idle times.

        Such times have no memory: what does not pay at once does not pay after waiting either. Where the distribution
        is unknown, waiting for the break-even time and then sleeping costs at most twice what foresight would (Karlin,
        Manasse, McGeoch, Owicki, "Competitive randomized algorithms for non-uniform problems", SODA 1990).
        """
        return np.asarray(self.option_watts(mean_idle_seconds) > margin_watts)

    def pays_over(self, idle_seconds: Floats, *, margin_watts: float = 0.0) -> Bools:
        """As `pays`, over observed idle times of shape (nodes, samples); NaN fills up short rows.

        A node without a sample is unknown and stays awake.
        """
        observed = np.isfinite(idle_seconds) & (idle_seconds >= 0.0)
        times = np.where(observed, idle_seconds, 0.0)
        asleep = np.maximum(times - self.transition_seconds()[:, None], 0.0)
        saved = self.idle_watts[:, None] * times - self._fixed_joules()[:, None] - self.asleep_watts[:, None] * asleep
        total = np.where(observed, saved, 0.0).sum(axis=1)
        return np.asarray((total > margin_watts * times.sum(axis=1)) & observed.any(axis=1) & self._known())

    def option_watts(self, mean_idle_seconds: Floats) -> Floats:
        """What an idle node could save by sleeping, as watts over its predicted idle time; zero where nothing.

        To a scheduler this is the price of keeping the node awake: placing there forgoes it. Unknown counts as zero.
        """
        sane = self._known() & np.isfinite(mean_idle_seconds) & (mean_idle_seconds > 0.0)
        mean = np.where(sane, mean_idle_seconds, 1.0)
        return np.where(sane, np.maximum(self.expected_joules_saved(mean) / mean, 0.0), 0.0)

    def wake_watts(self, busy_seconds: Floats) -> Floats:
        """Extra watts, before any load, of a sleeping node that must be woken for a stay of this length.

        Idle instead of asleep watts, and the joules up and down again beyond being asleep, spread over the stay. NaN
        where anything is unknown: such a node must not be woken for its watts.
        """
        stay = np.maximum(busy_seconds, 1e-9)
        beyond = np.maximum(self._fixed_joules() - self.asleep_watts * self.transition_seconds(), 0.0)
        added = np.maximum(self.idle_watts - self.asleep_watts, 0.0) + beyond / stay
        return np.where(self._known() & np.isfinite(stay), added, np.nan)

    def idle_watts_added(self, asleep: Bools, empty: Bools, busy_seconds: Floats, mean_idle_seconds: Floats) -> Floats:
        """What placing on each node adds before its load: waking, forgoing sleep, or nothing.

        A sleeping node must be woken; an empty one awake could have slept; one with work has to stay awake anyway.
        """
        kept = np.where(empty, self.option_watts(mean_idle_seconds), 0.0)
        return np.where(asleep, self.wake_watts(busy_seconds), kept)

    def _known(self) -> Bools:
        # Finite sums of numbers that are not negative: one check for all columns.
        total = self.idle_watts + self.asleep_watts + self.transition_seconds() + self._fixed_joules()
        return np.asarray(np.isfinite(total))

    def _fixed_joules(self) -> Floats:
        return np.asarray(self.sleep_joules + self.wake_joules)


def assumed(kind: str, idle_watts: Floats, max_watts: Floats) -> Sleep:
    """Sleep states by the assumptions in `ASSUMED`; raises ValueError for an unknown kind."""
    if kind not in ASSUMED:
        raise ValueError(f"unknown sleep state {kind!r}; known are {', '.join(ASSUMED)}")
    state = ASSUMED[kind]
    every = np.ones_like(idle_watts)
    return Sleep(
        idle_watts=idle_watts,
        asleep_watts=np.minimum(state.asleep_watts * every, idle_watts),
        sleep_seconds=state.sleep_seconds * every,
        sleep_joules=state.sleep_seconds * state.sleep_ratio * idle_watts,
        wake_seconds=state.wake_seconds * every,
        wake_joules=state.wake_seconds * state.wake_ratio * max_watts,
    )
