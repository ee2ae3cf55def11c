"""Made-up traces: services with a daily rhythm, batch work, bursts, and a mix of CPU, memory and IO shapes.

Each is a function of its numbers and a seeded generator. Join them with `merged`; usage series have equal steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.simulation.trace import Obj, Trace, UsageSeries
from sparsam.simulation.traces.rows import pod

DAY_SECONDS = 86_400.0
STEP_SECONDS = 300.0
STEPS = int(DAY_SECONDS / STEP_SECONDS)
PEAK_SECONDS = 14.0 * 3600.0
"""Of the day; when people are at work and awake at home."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of work."""

    name: str
    cpu: str
    memory: str
    usage: float
    """Mean share of the requested CPU that it really uses."""
    duration_seconds: float
    """Mean; each pod draws its own."""
    weight: float = 1.0

    def pod(self, priority: int = 0) -> Obj:
        """Its template."""
        return pod({"cpu": self.cpu, "memory": self.memory}, labels={"app": self.name}, spec={"priority": priority})


# What sysbench's tests do to a machine: `cpu` keeps its threads busy, `memory` copies and waits for it, `fileio` waits
# for the disk. The requests and times are ours.
SYSBENCH = (
    Shape("sysbench-cpu", "2", "512Mi", 0.98, 600.0, 0.5),
    Shape("sysbench-memory", "1", "4Gi", 0.70, 300.0, 0.3),
    Shape("sysbench-fileio", "500m", "1Gi", 0.15, 900.0, 0.2),
)
BATCH = (
    Shape("batch-small", "500m", "1Gi", 0.9, 300.0, 0.6),
    Shape("batch-medium", "2", "4Gi", 0.9, 900.0, 0.3),
    Shape("batch-large", "8", "16Gi", 0.85, 2400.0, 0.1),
)
SERVICES = (
    Shape("web", "500m", "512Mi", 0.35, math.inf, 0.5),
    Shape("api", "1", "2Gi", 0.30, math.inf, 0.35),
    Shape("database", "4", "16Gi", 0.20, math.inf, 0.15),
)


def diurnal_services(
    chance: np.random.Generator, pods: int, horizon_seconds: float, *, swing: float = 0.6, noise: float = 0.1
) -> Trace:
    """Services that are there from the start and stay, used by a day's rhythm.

    `swing` is how far use moves around its mean between night and afternoon, `noise` the deviation of a step (whose
    neighbours are like it). Each kind of service has a few patterns that differ in when they peak.
    """
    patterns = 4 * len(SERVICES)
    kind = _kinds(chance, SERVICES, pods)
    values = np.stack([_day(chance, SERVICES[line % len(SERVICES)].usage, swing, noise) for line in range(patterns)])
    return _trace(
        "diurnal-services",
        (SERVICES, kind, np.zeros(pods), np.full(pods, np.inf)),
        horizon_seconds,
        priority=1000,
        series=kind + len(SERVICES) * chance.integers(0, 4, pods),
        usage_series=UsageSeries(STEP_SECONDS, values.astype(np.float32)),
    )


def poisson_batch(
    chance: np.random.Generator, pods_per_hour: float, horizon_seconds: float, shapes: tuple[Shape, ...] = BATCH
) -> Trace:
    """Batch work that comes independently at a mean rate, and does an exponentially distributed amount of it."""
    if not 0.0 <= pods_per_hour < math.inf:
        raise ValueError(f"no rate: {pods_per_hour:g} pods an hour")
    pods = int(chance.poisson(pods_per_hour * horizon_seconds / 3600.0))
    # Given their number, the arrivals of a Poisson process are uniform.
    arrival = np.sort(chance.uniform(0.0, horizon_seconds, pods))
    kind = _kinds(chance, shapes, pods)
    return _trace("poisson-batch", (shapes, kind, arrival, _stay(chance, shapes, kind)), horizon_seconds)


def bursts(
    chance: np.random.Generator, count: int, pods: int, horizon_seconds: float, *, width_seconds: float = 30.0
) -> Trace:
    """Crowds of equal batch pods: `count` times about as many as `pods`, all within `width_seconds`."""
    sizes = chance.poisson(pods, count)
    starts = chance.uniform(0.0, max(horizon_seconds - width_seconds, 0.0), count)
    shape = _kinds(chance, BATCH, count)
    arrival = np.repeat(starts, sizes) + chance.uniform(0.0, min(width_seconds, horizon_seconds), int(sizes.sum()))
    order = np.argsort(arrival, kind="stable")
    kind = np.repeat(shape, sizes)[order]
    return _trace("bursts", (BATCH, kind, arrival[order], _stay(chance, BATCH, kind)), horizon_seconds)


def sysbench_mix(chance: np.random.Generator, pods_per_hour: float, horizon_seconds: float) -> Trace:
    """CPU, memory and IO shapes in the proportions of `SYSBENCH`."""
    return replace(poisson_batch(chance, pods_per_hour, horizon_seconds, SYSBENCH), name="sysbench-mix")


def _kinds(chance: np.random.Generator, shapes: tuple[Shape, ...], pods: int) -> Ints:
    weights = np.array([shape.weight for shape in shapes])
    return chance.choice(len(shapes), pods, p=weights / weights.sum())


def _stay(chance: np.random.Generator, shapes: tuple[Shape, ...], kind: Ints) -> Floats:
    return np.asarray(chance.exponential(np.array([shape.duration_seconds for shape in shapes])[kind]))


def _day(chance: np.random.Generator, mean: float, swing: float, noise: float) -> Floats:
    """One day's use: a cosine with its peak in the afternoon, give or take two hours, and noise that lasts a while."""
    peak = PEAK_SECONDS + chance.uniform(-7200.0, 7200.0)
    hour_angle = 2.0 * np.pi * (np.arange(STEPS) * STEP_SECONDS - peak) / DAY_SECONDS
    smooth = np.convolve(chance.normal(0.0, noise, STEPS + 11), np.full(12, 12**-0.5), "valid")
    return np.asarray(np.clip(mean * (1.0 + swing * np.cos(hour_angle) + smooth), 0.0, 1.0))


def _trace(
    name: str,
    pods: tuple[tuple[Shape, ...], Ints, Floats, Floats],
    horizon_seconds: float,
    *,
    priority: int = 0,
    series: Ints | None = None,
    usage_series: UsageSeries | None = None,
) -> Trace:
    """Shapes, and of each pod its shape, arrival and duration."""
    shapes, kind, arrival, stay = pods
    return Trace(
        name=name,
        templates=tuple(shape.pod(priority) for shape in shapes),
        template=kind,
        arrival_seconds=arrival,
        duration_seconds=stay,
        batch=np.full(len(kind), series is None),
        usage=np.array([shape.usage for shape in shapes])[kind],
        series=np.full(len(kind), -1, np.int64) if series is None else series,
        usage_series=usage_series,
        horizon_seconds=horizon_seconds,
    )
