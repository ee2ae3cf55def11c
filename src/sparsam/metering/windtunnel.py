"""The wind tunnel: drive a node through load steps of several kinds of work while its power is measured.

Every run goes through all levels with one kind of work; runs are repeated. A step settles before it counts. At any sign
of distress the load is taken off at once and nothing is kept: too hot, too many watts, no readings, a load that ends by
itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparsam.clock import Clock
from sparsam.errors import SparsamError
from sparsam.hardware.meter import Gap, Reading
from sparsam.metering.node import UtilizationSource
from sparsam.power.curves import Floats
from sparsam.power.streaming import STRETCHES, LoadStatistics

MIXES = ("integer", "matrix", "memory")
LEVELS = tuple(step / 10.0 for step in range(11))
BUSY_LIMIT = 0.1
"""A node that is busier than this before anything is driven has other work; its curve would be wrong."""
GAPS_LIMIT = 10
SAMPLE_SECONDS = 1.0


class Distress(SparsamError):
    """The run was broken off; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPlan:
    """What to drive, how long, and where to stop."""

    mixes: tuple[str, ...] = MIXES
    levels: tuple[float, ...] = LEVELS
    repeats: int = 2
    settle_seconds: float = 20.0
    measure_seconds: float = 30.0
    max_celsius: float = 90.0
    max_watts: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError on a plan that cannot be driven."""
        unknown = set(self.mixes) - set(MIXES)
        if unknown or not self.mixes:
            raise ValueError(f"kinds of work are {', '.join(MIXES)}; got {', '.join(sorted(unknown)) or 'none'}")
        if (
            list(self.levels) != sorted(set(self.levels))
            or not self.levels
            or not 0.0 <= self.levels[0] <= self.levels[-1] <= 1.0
        ):
            raise ValueError("levels must rise between 0 and 1")
        if len(self.mixes) * self.repeats > STRETCHES:
            raise ValueError(f"at most {STRETCHES} runs; {len(self.mixes)} kinds of work times {self.repeats} are more")

    @property
    def seconds(self) -> float:
        """How long all of it takes."""
        return len(self.mixes) * self.repeats * len(self.levels) * (self.settle_seconds + self.measure_seconds)


@dataclass(frozen=True, slots=True)
class Step:
    """One level of one run: means over the time measured."""

    mix: str
    repeat: int
    target: float
    load: float
    watts: float
    watts_deviation: float
    inlet_celsius: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All steps, and their samples as sums; every run is a stretch of its own."""

    steps: tuple[Step, ...]
    statistics: LoadStatistics

    def by_mix(self) -> dict[str, tuple[Floats, Floats]]:
        """Mean load and watts of each kind of work, by rising level."""
        found = {}
        for mix in dict.fromkeys(step.mix for step in self.steps):
            levels = sorted({step.target for step in self.steps if step.mix == mix})
            groups = [[step for step in self.steps if (step.mix, step.target) == (mix, level)] for level in levels]
            loads = np.array([np.mean([step.load for step in group]) for group in groups])
            found[mix] = (loads, np.array([np.mean([step.watts for step in group]) for group in groups]))
        return found


class Source(Protocol):
    """What is read for power."""

    async def read(self) -> Reading | Gap:
        """One sample."""
        ...


class Load(Protocol):
    """Load on the node, and whether it is still there."""

    def ended(self) -> str:
        """Why it ended by itself; empty while it runs."""
        ...


StartLoad = Callable[[str, float, float], contextlib.AbstractAsyncContextManager[Load]]
"""(mix, level, seconds)."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What the tunnel looks at."""

    meter: Source
    utilization: UtilizationSource
    hottest_celsius: Callable[[], float | None]
    inlet_celsius: Callable[[], float | None]
    cpus: int


