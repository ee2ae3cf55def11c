"""RAPL energy counters of Intel and AMD processors, through Linux' powercap files.

Zones are found under `class/powercap`: `intel-rapl:0` is named `package-0` (or `package-0-die-1`), its subzone
`intel-rapl:0:1` perhaps `dram`, and a zone of its own `psys`. `intel-rapl-mmio` shows the same packages a second time
and is used only where the first is missing. Core and uncore subzones are parts of their package and never added.
AMD processors appear under the same names, without dram.

`energy_uj` belongs to root since CVE-2020-8694 (PLATYPUS), so without rights every zone is a labelled gap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.guards import CounterState, Delta, Limits, Verdict, advance
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.sysfs import entries, read_label, read_number
from sparsam.hardware.warner import Warner

ZONE = re.compile(r"(?P<control>intel-rapl(?:-mmio)?):(?P<zone>\d+)(?::(?P<sub>\d+))?")

PACKAGE_LIMITS = Limits(max_watts=1_000.0)
"""Twice the largest processor sold; tight, because it tells a wrap from a reset."""
DRAM_LIMITS = Limits(max_watts=500.0)
PLATFORM_LIMITS = Limits(min_watts=0.5, max_watts=5_000.0)

UNCERTAINTY_RATIO = 0.05
"""Counters are measured, not modelled, since Haswell-EP; against reference meters they stay within a few per cent
(Hackenberg et al., "An energy efficiency feature survey of the Intel Haswell processor", 2015)."""
PLATFORM_UNCERTAINTY_RATIO = 0.1
"""What psys covers depends on the board's wiring."""

HARMLESS = (Fault.TOO_SOON, Fault.UNCHANGED)
"""Faults after which the next sample covers the whole time."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter."""

    label: str
    """`package-0`, `dram-0`, `psys`."""
    path: Path
    limits: Limits

    @property
    def optional(self) -> bool:
        """Memory may be left out of the sum, said so; a missing socket would make the sum a lie."""
        return self.label.startswith("dram")

    def read(self) -> tuple[float, float] | Verdict:
        """Raw joules, and the joules at which the counter wraps."""
        raw = read_number(self.path / "energy_uj")
        if isinstance(raw, Verdict):
            return raw
        wraps_at = read_number(self.path / "max_energy_range_uj")
        known = not isinstance(wraps_at, Verdict) and wraps_at > 0.0
        return raw * 1e-6, wraps_at * 1e-6 if known and not isinstance(wraps_at, Verdict) else float("inf")


def find_zones(sys_root: Path) -> list[Zone]:
    """All packages, their memory, and psys."""
    found: dict[str, list[tuple[str, Path, str]]] = {"intel-rapl": [], "intel-rapl-mmio": []}
    for path in entries(sys_root / "class" / "powercap"):
        match = ZONE.fullmatch(path.name)
        if match and (name := read_label(path / "name")):
            found[match["control"]].append((match["zone"], path, name))
    listed = found["intel-rapl"] or found["intel-rapl-mmio"]
    packages = {zone: name for zone, path, name in listed if name.startswith("package") and path.name.count(":") == 1}
    zones = []
    for zone, path, name in listed:
        if packages.get(zone) == name:
            zones.append(Zone(name, path, PACKAGE_LIMITS))
        elif name == "dram":
            # Its number is its package's: a server's zone order need not follow its sockets.
            zones.append(Zone(f"dram-{packages.get(zone, zone).removeprefix('package-')}", path, DRAM_LIMITS))
        elif name == "psys":
            zones.append(Zone(name, path, PLATFORM_LIMITS))
    return zones


