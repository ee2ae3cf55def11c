"""What surrounds the watts: inlet temperature and fans, since both move a server's power at the same load."""

from __future__ import annotations

from dataclasses import dataclass

COLDEST_CELSIUS, HOTTEST_CELSIUS = -20.0, 70.0
"""Air that goes into a server; outside of this a sensor is broken or is not one of air."""
FASTEST_RPM = 60_000.0


@dataclass(frozen=True, slots=True)
class Fan:
    """One fan; firmware tells its speed in revolutions, in per cent of its fastest, or both."""

    name: str
    rpm: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Inlet temperature and fans as far as a source knows them."""

    source: str
    inlet_celsius: float | None = None
    inlet_sensor: str = ""
    fans: tuple[Fan, ...] = ()


def plausible_inlet(celsius: float) -> bool:
    """Whether air of that temperature may go into a server. Not a number is no temperature."""
    return COLDEST_CELSIUS <= celsius <= HOTTEST_CELSIUS


def plausible_fan(name: str, rpm: float | None, percent: float | None) -> Fan | None:
    """A fan whose numbers can be; None when nothing of it can."""
    kept_rpm = rpm if rpm is not None and 0.0 <= rpm <= FASTEST_RPM else None
    kept_ratio = percent / 100.0 if percent is not None and 0.0 <= percent <= 100.0 else None
    return None if kept_rpm is None and kept_ratio is None else Fan(name, kept_rpm, kept_ratio)