class Tunnel:
    """Drives a plan."""

    def __init__(
        self, plan: TunnelPlan, senses: Senses, start: StartLoad, clock: Clock, progress: Callable[[Step], None]
    ) -> None:
        self._plan = plan
        self._senses = senses
        self._start = start
        self._clock = clock
        self._progress = progress

    async def run(self) -> Measured:
        """All runs; raises Distress."""
        await self._refuse_a_busy_node()
        steps: list[Step] = []
        statistics = LoadStatistics.empty()
        for repeat in range(self._plan.repeats):
            for mix in self._plan.mixes:
                stretch = len(steps) // len(self._plan.levels)
                for level in self._plan.levels:
                    step, load, watts = await self._step(mix, repeat, level)
                    statistics = statistics.merged(LoadStatistics.of(np.full(len(load), stretch, float), load, watts))
                    steps.append(step)
                    self._progress(step)
        return Measured(tuple(steps), statistics)

    async def _refuse_a_busy_node(self) -> None:
        self._senses.utilization.look()
        await self._clock.sleep(2 * SAMPLE_SECONDS)
        self._senses.utilization.look()
        busy = self._senses.utilization.latest or 0.0
        if busy > BUSY_LIMIT:
            raise Distress(f"the node is {busy:.0%} busy with other work; take that away first")

    async def _step(self, mix: str, repeat: int, level: float) -> tuple[Step, Floats, Floats]:
        plan = self._plan
        seconds = plan.settle_seconds + plan.measure_seconds
        async with self._start(mix, level, seconds) as load:
            await self._watch(load, plan.settle_seconds)
            samples = await self._watch(load, plan.measure_seconds)
        if not len(samples):
            raise Distress(f"no power reading at {level:.0%} load; measure longer than the meter's interval")
        loads, watts = samples[:, 0], samples[:, 1]
        inlet = self._senses.inlet_celsius()
        step = Step(
            mix, repeat, level, float(loads.mean()), float(watts.mean()), float(watts.std()), inlet, len(samples)
        )
        return step, loads, watts

    async def _watch(self, load: Load, seconds: float) -> Floats:
        """Samples (load, watts) over some seconds; shape (samples, 2)."""
        found: list[tuple[float, float]] = []
        gaps, ends = 0, self._clock.monotonic() + seconds
        self._senses.utilization.look()
        while self._clock.monotonic() < ends - 1e-9:
            await self._clock.sleep(SAMPLE_SECONDS)
            self._senses.utilization.look()
            reading = await self._senses.meter.read()
            if isinstance(reading, Gap):
                gaps += reading.fault.worrying
                if gaps > GAPS_LIMIT:
                    raise Distress(f"the power source fails: {reading}")
            else:
                found.append((self._senses.utilization.latest or 0.0, reading.watts))
            self._guard(load, reading)
        return np.array(found).reshape(-1, 2)

    def _guard(self, load: Load, reading: Reading | Gap) -> None:
        ended = load.ended()
        if ended:
            raise Distress(f"the load ended by itself: {ended}")
        celsius = self._senses.hottest_celsius()
        if celsius is not None and celsius > self._plan.max_celsius:
            raise Distress(f"{celsius:.0f} °C, above the limit of {self._plan.max_celsius:.0f} °C")
        cap = self._plan.max_watts
        if cap is not None and isinstance(reading, Reading) and reading.watts > cap:
            raise Distress(f"{reading.watts:.0f} W, above the limit of {cap:.0f} W")


def stress_arguments(mix: str, level: float, seconds: float, cpus: int) -> Sequence[str]:
    """stress-ng's arguments for a kind of work at a level, 0 < level <= 1.

    CPU work is throttled within each worker; memory work, which cannot be, by the number of workers.
    """
    timeout = ("--timeout", f"{int(seconds) + 5}s", "--quiet")
    if mix == "memory":
        return ("--stream", str(max(round(level * cpus), 1)), *timeout)
    method = {"integer": "int64", "matrix": "matrixprod"}[mix]
    return ("--cpu", str(cpus), "--cpu-load", f"{100 * level:.0f}", "--cpu-method", method, *timeout)


class _Process:
    def __init__(self, process: asyncio.subprocess.Process | None) -> None:
        self._process = process

    def ended(self) -> str:
        if self._process is None or self._process.returncode is None:
            return ""
        return f"stress-ng left with code {self._process.returncode}"


def stress_ng(cpus: int, program: str = "stress-ng") -> StartLoad:
    """Load by stress-ng; raises Distress when it is not installed. Level 0 starts nothing."""
    if shutil.which(program) is None:
        raise Distress("stress-ng is not installed: apt-get install stress-ng")

    @asynccontextmanager
    async def start(mix: str, level: float, seconds: float) -> AsyncIterator[Load]:
        if level <= 0.0:
            yield _Process(None)
            return
        nothing = asyncio.subprocess.DEVNULL
        arguments = stress_arguments(mix, level, seconds, cpus)
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=nothing, stdout=nothing, stderr=nothing
        )
        try:
            yield _Process(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5.0)
            except TimeoutError:
                process.kill()
                await process.wait()

    return start
