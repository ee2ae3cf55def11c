"""What every power source yields: a Reading that is fit to be used, or a Gap that says why there is none.

A Reading cannot hold nonsense (it refuses to be built), so nothing behind a meter needs to check again: a value that
is not a number, negative or out of range becomes a Gap where it is read. Energy is not kept here: see
`guards.EnergyCounter`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Domain(StrEnum):
    """Which part of a node a number covers, from the whole to the part."""

    WALL = "wall"
    """All that the node takes from its feed, power supplies' losses included."""
    PLATFORM = "platform"
    """RAPL's psys: the board behind the power supply, as far as its maker wired it up."""
    PACKAGE_DRAM = "package+dram"
    """Processor packages and memory; no fans, disks, cards or losses."""
    PACKAGE = "package"
    """Processor packages alone."""
    GPU = "gpu"
    """Accelerator cards alone."""
    COMPONENT = "component"
    """Another part; never stands for the node."""

    @property
    def whole_node(self) -> bool:
        """Whether the number stands for the node, cards included."""
        return self in (Domain.WALL, Domain.PLATFORM)


class Provenance(StrEnum):
    """How a number came about."""

    MEASURED = "measured"
    ESTIMATED = "estimated"


class Fault(StrEnum):
    """Why there is no number."""

    ABSENT = "absent"
    """The source does not exist on this machine."""
    DENIED = "permission denied"
    UNAUTHORIZED = "credentials refused"
    FIRST = "first sample of a counter"
    TOO_SOON = "too soon after the last sample"
    TOO_LATE = "too long after the last sample"
    UNCHANGED = "counter has not moved yet"
    STUCK = "counter stands still"
    RESET = "counter was reset"
    NOT_A_NUMBER = "not a number"
    NEGATIVE = "negative"
    IMPLAUSIBLE = "implausible"
    STALE = "stale"
    INACTIVE = "not active"
    ON_MAINS = "on mains"
    """A battery that rests: no trouble."""
    TIMEOUT = "timeout"
    TLS = "TLS failed"
    UNREACHABLE = "unreachable"
    THROTTLED = "asked to slow down"
    MALFORMED = "malformed answer"
    INTERNAL = "internal error"
    """A fault of ours."""

    @property
    def passing(self) -> bool:
        """Whether it belongs to a counter's ordinary life: the reading before still stands for the node."""
        return self in (Fault.FIRST, Fault.TOO_SOON, Fault.UNCHANGED)

    @property
    def worrying(self) -> bool:
        """Whether somebody should hear of it."""
        return not self.passing and self is not Fault.ON_MAINS


MOST_WATTS = 1e6
"""No node draws a megawatt; whatever says so is not a power."""


def usable(value: float) -> bool:
    """Whether a number can be a power or an energy at all."""
    return math.isfinite(value) and value >= 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Watts of one domain at one time, with what is known of their worth."""

    at_seconds: float
    """Monotonic time at which it was taken."""
    watts: float
    """Mean over `interval_seconds` for a counter, else the source's own momentary or averaged value."""
    domain: Domain
    source: str
    """Where it came from, as printed: `rapl:psys`, `redfish:PowerControl`."""
    uncertainty_ratio: float
    """Half width of the interval that holds the truth nineteen times of twenty, as a share of `watts`."""
    provenance: Provenance = Provenance.MEASURED
    joules: float | None = None
    """Energy since the meter's last good sample; only counters know it."""
    interval_seconds: float | None = None
    """The time that `joules` covers."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Watts by part (`package-0`, `dram-0`, `gpu-0`) where the source knows them."""
    note: str = ""
    """What a reader should know besides, such as why it is estimated."""

    def __post_init__(self) -> None:
        powers = (self.watts, *self.parts.values())
        seconds, joules = self.interval_seconds or 0.0, self.joules or 0.0
        possible = all(usable(watts) and watts <= MOST_WATTS for watts in powers)
        possible = possible and usable(joules) and usable(seconds) and usable(self.uncertainty_ratio)
        if not possible or joules > MOST_WATTS * seconds:
            raise ValueError(f"no reading can hold {powers} W, {joules} J in {seconds} s")


@dataclass(frozen=True, slots=True)
class Gap:
    """No number, and why."""

    at_seconds: float
    fault: Fault
    detail: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.fault}" + (f" ({self.detail})" if self.detail else "")


class Meter(Protocol):
    """One power source of one node. Reading it never raises for what the outside world may do."""

    @property
    def source(self) -> str:
        """Its name, as printed."""
        ...

    @property
    def domain(self) -> Domain:
        """What it covers when it works."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Whether it measures or estimates."""
        ...

    async def read(self) -> Reading | Gap:
        """One sample."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
