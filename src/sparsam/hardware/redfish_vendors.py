"""Where each vendor's BMC keeps power, inlet temperature and fans: one table, and pure functions that read answers.

- Dell iDRAC: its inlet sensor has the physical context SystemBoard, so it is known by name alone. The sensor of the
  system board lies behind the supplies and shows about a tenth less than they take in. Some versions write a supply's
  rating where its input belongs.
- HPE iLO: fans in per cent; paths end in `/`; iLO 4 has the power outside of PowerControl too.
- Lenovo XCC: PowerControl lists the server and then its CPU and memory sub-systems: a sum would count them twice.
- Supermicro: PowerConsumedWatts may be null or 0 while the power supplies know what they take.
- Fujitsu iRMC: PowerControl may lack the value; `Oem.ts_fujitsu.ChassisPowerConsumption` has it.
- OpenBMC: several chassis; the Power resource may be compiled out.
- Any other: as DMTF's DSP0268 describes it.

docs/metering.md says where each fact comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sparsam.hardware.environment import Fan, plausible_fan, plausible_inlet
from sparsam.hardware.meter import Domain
from sparsam.hardware.profile import BALANCED, EFFICIENCY, PERFORMANCE, UNKNOWN
from sparsam.hardware.web import items, mapping, number

Json = Mapping[str, Any]


class Place(StrEnum):
    """A resource that may hold the node's power."""

    ENVIRONMENT = "EnvironmentMetrics"
    POWER = "Power"
    OEM = "Power/Oem"
    POWER_SUPPLIES = "Power/PowerSupplies"
    SUBSYSTEM = "PowerSubsystem"
    SENSOR = "Sensors"

    @property
    def link(self) -> str:
        """The chassis' property that leads there."""
        return str(self).partition("/")[0]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the table."""

    name: str
    marks: tuple[str, ...]
    """Any of these, in lower case, in what the service says of itself."""
    places: tuple[Place, ...]
    total_names: tuple[str, ...] = ()
    """PowerControl entries that are the whole server, by name."""
    inlet_names: tuple[str, ...] = ("inlet", "intake", "ambient")
    power_sensors: tuple[str, ...] = ()
    sensor_domain: Domain = Domain.WALL
    """What those sensors cover."""
    profile_attributes: tuple[str, ...] = ()
    """BIOS attributes that hold the energy-performance profile."""


VENDORS = (
    Vendor(
        "Dell iDRAC",
        ("dell", "idrac"),
        (Place.POWER, Place.ENVIRONMENT, Place.SENSOR),
        total_names=("system power control",),
        inlet_names=("system board inlet", "systemboardinlet", "inlet"),
        power_sensors=("SystemBoardPwrConsumption",),
        sensor_domain=Domain.PLATFORM,
        profile_attributes=("SysProfile",),
    ),
    Vendor(
        "HPE iLO",
        ("hpe", "hp", "ilo"),
        (Place.POWER, Place.ENVIRONMENT, Place.POWER_SUPPLIES),
        profile_attributes=("WorkloadProfile", "PowerRegulator"),
    ),
    Vendor(
        "Lenovo XCC",
        ("lenovo", "xcc"),
        (Place.POWER, Place.ENVIRONMENT, Place.SUBSYSTEM),
        total_names=("server power control",),
        inlet_names=("ambient", "inlet"),
        profile_attributes=("OperatingModes_ChooseOperatingMode",),
    ),
    Vendor(
        "Supermicro",
        ("supermicro", "super micro"),
        (Place.POWER, Place.POWER_SUPPLIES, Place.ENVIRONMENT, Place.SUBSYSTEM),
        inlet_names=("inlet", "system temp", "ambient"),
    ),
    Vendor("Fujitsu iRMC", ("fujitsu", "fsas", "irmc"), (Place.OEM, Place.POWER, Place.ENVIRONMENT)),
    Vendor(
        "OpenBMC",
        ("openbmc",),
        (Place.ENVIRONMENT, Place.POWER, Place.SENSOR, Place.SUBSYSTEM),
        total_names=("chassis power control",),
        power_sensors=("total_power", "power_total_power"),
    ),
)
GENERIC = Vendor(
    "generic Redfish",
    (),
    (Place.ENVIRONMENT, Place.POWER, Place.SUBSYSTEM, Place.POWER_SUPPLIES, Place.SENSOR),
    total_names=("server power control", "system power control", "chassis power control"),
    power_sensors=("total_power", "power_total_power", "TotalPower"),
)
PART_NAME = re.compile(r"cpu|processor|memory|dimm|gpu|fan|drive|storage|sub-?system", re.IGNORECASE)
"""A PowerControl entry of this name covers a part."""

EFFICIENT_PROFILE = re.compile(r"per.?watt|efficien|power.?sav|favor.?power|low.?power|green", re.IGNORECASE)
FAST_PROFILE = re.compile(r"max.*perf|perf.*optimized|high.?perf|static.?max|low.?latency|favor.?perf", re.IGNORECASE)


def profile_in(bios: Json, vendor: Vendor) -> str | None:
    """The firmware's energy-performance profile, as its maker calls it."""
    attributes = mapping(bios.get("Attributes"))
    named = (attributes.get(name) for name in vendor.profile_attributes)
    return next((value for value in named if isinstance(value, str) and value not in ("", "NotAvailable")), None)


def bias_of(profile: str) -> str:
    """Which of `profile`'s four biases a maker's word means; efficiency is asked first (PerfPerWattOptimized)."""
    if EFFICIENT_PROFILE.search(profile):
        return EFFICIENCY
    if FAST_PROFILE.search(profile):
        return PERFORMANCE
    return BALANCED if "balanced" in profile.lower() else UNKNOWN


