"""What the kernel says about the machine under a node: size, identity, room left."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that hold until the next boot."""

    cpus: int
    memory_bytes: int
    ephemeral_bytes: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    hugepages_2mi_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What is left right now."""

    memory_available_bytes: int
    disk_available_ratio: float
    pids_available_ratio: float


def read_machine(data_dir: Path) -> Machine:
    """Read the facts; `data_dir` says which file system pods write to."""
    memory = _meminfo()
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=memory["MemTotal"],
        ephemeral_bytes=shutil.disk_usage(data_dir).total,
        machine_id=_read("/etc/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_image(),
        hugepages_2mi_bytes=int(_read("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") or 0) << 21,
    )


def read_room(data_dir: Path) -> Room:
    """Read what is left."""
    usage = shutil.disk_usage(data_dir)
    running = int(_read("/proc/loadavg").split()[3].partition("/")[2] or 0)
    limit = int(_read("/proc/sys/kernel/pid_max") or 32768)
    return Room(_meminfo()["MemAvailable"], usage.free / usage.total, 1 - running / limit)


def _meminfo() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
