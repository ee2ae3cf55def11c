"""What is used, at a moment: read from the kernel and the engine, when somebody asks and not before."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsam.agent.cgroups import CGROUP_ROOT, Cgroups
from sparsam.agent.config import AgentConfig
from sparsam.agent.podspec import Obj
from sparsam.agent.registry import PodRegistry
from sparsam.agent.resources import qos_class
from sparsam.agent.runtime import CONTAINER_NAME, POD_UID, RuntimeFault
from sparsam.agent.server.engine import container_stats

_NANOSECONDS = 10**9
_FRESH_NANOSECONDS = 1 * _NANOSECONDS
"""Askers within this time share one look."""
_STALE_NANOSECONDS = 60 * _NANOSECONDS
"""A rate over longer than this says little about now."""
_QUICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of one node, pod or container."""

    time_nanoseconds: int
    cpu_nanoseconds: int
    """Cumulative."""
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    layer_bytes: int | None = None
    """Size of a container's writable layer."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Room on the node's file system."""

    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment; containers by pod uid and name."""

    time_nanoseconds: int
    node: Usage
    memory_bytes: int
    file_system: FileSystem
    pods: dict[str, Usage] = field(default_factory=dict)
    containers: dict[tuple[str, str], Usage] = field(default_factory=dict)
    complete: bool = True
    """False when the engine did not answer."""


class Sampler:
    """Keeps the last two snapshots, so that the next asker gets a rate at once."""

    def __init__(self, config: AgentConfig, registry: PodRegistry) -> None:
        self._config = config
        self._registry = registry
        self._cgroups = Cgroups(config.cgroup_base)
        self._older: Snapshot | None = None
        self._newer: Snapshot | None = None
        self._lock = asyncio.Lock()

    async def now(self) -> Snapshot:
        """A snapshot, at most a second old."""
        async with self._lock:
            return await self._look()

    async def pair(self) -> tuple[Snapshot, Snapshot]:
        """An earlier and a present snapshot to take rates from; the very first pair takes half a second."""
        async with self._lock:
            newer = await self._look()
            if self._older is None or newer.time_nanoseconds - self._older.time_nanoseconds > _STALE_NANOSECONDS:
                await asyncio.sleep(_QUICK_SECONDS)
                self._older, self._newer = newer, await self._take()
            assert self._older is not None and self._newer is not None
            return self._older, self._newer

    async def _look(self) -> Snapshot:
        newer = self._newer
        if newer is None or time.time_ns() - newer.time_nanoseconds > _FRESH_NANOSECONDS:
            self._older, self._newer = newer, await self._take()
        assert self._newer is not None
        return self._newer

    async def _take(self) -> Snapshot:
        try:
            containers = {_key(stats): _container_usage(stats) for stats in await container_stats(self._registry.cri)}
        except RuntimeFault:
            return self._observe({}, complete=False)
        return self._observe(containers, complete=True)

    def _observe(self, containers: dict[tuple[str, str], Usage], *, complete: bool) -> Snapshot:
        memory = read_meminfo(Path("/proc/meminfo").read_text())
        return Snapshot(
            time_nanoseconds=time.time_ns(),
            node=node_usage(Path("/proc/stat").read_text(), memory, time.time_ns()),
            memory_bytes=memory["MemTotal"],
            file_system=_file_system(self._config.data_dir),
            pods={pod["metadata"]["uid"]: self._pod(pod, containers) for pod in self._registry.pods()},
            containers=containers,
            complete=complete,
        )

    def _pod(self, pod: Obj, containers: dict[tuple[str, str], Usage]) -> Usage:
        uid = pod["metadata"]["uid"]
        path = self._cgroups.pod_path((pod.get("status") or {}).get("qosClass") or qos_class(pod), uid)
        usage = read_group(path, unified=self._cgroups.unified)
        if usage is not None:
            return usage
        mine = [usage for (owner, _), usage in containers.items() if owner == uid]
        return Usage(
            time_nanoseconds=time.time_ns(),
            cpu_nanoseconds=sum(each.cpu_nanoseconds for each in mine),
            memory_usage_bytes=sum(each.memory_usage_bytes for each in mine),
            memory_working_set_bytes=sum(each.memory_working_set_bytes for each in mine),
            memory_rss_bytes=sum(each.memory_rss_bytes for each in mine),
        )


def _key(stats: Any) -> tuple[str, str]:
    labels = stats.attributes.labels
    return labels.get(POD_UID, ""), labels.get(CONTAINER_NAME, "")


def _container_usage(stats: Any) -> Usage:
    """The engine's words on a container; what it does not know is zero."""
    working_set = stats.memory.working_set_bytes.value
    return Usage(
        time_nanoseconds=stats.cpu.timestamp or time.time_ns(),
        cpu_nanoseconds=stats.cpu.usage_core_nano_seconds.value,
        memory_usage_bytes=stats.memory.usage_bytes.value or working_set,
        memory_working_set_bytes=working_set,
        memory_rss_bytes=stats.memory.rss_bytes.value,
        layer_bytes=stats.writable_layer.used_bytes.value,
    )


def node_usage(stat: str, memory: dict[str, int], now_nanoseconds: int) -> Usage:
    """The whole machine's use, from the texts of `/proc/stat` and `/proc/meminfo`."""
    words = [int(word) for word in stat.split("\n", 1)[0].split()[1:9]]
    # Fields 4 and 5 are idle and iowait; everything else up to steal is work.
    busy_ticks = sum(words) - words[3] - words[4]
    used = memory["MemTotal"] - memory["MemFree"]
    return Usage(
        time_nanoseconds=now_nanoseconds,
        cpu_nanoseconds=busy_ticks * (_NANOSECONDS // os.sysconf("SC_CLK_TCK")),
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - memory.get("Inactive(file)", 0)),
        memory_rss_bytes=memory.get("AnonPages", 0),
    )


def read_meminfo(text: str) -> dict[str, int]:
    """Sizes in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def read_group(path: str, *, unified: bool, root: Path = CGROUP_ROOT) -> Usage | None:
    """A control group's use; None when there is no such group."""
    name = path.lstrip("/")
    try:
        if unified:
            return _read_v2(root / name)
        return _read_v1(root / "cpuacct" / name, root / "memory" / name)
    except (OSError, ValueError, KeyError):
        return None


def _read_v1(cpu: Path, memory: Path) -> Usage:
    stat = _pairs(memory / "memory.stat")
    used = int((memory / "memory.usage_in_bytes").read_text())
    return Usage(
        time_nanoseconds=time.time_ns(),
        cpu_nanoseconds=int((cpu / "cpuacct.usage").read_text()),
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - stat.get("total_inactive_file", 0)),
        memory_rss_bytes=stat.get("total_rss", 0),
    )


def _read_v2(group: Path) -> Usage:
    stat = _pairs(group / "memory.stat")
    used = int((group / "memory.current").read_text())
    return Usage(
        time_nanoseconds=time.time_ns(),
        cpu_nanoseconds=_pairs(group / "cpu.stat")["usage_usec"] * 1000,
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - stat.get("inactive_file", 0)),
        memory_rss_bytes=stat.get("anon", 0),
    )


def _pairs(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def _file_system(path: Path) -> FileSystem:
    found = os.statvfs(path)
    return FileSystem(
        capacity_bytes=found.f_blocks * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
    )
