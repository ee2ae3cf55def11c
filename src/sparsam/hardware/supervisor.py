"""One node's power from the best source that works now, checked against the others.

The order is by what a number covers: the feed, then psys, then processors with memory, then processors alone, and
only then the model. A better source that fails is left at once and taken back after it has worked for a while. Every
cycle is bounded: a slow BMC finishes in the background and is used in a later cycle.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparsam.clock import Clock
from sparsam.hardware.check import ORDER, Check, compare, rank
from sparsam.hardware.guards import EnergyCounter, GaugeState, watch_gauge
from sparsam.hardware.meter import Domain, Fault, Gap, Meter, Provenance, Reading
from sparsam.hardware.warner import Warner


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """How long to wait and whom to trust."""

    cycle_seconds: float = 2.0
    """No cycle waits longer for its sources."""
    freshest_seconds: float = 30.0
    """What a source last answered serves this long. How old the data behind an answer may be, each source judges."""
    longest_seconds: float = 150.0
    """Power counts towards energy until the next reading, but no longer: two scrapes of a minute and some slack, so
    that an outage is not filled with a guess."""
    return_after: int = 2
    """Good readings in a row before a better source that failed is taken back, so that it cannot flap."""
    disagree_seconds: float = 180.0
    """How long two sources must disagree before anybody hears of it: some BMCs average over a minute."""
    watts_per_busy_cpu: float = 5.0
    """For the meter's own draw: what a logical CPU adds between idle and full. Published servers of the last decade
    lie around 2.2 W + 20 W / threads."""


@dataclass(frozen=True, slots=True)
class NodePower:
    """What one cycle found."""

    at_seconds: float
    power: Reading | Gap
    """The node's, with its cards where the source does not see them."""
    own: Reading
    """What this process draws; estimated, and the same whichever of its nodes is asked."""
    joules_total: float
    """The node's energy since the supervisor was made, on top of what it was given to go on from."""
    checks: tuple[Check, ...] = ()
    """The chosen source against each other one that works."""
    gaps: tuple[Gap, ...] = ()
    """Sources without a number, and why."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Measured watts by part (`package-0`, `dram-0`, `gpu-0`), from whichever source knows them."""


