"""The building around the servers: air, cooling, losses, price and carbon. Pure; temperatures in degrees Celsius.

Racks stand in a row. What leaves the rack behind warms a little of what enters in front: a linear recirculation of
heat, as in Tang, Gupta and Varsamopoulos, "Energy-efficient thermal-aware task scheduling for homogeneous
high-performance computing data centers", IEEE TPDS 19 (2008), here falling off with distance. The cooling plant's
coefficient of performance is a share of Carnot's between the chilled and the outside air; at 20 degrees supplied and 30
outside it is 3.3, where the plant of Moore, Chase, Ranganathan and Sharma ("Making scheduling cool", USENIX ATC 2005)
has 3.2 by their curve 0.0068 T^2 + 0.0008 T + 0.458. Coefficients are assumptions unless a file states them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.units import JOULES_PER_KWH

KELVIN = 273.15
APPROACH_KELVIN = 10.0
"""Between the air and the refrigerant, on either side."""
LAG_SECONDS = 300.0
"""Of the air behind the heat."""
HOUR = 3600.0
DAY_HOURS = 24.0

NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Steps = tuple[tuple[float, float], ...]
"""(hour, value from then on), ascending from hour 0; after the last day they hold on."""


class BadFacility(ValueError):
    """What cannot be used, with its place."""


class Facility(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a file states of a building."""

    supply_celsius: Annotated[float, msgspec.Meta(ge=5.0, le=40.0)] = 20.0
    recirculation_kelvin_per_kw: NotNegative = 0.3
    """How much a rack's own heat warms the air that enters it."""
    neighbour_ratio: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.4
    """Share of that for the next rack, and again for each one farther."""
    outside_celsius: float | Steps = 12.0
    outside_swing_kelvin: NotNegative = 5.0
    """How far a day moves around the mean, warmest at 15 h."""
    carnot_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.35
    free_cooling_cop: Annotated[float, msgspec.Meta(gt=0.0)] = 15.0
    """Where the outside air is cold enough to do the work, fans and pumps are left."""
    loss_ratio: NotNegative = 0.08
    """What the power supply of the building loses, as a share of what servers draw."""
    price_per_kwh: float | Steps = 0.25
    currency: str = "EUR"
    carbon_grams_per_kwh: float | Steps = 350.0

    def cop(self, outside: float) -> float:
        """Heat moved for each joule that the cooling plant takes."""
        supply = self.supply_celsius
        lift = outside + APPROACH_KELVIN - (supply - APPROACH_KELVIN)
        cold = supply - APPROACH_KELVIN + KELVIN
        return min(self.carnot_ratio * cold / lift, self.free_cooling_cop) if lift > 0.0 else self.free_cooling_cop

    def outside(self, seconds: float) -> float:
        """Temperature of the air outside."""
        hour = seconds / HOUR
        swing = self.outside_swing_kelvin * math.cos(2.0 * math.pi * (hour - 15.0) / DAY_HOURS)
        return _at(self.outside_celsius, hour) + swing

    def recirculation(self, racks: int) -> Floats:
        """Kelvin at each rack's inlet for each watt of each rack, shape (racks, racks)."""
        distance = np.abs(np.subtract.outer(np.arange(racks), np.arange(racks)))
        return np.asarray(self.recirculation_kelvin_per_kw / 1000.0 * self.neighbour_ratio**distance)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a building took."""

    server_joules: float
    loss_joules: float
    cooling_joules: float
    cost: float
    """In the facility's currency."""
    carbon_grams: float
    hottest_celsius: float
    """Highest temperature at any rack's inlet."""

    @property
    def joules(self) -> float:
        """All of it."""
        return self.server_joules + self.loss_joules + self.cooling_joules

    @property
    def pue(self) -> float:
        """Power usage effectiveness (ISO/IEC 30134-2) over the whole time; NaN if the servers took nothing."""
        return self.joules / self.server_joules if self.server_joules else math.nan


class Building:
    """A facility in time: follows the heat of its racks and adds up what it takes."""

    def __init__(self, facility: Facility, rack_of: Ints) -> None:
        """`rack_of` is the rack of each node, from 0."""
        self._facility, self._rack_of = facility, rack_of
        self._racks = int(rack_of.max(initial=-1)) + 1
        self._matrix = facility.recirculation(self._racks)
        self._rack_celsius: Floats = np.full(self._racks, facility.supply_celsius)
        self._since = self._counted = 0.0
        self._losses = self._cooling = self._cost = self._carbon = 0.0
        self._hottest = facility.supply_celsius

    def inlets(self, watts: Floats, now: float) -> Floats:
        """Inlet temperature of each node now, if the nodes draw so much from now on."""
        heat = np.bincount(self._rack_of, watts, self._racks)
        settled = self._facility.supply_celsius + self._matrix @ heat
        left = math.exp(-(now - self._since) / LAG_SECONDS)
        self._rack_celsius = settled + (self._rack_celsius - settled) * left
        self._since = now
        self._hottest = max(self._hottest, float(self._rack_celsius.max(initial=-math.inf)))
        return np.asarray(self._rack_celsius[self._rack_of])

    def count(self, server_joules: float, start: float, end: float) -> None:
        """Servers took so much between two moments."""
        facility, hour = self._facility, start / HOUR
        losses = facility.loss_ratio * server_joules
        cooling = (server_joules + losses) / facility.cop(facility.outside((start + end) / 2.0))
        kwh = (server_joules + losses + cooling) / JOULES_PER_KWH
        self._counted += server_joules
        self._losses += losses
        self._cooling += cooling
        self._cost += kwh * _at(facility.price_per_kwh, hour)
        self._carbon += kwh * _at(facility.carbon_grams_per_kwh, hour)

    def bill(self) -> Bill:
        """Up to now."""
        return Bill(self._counted, self._losses, self._cooling, self._cost, self._carbon, self._hottest)


def parse_facility(document: Any, file: str) -> Facility:
    """A facility from a YAML or JSON document; raises BadFacility with the field."""
    try:
        facility = msgspec.convert(document, Facility)
    except msgspec.ValidationError as error:
        why, _, field = str(error).partition(" - at `$")
        raise BadFacility(f"{file}: {field.strip('.`') or 'the document'}: {why}") from error
    for name in ("outside_celsius", "price_per_kwh", "carbon_grams_per_kwh"):
        _check(getattr(facility, name), f"{file}: {_camel(name)}")
    return facility


def _check(series: float | Steps, where: str) -> None:
    steps = series if isinstance(series, tuple) else ((0.0, series),)
    if not steps or steps[0][0] != 0.0:
        raise BadFacility(f"{where}: steps begin at hour 0")
    for number, ((before, _), (hour, _)) in enumerate(pairwise(steps), 1):
        if not before < hour:
            raise BadFacility(f"{where}[{number}]: hour {hour:g} does not come after {before:g}")
    if not all(math.isfinite(number) for step in steps for number in step):
        raise BadFacility(f"{where}: not a number")


def _at(series: float | Steps, hour: float) -> float:
    """The value that holds at an hour; a day's steps come again each day, longer ones once."""
    if not isinstance(series, tuple):
        return series
    if series[-1][0] < DAY_HOURS:
        hour %= DAY_HOURS
    place = int(np.searchsorted([step[0] for step in series], hour, side="right")) - 1
    return series[max(place, 0)][1]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)
