"""What control groups, interfaces and the machine have used, read from the kernel's files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sparsam.agent.cgroups import CGROUP_ROOT

NANOSECONDS = 10**9
_TICK_NANOSECONDS = NANOSECONDS // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of one node, pod or container. What the kernel does not tell is zero."""

    time_nanoseconds: int
    cpu_nanoseconds: int
    """Cumulative."""
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    layer_bytes: int | None = None
    """Size of a container's writable layer."""
    layer_inodes: int = 0
    cpu_user_nanoseconds: int = 0
    cpu_system_nanoseconds: int = 0
    periods: int = 0
    """Enforcement periods of the CPU limit, and how many of them and how long it held the group back."""
    throttled_periods: int = 0
    throttled_nanoseconds: int = 0
    memory_cache_bytes: int = 0
    memory_peak_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    processes: int = 0
    run_id: str = ""
    """Of a container: which run."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Counters of a network interface since it was made."""

    name: str
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


def node_usage(stat: str, memory: dict[str, int], now_nanoseconds: int, vmstat: dict[str, int] | None = None) -> Usage:
    """The whole machine's use, from the texts of `/proc/stat` and `/proc/meminfo`, and counters of `/proc/vmstat`."""
    words = [int(word) for word in stat.split("\n", 1)[0].split()[1:9]]
    # Fields 4 and 5 are idle and iowait; everything else up to steal is work.
    busy_ticks = sum(words) - words[3] - words[4]
    used = memory["MemTotal"] - memory["MemFree"]
    faults = vmstat or {}
    return Usage(
        time_nanoseconds=now_nanoseconds,
        cpu_nanoseconds=busy_ticks * _TICK_NANOSECONDS,
        cpu_user_nanoseconds=(words[0] + words[1]) * _TICK_NANOSECONDS,
        cpu_system_nanoseconds=words[2] * _TICK_NANOSECONDS,
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - memory.get("Inactive(file)", 0)),
        memory_rss_bytes=memory.get("AnonPages", 0),
        memory_cache_bytes=memory.get("Cached", 0),
        page_faults=faults.get("pgfault", 0),
        major_page_faults=faults.get("pgmajfault", 0),
    )


def read_meminfo(text: str) -> dict[str, int]:
    """Sizes in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def read_group(path: str, *, unified: bool, root: Path = CGROUP_ROOT) -> Usage | None:
    """A control group's use; None when there is no such group."""
    name = path.lstrip("/")
    try:
        return _read_v2(root / name) if unified else _read_v1(root, name)
    except (OSError, ValueError, KeyError):
        return None


def first_process(path: str, *, unified: bool, root: Path = CGROUP_ROOT) -> int | None:
    """Some process of a group, or None."""
    base = root if unified else root / "memory"
    try:
        return int((base / path.lstrip("/") / "cgroup.procs").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def read_interfaces(pid: int | str, proc: Path = Path("/proc")) -> tuple[Interface, ...]:
    """Interfaces of a process' network namespace, loopback aside; none when it has ended."""
    try:
        text = (proc / str(pid) / "net" / "dev").read_text()
    except OSError:
        return ()
    return parse_interfaces(text)


def parse_interfaces(text: str) -> tuple[Interface, ...]:
    """`/proc/PID/net/dev`, loopback aside."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        words = [int(word) for word in rest.split()]
        if name.strip() != "lo" and len(words) >= 12:
            found.append(Interface(name.strip(), *words[:4], *words[8:12]))
    return tuple(found)


def _read_v1(root: Path, name: str) -> Usage:
    cpu, memory = root / "cpuacct" / name, root / "memory" / name
    stat = pairs(memory / "memory.stat")
    used = int((memory / "memory.usage_in_bytes").read_text())
    times, limits = _maybe_pairs(cpu / "cpuacct.stat"), _maybe_pairs(root / "cpu" / name / "cpu.stat")
    return Usage(
        time_nanoseconds=time.time_ns(),
        cpu_nanoseconds=int((cpu / "cpuacct.usage").read_text()),
        cpu_user_nanoseconds=times.get("user", 0) * _TICK_NANOSECONDS,
        cpu_system_nanoseconds=times.get("system", 0) * _TICK_NANOSECONDS,
        periods=limits.get("nr_periods", 0),
        throttled_periods=limits.get("nr_throttled", 0),
        throttled_nanoseconds=limits.get("throttled_time", 0),
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - stat.get("total_inactive_file", 0)),
        memory_rss_bytes=stat.get("total_rss", 0),
        memory_cache_bytes=stat.get("total_cache", 0),
        memory_peak_bytes=_number(memory / "memory.max_usage_in_bytes"),
        page_faults=stat.get("total_pgfault", 0),
        major_page_faults=stat.get("total_pgmajfault", 0),
        processes=_number(root / "pids" / name / "pids.current"),
    )


def _read_v2(group: Path) -> Usage:
    stat, cpu = pairs(group / "memory.stat"), pairs(group / "cpu.stat")
    used = int((group / "memory.current").read_text())
    return Usage(
        time_nanoseconds=time.time_ns(),
        cpu_nanoseconds=cpu["usage_usec"] * 1000,
        cpu_user_nanoseconds=cpu.get("user_usec", 0) * 1000,
        cpu_system_nanoseconds=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_nanoseconds=cpu.get("throttled_usec", 0) * 1000,
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - stat.get("inactive_file", 0)),
        memory_rss_bytes=stat.get("anon", 0),
        memory_cache_bytes=stat.get("file", 0),
        memory_peak_bytes=_number(group / "memory.peak"),
        page_faults=stat.get("pgfault", 0),
        major_page_faults=stat.get("pgmajfault", 0),
        processes=_number(group / "pids.current"),
    )


def pairs(path: Path) -> dict[str, int]:
    """A file of names and numbers; raises OSError."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def _maybe_pairs(path: Path) -> dict[str, int]:
    try:
        return pairs(path)
    except OSError:
        return {}


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