class _Slot:
    """One meter, its read under way, and its latest results."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.task: asyncio.Task[Reading | Gap] | None = None
        self.latest: Reading | Gap | None = None
        self.good: Reading | None = None
        self.taken_at = 0.0
        self.shaky = 0
        """Good readings that it still owes before it is trusted again."""
        self.gauge: GaugeState | None = None

    def take(self, result: Reading | Gap, now: float, return_after: int) -> None:
        """Note a finished read."""
        self.latest = result
        if isinstance(result, Reading):
            self.good, self.taken_at = result, now
            self.shaky = max(self.shaky - 1, 0)
        elif not result.fault.passing:
            self.good = None
            self.shaky = return_after

    def present(self, now: float, freshest_seconds: float) -> Reading | Gap:
        """What may be used now: the last good reading bridges ordinary pauses, never real trouble."""
        if self.good is not None and now - self.taken_at <= freshest_seconds:
            return self.good
        if self.task is not None:
            return Gap(now, Fault.TIMEOUT, "no answer yet", self.meter.source)
        if isinstance(self.latest, Gap):
            return self.latest
        return Gap(now, Fault.STALE, f"nothing new for {freshest_seconds:g} s", self.meter.source)


class Supervisor:
    """Reads all sources of one node and settles on one."""

    def __init__(
        self,
        meters: Sequence[Meter],
        clock: Clock,
        warner: Warner,
        config: SupervisorConfig | None = None,
        *,
        joules_before: float = 0.0,
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._slots = [_Slot(meter) for meter in meters]
        self._clock = clock
        self._warner = warner
        self._config = config or SupervisorConfig()
        self._counter = EnergyCounter(joules_before)
        self._chosen: _Slot | None = None
        self._disagree_since: dict[str, float] = {}
        self._cpu_seconds = cpu_seconds
        self._own_before = (clock.monotonic(), cpu_seconds())

    async def read(self) -> NodePower:
        """One cycle."""
        await self._collect()
        now = self._clock.monotonic()
        present = {slot: slot.present(now, self._config.freshest_seconds) for slot in self._slots}
        present = {slot: self._watch(slot, present, now) for slot in self._slots}
        self._tell(present)
        readings = {slot: result for slot, result in present.items() if isinstance(result, Reading)}
        gaps = tuple(result for result in present.values() if isinstance(result, Gap))
        power, checks = self._settle(readings, gaps, now)
        if isinstance(power, Reading):
            power = _with_cards(power, present)
            self._counter.observe(power, longest_seconds=self._config.longest_seconds)
        return NodePower(now, power, self._own(now), self._counter.joules, checks, gaps, _parts(readings.values()))

    async def close(self) -> None:
        """End what is under way and close all meters."""
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for slot in self._slots:
            await slot.meter.close()

    async def _collect(self) -> None:
        """Start what is not under way, wait a bounded time, take what is finished."""
        for slot in self._slots:
            slot.task = slot.task or asyncio.create_task(slot.meter.read())
        under_way = {slot.task for slot in self._slots if slot.task is not None}
        if under_way:
            await asyncio.wait(under_way, timeout=self._config.cycle_seconds)
        for slot in self._slots:
            if slot.task is not None and slot.task.done():
                result = self._result(slot.task, slot.meter.source)
                slot.take(result, self._clock.monotonic(), self._config.return_after)
                slot.task = None

    def _result(self, task: asyncio.Task[Reading | Gap], source: str) -> Reading | Gap:
        """A meter's fault must not take the others down."""
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            return Gap(self._clock.monotonic(), Fault.INTERNAL, repr(error), source)
        return task.result()

    def _watch(self, slot: _Slot, present: Mapping[_Slot, Reading | Gap], now: float) -> Reading | Gap:
        """Turn a frozen gauge into a gap; counters have their own guard."""
        result = present[slot]
        if isinstance(result, Gap) or result.joules is not None or result.provenance is Provenance.ESTIMATED:
            return result
        others = (other for key, other in present.items() if key is not slot and isinstance(other, Reading))
        reference = min(
            (o for o in others if o.domain in ORDER), key=lambda o: rank(o.domain, o.provenance), default=None
        )
        slot.gauge, verdict = watch_gauge(slot.gauge, result.watts, reference.watts if reference else None, now)
        return Gap(now, verdict.fault, verdict.detail, slot.meter.source) if verdict else result

    def _tell(self, present: Mapping[_Slot, Reading | Gap]) -> None:
        for slot, result in present.items():
            if isinstance(result, Gap):
                self._warner.gap(result)
            else:
                self._warner.recovered(slot.meter.source)

    def _settle(
        self, readings: Mapping[_Slot, Reading], gaps: tuple[Gap, ...], now: float
    ) -> tuple[Reading | Gap, tuple[Check, ...]]:
        candidates = [slot for slot, reading in readings.items() if reading.domain in ORDER]
        self._chosen = self._choose(candidates, readings)
        if self._chosen is None:
            # A source that only needs its second sample is no trouble yet.
            fault = Fault.FIRST if any(gap.fault.passing for gap in gaps) else Fault.ABSENT
            gap = Gap(now, fault, "; ".join(map(str, gaps)) or "no source is known", "node")
            self._warner.gap(gap)
            return gap, ()
        self._warner.recovered("node")
        chosen = readings[self._chosen]
        checks = tuple(compare(chosen, readings[slot]) for slot in candidates if slot is not self._chosen)
        self._judge(chosen, checks, now)
        return chosen, checks

    def _choose(self, candidates: Sequence[_Slot], readings: Mapping[_Slot, Reading]) -> _Slot | None:
        """The best by rank, then by uncertainty, then as listed; the present one stays while a better is shaky."""
        if not candidates:
            return None

        def key(slot: _Slot) -> tuple[tuple[bool, int], float]:
            reading = readings[slot]
            return rank(reading.domain, reading.provenance), reading.uncertainty_ratio

        best = min(candidates, key=key)
        if self._chosen in candidates and best is not self._chosen:
            steady = [slot for slot in candidates if slot is self._chosen or slot.shaky == 0]
            best = min(steady, key=key)
        return best

    def _judge(self, chosen: Reading, checks: Iterable[Check], now: float) -> None:
        for check in checks:
            pair = f"{chosen.source} against {check.other.source}"
            if check.agrees:
                self._disagree_since.pop(pair, None)
                self._warner.recovered(pair)
                continue
            if now - self._disagree_since.setdefault(pair, now) >= self._config.disagree_seconds:
                detail = f"{chosen.watts:.1f} W against {check.other.watts:.1f} W"
                self._warner.warn(pair, "sources disagree", detail, now)

    def _own(self, now: float) -> Reading:
        before, cpu_before = self._own_before
        cpu = self._cpu_seconds()
        self._own_before = (now, cpu)
        seconds = now - before
        busy = max(cpu - cpu_before, 0.0) / seconds if seconds > 0.0 else 0.0
        # CPU time is booked in ticks, so that over a tiny interval it may exceed what there was.
        busy = min(busy, float(os.cpu_count() or 1))
        return Reading(
            at_seconds=now,
            watts=busy * self._config.watts_per_busy_cpu,
            domain=Domain.COMPONENT,
            source="own CPU time",
            uncertainty_ratio=0.5,
            provenance=Provenance.ESTIMATED,
            note=f"{busy:.4f} CPUs x {self._config.watts_per_busy_cpu:g} W",
        )


def _with_cards(power: Reading, present: Mapping[_Slot, Reading | Gap]) -> Reading:
    """Add cards to a number that does not see them."""
    if power.domain.whole_node:
        return power
    found = [result for slot, result in present.items() if slot.meter.domain is Domain.GPU]
    cards = [result for result in found if isinstance(result, Reading)]
    missing = [f"without cards: {result}" for result in found if isinstance(result, Gap)]
    watts = sum(card.watts for card in cards)
    return replace(
        power,
        watts=power.watts + watts,
        joules=None if power.joules is None else power.joules + watts * (power.interval_seconds or 0.0),
        source=" + ".join([power.source, *(card.source for card in cards)]),
        parts={**power.parts, **_parts(cards)},
        note="; ".join(filter(None, [power.note, *missing])),
    )


def _parts(readings: Iterable[Reading]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for reading in readings:
        if reading.domain is not Domain.WALL:
            parts.update(reading.parts)
    return parts
