"""Power, temperature and fan sensors of the kernel's hwmon class.

Which chip means what is one table: an ACPI power meter (`power_meter`) and the input side of PMBus power supplies
(labels `pin...`) show the node at its feed; `amdgpu` shows a card. Any other power sensor is a rail somewhere on the
board: it never stands for the node. Drivers talk to slow buses, so files are read in a thread, one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.environment import Environment, Fan, plausible_fan, plausible_inlet
from sparsam.hardware.guards import WHOLE_NODE, Limits, Verdict, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.slow import SlowRead
from sparsam.hardware.sysfs import entries, read_label, read_number

POWER = re.compile(r"power(\d+)_(average|input)")
TEMPERATURE = re.compile(r"temp(\d+)_input")
FAN = re.compile(r"fan(\d+)_input")
INLET = re.compile(r"inlet|intake|ambient|front.?panel", re.IGNORECASE)
ACCURACY = re.compile(r"(\d+(?:\.\d+)?)\s*%")

UNCERTAINTY_RATIO = 0.05
"""Where the driver does not say: what makers of power supplies promise from a fifth of the load upwards."""
CARD_LIMITS = Limits(max_watts=2_000.0)
READ_SECONDS = 2.0
HOTTEST_CHIP_CELSIUS = 150.0
"""Beyond this a sensor is broken."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """One power attribute of one chip."""

    label: str
    path: Path
    uncertainty_ratio: float

    def read(self) -> float | Verdict:
        """Watts; the kernel's unit is the microwatt."""
        value = read_number(self.path)
        return value if isinstance(value, Verdict) else value * 1e-6


def hwmon_meters(sys_root: Path, clock: Clock) -> list[HwmonMeter]:
    """A meter for each kind of source that this machine has; those of the whole node first."""
    acpi, supplies, cards = [], [], []
    for chip in _chips(sys_root):
        name = read_label(chip / "name") or read_label(chip.parent / "name")
        for sensor, label in _power_sensors(chip, name):
            if name == "power_meter":
                acpi.append(sensor)
            elif label.startswith("pin"):
                supplies.append(sensor)
            elif name == "amdgpu":
                cards.append(sensor)
    found = [
        ("hwmon:acpi power meter", Domain.WALL, acpi[:1], WHOLE_NODE),
        ("hwmon:power supplies", Domain.WALL, supplies, WHOLE_NODE),
        ("hwmon:amdgpu", Domain.GPU, cards, CARD_LIMITS),
    ]
    return [HwmonMeter(source, domain, sensors, limits, clock) for source, domain, sensors, limits in found if sensors]


def _chips(sys_root: Path) -> list[Path]:
    """Folders with attributes: of the class device, or of its parent for drivers of the old kind."""
    folders = []
    for chip in entries(sys_root / "class" / "hwmon"):
        folders += [folder for folder in (chip, chip / "device") if folder.is_dir()]
    return folders


def _power_sensors(chip: Path, name: str) -> list[tuple[Sensor, str]]:
    """The chip's power attributes, the averaged one where both exist; each with its kernel label."""
    by_index: dict[str, Path] = {}
    for path in entries(chip):
        match = POWER.fullmatch(path.name)
        if match and (match[2] == "average" or match[1] not in by_index):
            by_index[match[1]] = path
    found = []
    for index, path in by_index.items():
        label = read_label(chip / f"power{index}_label").lower()
        accuracy = ACCURACY.match(read_label(chip / f"power{index}_accuracy"))
        known = accuracy is not None and 0.0 < float(accuracy[1]) < 100.0
        ratio = 1.0 - float(accuracy[1]) / 100.0 if known and accuracy else UNCERTAINTY_RATIO
        chip_id = chip.parent.name if chip.name == "device" else chip.name
        found.append((Sensor(f"{name or 'chip'}-{chip_id}-{label or index}", path, ratio), label))
    return found


class HwmonMeter:
    """The sum of power sensors that belong together: the supplies of one node, the cards of one node."""

    provenance = Provenance.MEASURED

    def __init__(self, source: str, domain: Domain, sensors: Sequence[Sensor], limits: Limits, clock: Clock) -> None:
        self.source = source
        self.domain = domain
        self._sensors = tuple(sensors)
        self._limits = limits
        self._clock = clock
        self._samples = SlowRead(self._sample, READ_SECONDS)

    async def read(self) -> Reading | Gap:
        """One sample of all sensors; a gap if any cannot be read, since the sum would be too small."""
        values = await self._samples()
        now = self._clock.monotonic()
        if values is None:
            return Gap(now, Fault.TIMEOUT, f"a driver does not answer within {READ_SECONDS:g} s", self.source)
        return self._reading(values, now)

    async def close(self) -> None:
        """Forget a read that hangs in the kernel; it cannot be ended."""
        self._samples.close()

    def _sample(self) -> list[float | Verdict]:
        return [sensor.read() for sensor in self._sensors]

    def _reading(self, values: list[float | Verdict], now: float) -> Reading | Gap:
        parts: dict[str, float] = {}
        for sensor, value in zip(self._sensors, values, strict=True):
            # A supply in stand-by rightly draws nothing, so the lower limit is for the sum.
            if isinstance(value, Verdict):
                return self._gap(value, sensor.label, now)
            if wrong := judge_watts(value, Limits(0.0, self._limits.max_watts)):
                return self._gap(wrong, sensor.label, now)
            parts[sensor.label] = value
        watts = sum(parts.values())
        if wrong := judge_watts(watts, self._limits):
            return self._gap(wrong, "sum", now)
        return Reading(
            at_seconds=now,
            watts=watts,
            domain=self.domain,
            source=self.source,
            uncertainty_ratio=max(sensor.uncertainty_ratio for sensor in self._sensors),
            parts=parts,
        )

    def _gap(self, verdict: Verdict, label: str, now: float) -> Gap:
        return Gap(now, verdict.fault, f"{label}: {verdict.detail}", self.source)


def read_environment(sys_root: Path) -> Environment:
    """Inlet temperature, where a sensor is labelled as one, and all fans that turn or stand."""
    inlet: tuple[float, str] | None = None
    fans: list[Fan] = []
    for chip in _chips(sys_root):
        name = read_label(chip / "name") or read_label(chip.parent / "name", "chip")
        for path in entries(chip):
            if match := TEMPERATURE.fullmatch(path.name):
                label = read_label(chip / f"temp{match[1]}_label")
                celsius = read_number(path)
                if INLET.search(label) and not isinstance(celsius, Verdict) and plausible_inlet(celsius / 1000.0):
                    inlet = inlet or (celsius / 1000.0, f"{name} {label}")
            elif match := FAN.fullmatch(path.name):
                rpm = read_number(path)
                label = read_label(chip / f"fan{match[1]}_label", f"fan{match[1]}")
                fan = None if isinstance(rpm, Verdict) else plausible_fan(f"{name} {label}", rpm, None)
                fans += [fan] if fan else []
    return Environment("hwmon", inlet[0] if inlet else None, inlet[1] if inlet else "", tuple(fans))


def hottest_celsius(sys_root: Path) -> float | None:
    """The highest temperature that any chip or thermal zone shows; None where none shows one that can be."""
    paths = [path for chip in _chips(sys_root) for path in entries(chip) if TEMPERATURE.fullmatch(path.name)]
    paths += [zone / "temp" for zone in entries(sys_root / "class" / "thermal")]
    readings = (read_number(path) for path in paths)
    celsius = (value / 1000.0 for value in readings if not isinstance(value, Verdict))
    return max((value for value in celsius if 0.0 < value < HOTTEST_CHIP_CELSIUS), default=None)
