"""A laptop's own meter: while its battery discharges, what leaves it is what the whole machine draws.

On mains the battery tells nothing of the machine, and the meter says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.guards import Limits, Verdict, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.sysfs import entries, read_label, read_number

LIMITS = Limits(min_watts=0.1, max_watts=500.0)
UNCERTAINTY_RATIO = 0.05


def battery_meter(sys_root: Path, clock: Clock) -> BatteryMeter | None:
    """A meter of all system batteries together, if there is one; those of mice and keyboards do not count."""
    found = [
        path
        for path in entries(sys_root / "class" / "power_supply")
        if read_label(path / "type") == "Battery" and read_label(path / "scope") != "Device"
    ]
    return BatteryMeter(found, clock) if found else None


class BatteryMeter:
    """Power that leaves the batteries."""

    source = "battery"
    domain = Domain.WALL
    provenance = Provenance.MEASURED

    def __init__(self, batteries: Sequence[Path], clock: Clock) -> None:
        self._batteries = tuple(batteries)
        self._clock = clock

    async def read(self) -> Reading | Gap:
        """The sum of what the discharging batteries give; a gap on mains."""
        now = self._clock.monotonic()
        states = {read_label(battery / "status") for battery in self._batteries}
        if "Discharging" not in states or "Charging" in states:
            return Gap(now, Fault.ON_MAINS, "", self.source)
        watts = 0.0
        for battery in self._batteries:
            if read_label(battery / "status") == "Discharging":
                found = _watts(battery)
                if isinstance(found, Verdict):
                    return Gap(now, found.fault, found.detail, self.source)
                watts += found
        if wrong := judge_watts(watts, LIMITS):
            return Gap(now, wrong.fault, wrong.detail, self.source)
        return Reading(now, watts, self.domain, self.source, UNCERTAINTY_RATIO, note="behind the power supply")

    async def close(self) -> None:
        """Nothing is held open."""


def _watts(battery: Path) -> float | Verdict:
    """Power, or current times voltage, in the kernel's millionths. Some drivers show discharge as negative."""
    power = read_number(battery / "power_now")
    if not isinstance(power, Verdict):
        return abs(power) * 1e-6
    current, voltage = read_number(battery / "current_now"), read_number(battery / "voltage_now")
    if isinstance(current, Verdict):
        return current
    return voltage if isinstance(voltage, Verdict) else abs(current) * 1e-6 * voltage * 1e-6
