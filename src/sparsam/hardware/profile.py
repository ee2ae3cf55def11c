"""What machine this is and how its firmware and kernel are told to trade speed for watts.

A server's performance or efficiency profile changes its power curve as much as another processor would, so a model
fitted under one must not be used under the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sparsam.hardware.guards import Verdict
from sparsam.hardware.sysfs import entries, read_label, read_text

CPU_FOLDER = re.compile(r"cpu\d+")
PERFORMANCE, BALANCED, EFFICIENCY, UNKNOWN = "performance", "balanced", "efficiency", "unknown"

BIAS_BY_PREFERENCE = {
    "performance": PERFORMANCE,
    "balance_performance": BALANCED,
    "default": BALANCED,
    "balance_power": EFFICIENCY,
    "power": EFFICIENCY,
}
"""The kernel's names for energy_performance_preference (Documentation/admin-guide/pm/intel_pstate.rst)."""
BIAS_BY_GOVERNOR = {
    "performance": PERFORMANCE,
    "powersave": EFFICIENCY,
    "schedutil": BALANCED,
    "ondemand": BALANCED,
    "conservative": EFFICIENCY,
}
DRIVERS_WITH_PREFERENCE = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
"""Under these `powersave` is the ordinary, load-following governor, and the preference decides."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Facts of the machine; what cannot be read is empty or zero."""

    cpu_name: str = ""
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    memory_bytes: int = 0
    vendor: str = ""
    product: str = ""
    bios_version: str = ""
    hypervisor: str = ""
    """Why this is taken for a virtual machine; empty on bare metal."""
    driver: str = ""
    """cpufreq's scaling driver."""
    governor: str = ""
    energy_performance_preference: str = ""
    platform_profile: str = ""
    """ACPI's own profile, as firmware offers it."""
    turbo: bool | None = None
    max_mhz: float = 0.0

    @property
    def bias(self) -> str:
        """Performance, balanced, efficiency or unknown: the one word that a model is tied to."""
        if self.driver in DRIVERS_WITH_PREFERENCE and self.governor != "performance":
            return BIAS_BY_PREFERENCE.get(self.energy_performance_preference, BALANCED)
        return BIAS_BY_GOVERNOR.get(self.governor, UNKNOWN)


def read_profile(sys_root: Path = Path("/sys"), proc_root: Path = Path("/proc")) -> Profile:
    """Read all there is; processors that disagree with each other show as `mixed`."""
    cpus = [path for path in entries(sys_root / "devices/system/cpu") if CPU_FOLDER.fullmatch(path.name)]
    cpuinfo = _cpuinfo(proc_root)
    dmi = sys_root / "class/dmi/id"
    vendor, product = read_label(dmi / "sys_vendor"), read_label(dmi / "product_name")
    pairs = {(record.get("physical id", "0"), record.get("core id", "0")) for record in cpuinfo}
    return Profile(
        cpu_name=next((record["model name"] for record in cpuinfo if "model name" in record), ""),
        sockets=len({socket for socket, _ in pairs}) if cpuinfo else 0,
        cores=len(pairs) if cpuinfo else 0,
        threads=len(cpuinfo),
        memory_bytes=_memory_bytes(proc_root),
        vendor=vendor,
        product=product,
        bios_version=read_label(dmi / "bios_version"),
        hypervisor=_hypervisor(cpuinfo, vendor, product, read_label(sys_root / "hypervisor/type")),
        driver=_common(cpus, "cpufreq/scaling_driver"),
        governor=_common(cpus, "cpufreq/scaling_governor"),
        energy_performance_preference=_common(cpus, "cpufreq/energy_performance_preference"),
        platform_profile=read_label(sys_root / "firmware/acpi/platform_profile"),
        turbo=_turbo(sys_root),
        max_mhz=_number(_common(cpus[:1], "cpufreq/cpuinfo_max_freq")) / 1000.0,
    )


def _cpuinfo(proc_root: Path) -> list[dict[str, str]]:
    try:
        text = (proc_root / "cpuinfo").read_text(errors="replace")
    except OSError:
        return []
    records = []
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        record = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in record:
            records.append(record)
    return records


def _memory_bytes(proc_root: Path) -> int:
    try:
        match = re.search(r"^MemTotal:\s+(\d+) kB", (proc_root / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else 0


def _hypervisor(cpuinfo: list[dict[str, str]], vendor: str, product: str, kind: str) -> str:
    flagged = any("hypervisor" in record.get("flags", "").split() for record in cpuinfo)
    if not flagged and not kind:
        return ""
    return kind or " ".join(filter(None, (vendor, product))) or "the processor reports a hypervisor"


def _common(cpus: list[Path], attribute: str) -> str:
    values = {text for cpu in cpus if not isinstance(text := read_text(cpu / attribute), Verdict)}
    return "mixed" if len(values) > 1 else next(iter(values), "")


def _turbo(sys_root: Path) -> bool | None:
    forbidden = read_label(sys_root / "devices/system/cpu/intel_pstate/no_turbo")
    allowed = read_label(sys_root / "devices/system/cpu/cpufreq/boost")
    if forbidden in ("0", "1"):
        return forbidden == "0"
    return allowed == "1" if allowed in ("0", "1") else None


def _number(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0
