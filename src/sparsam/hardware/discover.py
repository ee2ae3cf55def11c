"""Which power sources this machine has, and for each that it lacks the reason.

Found once, at the start. A source that is there but does not work is a meter that yields gaps, not an absence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.battery import battery_meter
from sparsam.hardware.gpu import LIBRARY, nvml_meter
from sparsam.hardware.hwmon import hwmon_meters
from sparsam.hardware.ipmi import IpmiConfig, IpmiMeter
from sparsam.hardware.meter import Fault, Gap, Meter
from sparsam.hardware.profile import Profile, read_profile
from sparsam.hardware.rapl import rapl_meters
from sparsam.hardware.warner import Warner

IPMI_DEVICES = ("ipmi0", "ipmi/0", "ipmidev/0")


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel shows itself; in a container these are mounts of the machine's own."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


@dataclass(frozen=True, slots=True)
class Local:
    """What was found."""

    profile: Profile
    meters: tuple[Meter, ...]
    gaps: tuple[Gap, ...]
    """Kinds of sources that this machine does not have."""


def find_local(
    clock: Clock, warner: Warner, *, roots: Roots | None = None, nvml_library: str = LIBRARY, ipmi: bool = True
) -> Local:
    """Look for RAPL, hwmon, a laptop's battery, a BMC on the local bus and NVIDIA cards."""
    roots = roots or Roots()
    now = clock.monotonic()
    rapl, hwmon = rapl_meters(roots.sys, clock, warner), hwmon_meters(roots.sys, clock)
    meters: list[Meter] = [*hwmon, *rapl]
    if battery := battery_meter(roots.sys, clock):
        meters.append(battery)
    gaps: list[Gap] = []
    if not rapl:
        gaps.append(Gap(now, Fault.ABSENT, "no package or psys zone under class/powercap", "rapl"))
    if not hwmon:
        gaps.append(Gap(now, Fault.ABSENT, "no power meter, power supply or card under class/hwmon", "hwmon"))
    if ipmi and any((roots.dev / name).exists() for name in IPMI_DEVICES):
        meters.append(IpmiMeter(IpmiConfig(), clock))
    elif ipmi:
        gaps.append(Gap(now, Fault.ABSENT, "no /dev/ipmi0", IpmiMeter.source))
    cards = nvml_meter(clock, nvml_library)
    if isinstance(cards, Gap):
        gaps.append(cards)
    else:
        meters.append(cards)
    return Local(read_profile(roots.sys, roots.proc), tuple(meters), tuple(gaps))