def rapl_meters(sys_root: Path, clock: Clock, warner: Warner) -> list[RaplMeter]:
    """A meter of psys and one of packages with memory, as far as this machine has them; the wider one first."""
    zones = find_zones(sys_root)
    platform = [zone for zone in zones if zone.label == "psys"]
    processors = [zone for zone in zones if zone.label != "psys"]
    meters = [RaplMeter("rapl:psys", Domain.PLATFORM, platform, clock, warner)] if platform else []
    if any(zone.label.startswith("package") for zone in processors):
        has_dram = any(zone.optional for zone in processors)
        domain = Domain.PACKAGE_DRAM if has_dram else Domain.PACKAGE
        meters.append(RaplMeter(f"rapl:{domain}", domain, processors, clock, warner))
    return meters


class RaplMeter:
    """The sum of several counters, sampled together."""

    provenance = Provenance.MEASURED

    def __init__(self, source: str, domain: Domain, zones: Sequence[Zone], clock: Clock, warner: Warner) -> None:
        self.source = source
        self.domain = domain
        self._zones = tuple(zones)
        self._clock = clock
        self._warner = warner
        self._states: dict[str, CounterState | None] = {}

    async def read(self) -> Reading | Gap:
        """The sum of all zones' energy since the last sample; a gap if a socket cannot be believed."""
        samples = {zone: self._sample(zone) for zone in self._zones}
        verdicts = {zone: result for zone, (_, result) in samples.items() if isinstance(result, Verdict)}
        blocking = {
            zone: verdict
            for zone, verdict in verdicts.items()
            if not zone.optional or verdict.fault in (*HARMLESS, Fault.FIRST)
        }
        keep = bool(blocking) and all(verdict.fault in HARMLESS for verdict in blocking.values())
        if not keep:
            self._states.update({zone.label: state for zone, (state, _) in samples.items()})
        now = self._clock.monotonic()
        if blocking:
            return self._gap(blocking, now)
        return self._reading(samples, verdicts, now)

    async def close(self) -> None:
        """Nothing is held open."""

    def _sample(self, zone: Zone) -> tuple[CounterState | None, Delta | Verdict]:
        state = self._states.get(zone.label)
        raw = zone.read()
        if isinstance(raw, Verdict):
            # A counter that was away may come back with another history; one that was only unreadable may not.
            return None if raw.fault is Fault.ABSENT else state, raw
        return advance(state, raw[0], self._clock.monotonic(), raw[1], zone.limits)

    def _gap(self, blocking: dict[Zone, Verdict], now: float) -> Gap:
        zone, verdict = max(blocking.items(), key=lambda item: item[1].fault.worrying)
        return Gap(now, verdict.fault, f"{zone.label}: {verdict.detail}" if verdict.detail else zone.label, self.source)

    def _reading(
        self,
        samples: dict[Zone, tuple[CounterState | None, Delta | Verdict]],
        missing: dict[Zone, Verdict],
        now: float,
    ) -> Reading:
        deltas = {zone.label: result for zone, (_, result) in samples.items() if isinstance(result, Delta)}
        for zone in self._zones:
            self._tell(zone, missing.get(zone), now)
        reading = Reading(
            at_seconds=now,
            watts=sum(delta.watts for delta in deltas.values()),
            domain=self.domain,
            source=self.source,
            uncertainty_ratio=PLATFORM_UNCERTAINTY_RATIO if self.domain is Domain.PLATFORM else UNCERTAINTY_RATIO,
            joules=sum(delta.joules for delta in deltas.values()),
            interval_seconds=max(delta.seconds for delta in deltas.values()),
            parts={label: delta.watts for label, delta in deltas.items()},
        )
        if not missing:
            return reading
        left_out = ", ".join(sorted(f"{zone.label}: {verdict.fault}" for zone, verdict in missing.items()))
        return replace(reading, domain=Domain.PACKAGE, note=f"without {left_out}")

    def _tell(self, zone: Zone, verdict: Verdict | None, now: float) -> None:
        name = f"{self.source}:{zone.label}"
        if verdict is None:
            self._warner.recovered(name)
        else:
            self._warner.gap(Gap(now, verdict.fault, verdict.detail, name))
