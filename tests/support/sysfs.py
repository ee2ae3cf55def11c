"""A sysfs tree in a folder: RAPL zones, hwmon chips and CPU facts whose numbers a test moves as a kernel would."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsam.clock import SystemClock

SERVER_RANGE_UJ = 262_143_328_850
"""The range of a Xeon package's counter."""


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Root's rights laid down for a while, so that a refusal is the kernel's own."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


class SteppedClock(SystemClock):
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """The time as the test set it."""
        return self.seconds


@dataclass(eq=False)
class FakeZone:
    """One energy counter, which wraps where a kernel's would."""

    path: Path
    range_uj: int
    raw_uj: int

    def draw(self, watts: float, seconds: float) -> None:
        """Count energy on, wrapping at the range."""
        self.set((self.raw_uj + round(watts * seconds * 1e6)) % self.range_uj)

    def set(self, raw_uj: int) -> None:
        """Show this number from now on."""
        self.raw_uj = raw_uj
        self.write(str(raw_uj))

    def write(self, text: str) -> None:
        """Show this text, sense or nonsense."""
        (self.path / "energy_uj").write_text(text + "\n")


class FakeSysfs:
    """The tree; `root` stands for /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> Path:
        """One attribute."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, as the kernel's are: somebody reads meanwhile.
        fresh = target.with_name(f".{target.name}")
        fresh.write_text(f"{text}\n")
        return fresh.replace(target)

    def zone(self, where: str, name: str, *, raw_uj: int = 1_000_000, range_uj: int = SERVER_RANGE_UJ) -> FakeZone:
        """A RAPL zone such as ("intel-rapl:0", "package-0")."""
        self.write(f"class/powercap/{where}/name", name)
        self.write(f"class/powercap/{where}/max_energy_range_uj", range_uj)
        zone = FakeZone(self.root / "class/powercap" / where, range_uj, raw_uj)
        zone.set(raw_uj)
        return zone

    def two_sockets(self) -> dict[str, FakeZone]:
        """A server with two packages, memory, cores and the mmio twins."""
        zones = {}
        for socket in range(2):
            zones[f"package-{socket}"] = self.zone(f"intel-rapl:{socket}", f"package-{socket}")
            zones[f"core-{socket}"] = self.zone(f"intel-rapl:{socket}:0", "core")
            zones[f"dram-{socket}"] = self.zone(f"intel-rapl:{socket}:1", "dram", range_uj=65_712_999_613)
            zones[f"mmio-{socket}"] = self.zone(f"intel-rapl-mmio:{socket}", f"package-{socket}")
        return zones

    def chip(self, index: int, name: str, **attributes: object) -> Path:
        """A hwmon chip with attributes such as power1_average=123000000."""
        for attribute, value in attributes.items():
            self.write(f"class/hwmon/hwmon{index}/{attribute}", value)
        return self.write(f"class/hwmon/hwmon{index}/name", name).parent