def recognise(root: Json, chassis: Json) -> Vendor:
    """The vendor by what service root and chassis say; the first row of the table that fits."""
    said = [root.get("Vendor"), root.get("Product"), root.get("Name"), *mapping(root.get("Oem"))]
    said += [chassis.get("Manufacturer"), *mapping(chassis.get("Oem"))]
    words = {text.lower() for text in said if isinstance(text, str)}
    for vendor in VENDORS:
        for mark in vendor.marks:
            if any(re.search(rf"\b{mark}(?![a-z])", word) for word in words):
                return vendor
    return GENERIC


def power_in(place: Place, payload: Json, vendor: Vendor) -> float | None:
    """Watts in a resource that was fetched; None where it does not tell."""
    readers = {
        Place.ENVIRONMENT: lambda: number(mapping(payload.get("PowerWatts")).get("Reading")),
        Place.POWER: lambda: _power_control(payload, vendor),
        Place.OEM: lambda: _fujitsu(payload),
        Place.POWER_SUPPLIES: lambda: _supplies(payload),
        Place.SENSOR: lambda: _sensor(payload),
        Place.SUBSYSTEM: lambda: number(mapping(payload.get("InputPowerWatts")).get("Reading")),
    }
    return readers[place]()


def _power_control(payload: Json, vendor: Vendor) -> float | None:
    """The entry of the whole server: by name, else the first that is not named after a part. Never a sum."""
    entries = [
        entry for entry in items(payload.get("PowerControl")) if number(entry.get("PowerConsumedWatts")) is not None
    ]
    if not entries:
        return number(payload.get("PowerConsumedWatts"))
    names = [str(entry.get("Name") or "") for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        if name.lower() in vendor.total_names:
            return number(entry.get("PowerConsumedWatts"))
    whole = [entry for entry, name in zip(entries, names, strict=True) if not PART_NAME.search(name)]
    return number(whole[0].get("PowerConsumedWatts")) if whole else None


def _fujitsu(payload: Json) -> float | None:
    own = mapping(mapping(payload.get("Oem")).get("ts_fujitsu"))
    return number(mapping(own.get("ChassisPowerConsumption")).get("CurrentPowerConsumptionW"))


def _supplies(payload: Json) -> float | None:
    """The sum of what all fitted supplies take in; None if one of them does not tell, since it would be too small."""
    fitted = [supply for supply in items(payload.get("PowerSupplies")) if _present(supply)]
    values = [number(supply.get("PowerInputWatts")) for supply in fitted]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values) or any(map(_is_rating, fitted, known)):
        return None
    return sum(known)


def _is_rating(supply: Json, watts: float) -> bool:
    """Whether a supply's input is at or above what it can put out, as where firmware shows its rating instead."""
    ranges = [number(item.get("OutputWattage")) for item in items(supply.get("InputRanges"))]
    rated = [value for value in (number(supply.get("PowerCapacityWatts")), *ranges) if value]
    return bool(rated) and watts >= max(rated)


def _sensor(payload: Json) -> float | None:
    return number(payload.get("Reading")) if payload.get("ReadingUnits") in ("W", None) else None


def _present(resource: Json) -> bool:
    return mapping(resource.get("Status")).get("State") not in ("Absent", "Disabled", "UnavailableOffline")


def inlet_in(payload: Json, vendor: Vendor) -> tuple[float, str] | None:
    """Inlet temperature and the sensor's name, from Thermal, ThermalMetrics or EnvironmentMetrics."""
    summary = mapping(payload.get("TemperatureSummaryCelsius"))
    candidates = [(word, "Intake", number(mapping(summary.get(word)).get("Reading"))) for word in ("Intake", "Ambient")]
    candidates += [
        _named(item, "Name", "ReadingCelsius") for item in items(payload.get("Temperatures")) if _present(item)
    ]
    candidates += [_named(item, "DeviceName", "Reading") for item in items(payload.get("TemperatureReadingsCelsius"))]
    usable = [
        (name, context, value) for name, context, value in candidates if value is not None and plausible_inlet(value)
    ]
    for wanted in vendor.inlet_names:
        for name, _, value in usable:
            if wanted in name.lower():
                return value, name
    return next(((value, name) for name, context, value in usable if context == "Intake"), None)


def _named(sensor: Json, name_key: str, value_key: str) -> tuple[str, str, float | None]:
    """Name, physical context and value; a sensor without a name has one in its address."""
    name = str(sensor.get(name_key) or str(sensor.get("DataSourceUri") or "").rpartition("/")[2])
    return name, str(sensor.get("PhysicalContext") or ""), number(sensor.get(value_key))


def fans_in(payload: Json) -> tuple[Fan, ...]:
    """Fans from Thermal (whose unit is RPM or per cent) or EnvironmentMetrics (which may tell both)."""
    fans = []
    for fan in items(payload.get("Fans")):
        if _present(fan):
            name = str(fan.get("Name") or fan.get("FanName") or fan.get("MemberId") or "fan")
            speed = number(fan.get("Reading"))
            speed = number(fan.get("CurrentReading")) if speed is None else speed
            in_percent = str(fan.get("ReadingUnits") or fan.get("Units") or "RPM").lower().startswith("percent")
            fans.append(plausible_fan(name, None if in_percent else speed, speed if in_percent else None))
    for fan in items(payload.get("FanSpeedsPercent")):
        name = str(fan.get("DeviceName") or str(fan.get("DataSourceUri") or "fan").rpartition("/")[2])
        fans.append(plausible_fan(name, number(fan.get("SpeedRPM")), number(fan.get("Reading"))))
    return tuple(fan for fan in fans if fan is not None)
