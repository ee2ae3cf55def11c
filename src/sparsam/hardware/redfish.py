"""A BMC's power, inlet temperature and fans over Redfish.

Which chassis is the node, and which of its resources tells the power, is found once and remembered; from then on a
sample is one request. `redfish_vendors` knows where to look, `redfish_session` how to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.clock import Clock
from sparsam.hardware.environment import Environment
from sparsam.hardware.guards import WHOLE_NODE, Verdict, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.redfish_session import ROOT, TRANSPORT, RedfishConfig, RedfishSession
from sparsam.hardware.redfish_vendors import Place, Vendor, fans_in, inlet_in, power_in, profile_in, recognise
from sparsam.hardware.web import items, mapping, number

UNCERTAINTY_RATIO = 0.05
"""Vendors promise between one and five per cent from a fifth of the supplies' load upwards."""
MOST_CHASSIS, MOST_SUPPLIES = 32, 16
SEARCH_AGAIN_SECONDS = 60.0
"""Finding chassis and power takes dozens of requests: too many to repeat in each cycle."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Watts, and where they were."""

    watts: float
    place: Place
    chassis: str
    vendor: str
    domain: Domain


def link_of(resource: Json, name: str) -> str:
    """The address of a linked resource; empty when there is none."""
    link = mapping(resource.get(name)).get("@odata.id")
    return link if isinstance(link, str) else ""


class RedfishMeter:
    """One node's BMC."""

    source = "redfish"
    domain = Domain.WALL
    provenance = Provenance.MEASURED

    def __init__(self, config: RedfishConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._session = RedfishSession(config, clock)
        self._vendor: Vendor | None = None
        self._chassis: list[Json] = []
        self._place: Place | None = None
        self._sensor_path = ""
        self._latest: Reading | Gap | None = None

    async def read(self) -> Reading | Gap:
        """A fresh sample, or the last one while it is younger than the configured interval."""
        now = self._clock.monotonic()
        latest = self._latest
        if latest is None or now - latest.at_seconds >= self._keep_seconds(latest):
            found = await self._power()
            self._latest = latest = self._judge(found, self._clock.monotonic())
        return latest

    async def environment(self) -> Environment | Gap:
        """Inlet temperature and fans."""
        wrong = await self._discover()
        for chassis in self._chassis:
            found = await self._environment_of(chassis)
            if isinstance(found, Environment):
                return found
            wrong = found
        wrong = wrong or Verdict(Fault.ABSENT, "no thermal resource")
        return Gap(self._clock.monotonic(), wrong.fault, wrong.detail, self.source)

    async def firmware_profile(self) -> str | Gap:
        """The BIOS' energy-performance profile, as its maker calls it (`bias_of` says what it means)."""
        wrong = await self._discover()
        vendor, systems = self._vendor, {system for chassis in self._chassis for system in _systems(chassis)}
        if vendor is not None and len(systems) == 1:
            found = await self._profile_of(systems.pop(), vendor)
            if isinstance(found, str):
                return found
            wrong = found
        wrong = wrong or Verdict(Fault.ABSENT, "no BIOS resource")
        return Gap(self._clock.monotonic(), wrong.fault, wrong.detail, self.source)

    async def close(self) -> None:
        """Sign out."""
        await self._session.close()

    def _keep_seconds(self, latest: Reading | Gap) -> float:
        searching = isinstance(latest, Gap) and self._vendor is None and latest.fault not in TRANSPORT
        return SEARCH_AGAIN_SECONDS if searching else self._config.min_interval_seconds

    def _judge(self, found: Found | Verdict, now: float) -> Reading | Gap:
        if isinstance(found, Verdict):
            return Gap(now, found.fault, found.detail, self.source)
        return Reading(
            at_seconds=now,
            watts=found.watts,
            domain=found.domain,
            source=f"{self.source}:{found.place}",
            uncertainty_ratio=UNCERTAINTY_RATIO,
            note=f"{found.vendor}, chassis {found.chassis}",
        )

    async def _power(self) -> Found | Verdict:
        if wrong := await self._discover():
            return wrong
        assert self._vendor is not None
        verdict = Verdict(Fault.ABSENT, f"no power in {', '.join(self._vendor.places)}")
        for chassis in self._chassis:
            found = await self._power_of(chassis, self._vendor)
            if isinstance(found, Found):
                # The next sample goes straight to where this one was.
                self._chassis, self._place = [chassis], found.place
                return found
            verdict = found
            if verdict.fault in TRANSPORT:
                return verdict
        if verdict.fault is Fault.ABSENT:
            self._vendor = None
        return verdict

    async def _power_of(self, chassis: Json, vendor: Vendor) -> Found | Verdict:
        """The first place that holds a believable number; else the most telling refusal."""
        verdict = Verdict(Fault.ABSENT, f"no power in {', '.join(vendor.places)}")
        fetched: dict[str, Json | Verdict] = {}
        places = sorted(vendor.places, key=lambda place: place is not self._place)
        for place in places:
            if place.link not in fetched:
                fetched[place.link] = await self._fetch(place, chassis, vendor)
            payload = fetched[place.link]
            if isinstance(payload, Verdict):
                if payload.fault in TRANSPORT:
                    return payload
                verdict = payload if payload.fault is not Fault.ABSENT else verdict
                continue
            watts = power_in(place, payload, vendor)
            if watts is None:
                continue
            if wrong := judge_watts(watts, WHOLE_NODE):
                verdict = Verdict(wrong.fault, f"{place}: {wrong.detail}")
                continue
            domain = vendor.sensor_domain if place is Place.SENSOR else self.domain
            return Found(watts, place, str(chassis.get("Id") or ""), vendor.name, domain)
        return verdict

    async def _fetch(self, place: Place, chassis: Json, vendor: Vendor) -> Json | Verdict:
        link = link_of(chassis, place.link)
        if not link:
            return Verdict(Fault.ABSENT)
        if place is Place.SENSOR:
            return await self._fetch_sensor(link, vendor)
        if place is Place.SUBSYSTEM:
            return await self._fetch_supplies(link)
        return await self._session.get(link)

    async def _fetch_sensor(self, link: str, vendor: Vendor) -> Json | Verdict:
        """The sensor of the whole node, found by the end of its address in the collection."""
        if not self._sensor_path:
            collection = await self._session.get(link)
            if isinstance(collection, Verdict):
                return collection
            paths = [str(member.get("@odata.id") or "") for member in items(collection.get("Members"))]
            named = [path for path in paths if path.rpartition("/")[2] in vendor.power_sensors]
            if not named:
                return Verdict(Fault.ABSENT, "no sensor of the whole node")
            self._sensor_path = named[0]
        return await self._session.get(self._sensor_path)

    async def _fetch_supplies(self, link: str) -> Json | Verdict:
        """The sum of what all power supplies take in, in the form of one EnvironmentMetrics-like number."""
        subsystem = await self._session.get(link)
        if isinstance(subsystem, Verdict):
            return subsystem
        collection = await self._session.get(link_of(subsystem, "PowerSupplies") or f"{link}/PowerSupplies")
        if isinstance(collection, Verdict):
            return collection
        total = 0.0
        members = items(collection.get("Members"))[:MOST_SUPPLIES]
        for member in members:
            supply = await self._session.get(str(member.get("@odata.id") or ""))
            if isinstance(supply, Verdict):
                return supply
            if mapping(supply.get("Status")).get("State") == "Absent":
                continue
            metrics = await self._session.get(link_of(supply, "Metrics"))
            if isinstance(metrics, Verdict):
                return metrics
            watts = number(mapping(metrics.get("InputPowerWatts")).get("Reading"))
            if watts is None:
                return Verdict(Fault.ABSENT, "a power supply does not tell its input")
            total += watts
        return {"InputPowerWatts": {"Reading": total}} if members else Verdict(Fault.ABSENT, "no power supplies")

    async def _environment_of(self, chassis: Json) -> Environment | Verdict:
        assert self._vendor is not None
        payloads: list[Json] = []
        verdict = Verdict(Fault.ABSENT, "no thermal resource")
        thermal = link_of(chassis, "Thermal")
        links = [thermal] if thermal else await self._thermal_links(chassis)
        for link in links:
            payload = await self._session.get(link)
            if isinstance(payload, Verdict):
                verdict = payload
            else:
                payloads.append(payload)
        if not payloads:
            return verdict
        inlets = [found for payload in payloads if (found := inlet_in(payload, self._vendor))]
        fans = tuple(fan for payload in payloads for fan in fans_in(payload))
        celsius, name = inlets[0] if inlets else (None, "")
        return Environment(self.source, celsius, name, fans)

    async def _thermal_links(self, chassis: Json) -> list[str]:
        """Where newer services keep what Thermal held: metrics for temperatures, the environment for fans."""
        links = []
        if subsystem_link := link_of(chassis, "ThermalSubsystem"):
            subsystem = await self._session.get(subsystem_link)
            if not isinstance(subsystem, Verdict):
                links.append(link_of(subsystem, "ThermalMetrics"))
        links.append(link_of(chassis, "EnvironmentMetrics"))
        return [link for link in links if link]

    async def _profile_of(self, system_link: str, vendor: Vendor) -> str | Verdict:
        system = await self._session.get(system_link)
        if isinstance(system, Verdict):
            return system
        link = link_of(system, "Bios")
        bios = await self._session.get(link) if link else Verdict(Fault.ABSENT, "no BIOS resource")
        if isinstance(bios, Verdict):
            return bios
        return profile_in(bios, vendor) or Verdict(Fault.ABSENT, f"no profile among {vendor.name}'s BIOS attributes")

    async def _discover(self) -> Verdict | None:
        """Find vendor and chassis, unless they are known."""
        if self._vendor is not None:
            return None
        root = await self._session.get(ROOT)
        if isinstance(root, Verdict):
            return root
        collection = await self._session.get(link_of(root, "Chassis"))
        if isinstance(collection, Verdict):
            return collection
        found: list[Json] = []
        for member in items(collection.get("Members"))[:MOST_CHASSIS]:
            chassis = await self._session.get(str(member.get("@odata.id") or ""))
            if isinstance(chassis, Verdict) and chassis.fault in TRANSPORT:
                return chassis
            if not isinstance(chassis, Verdict):
                found.append(chassis)
        chosen = choose_chassis(found, self._config.chassis)
        if isinstance(chosen, Verdict):
            return chosen
        self._chassis, self._place, self._sensor_path = chosen, None, ""
        self._vendor = recognise(root, chosen[0])
        return None


def choose_chassis(found: list[Json], wanted: str) -> list[Json] | Verdict:
    """Chassis that may stand for the node, likeliest first.

    One that holds a computer system goes before a shelf, which shows the power of all its nodes. Several chassis
    with different systems are several nodes, and guessing among them would bill one node for another.
    """
    if wanted:
        named = [chassis for chassis in found if chassis.get("Id") == wanted]
        ids = ", ".join(str(chassis.get("Id")) for chassis in found)
        return named or Verdict(Fault.ABSENT, f"no chassis {wanted!r} among {ids or 'none'}")
    holding = [chassis for chassis in found if _systems(chassis)]
    if len({systems for chassis in holding if (systems := _systems(chassis))}) > 1:
        ids = ", ".join(str(chassis.get("Id")) for chassis in holding)
        return Verdict(Fault.MALFORMED, f"several nodes behind one service; name the chassis, one of {ids}")
    if not found:
        return Verdict(Fault.ABSENT, "the service shows no chassis")
    powered = ("Power", "EnvironmentMetrics", "PowerSubsystem", "Sensors")
    return sorted(holding or found, key=lambda chassis: not any(link_of(chassis, name) for name in powered))


def _systems(chassis: Json) -> frozenset[str]:
    links = items(mapping(chassis.get("Links")).get("ComputerSystems"))
    return frozenset(str(link.get("@odata.id") or "") for link in links)
