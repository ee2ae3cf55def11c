"""What is used, at a moment: read from the kernel and the engine, when somebody asks and not before."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparsam.agent.cgroups import Cgroups
from sparsam.agent.config import AgentConfig
from sparsam.agent.podspec import Obj, uses_host_network
from sparsam.agent.registry import PodRegistry
from sparsam.agent.resources import qos_class
from sparsam.agent.runtime import CONTAINER_NAME, POD_UID, RuntimeFault
from sparsam.agent.server.engine import container_stats, image_file_systems
from sparsam.agent.server.groups import (
    NANOSECONDS,
    Interface,
    Usage,
    first_process,
    node_usage,
    pairs,
    read_group,
    read_interfaces,
    read_meminfo,
)

_FRESH_NANOSECONDS = 1 * NANOSECONDS
"""Askers within this time share one look."""
_STALE_NANOSECONDS = 60 * NANOSECONDS
"""A rate over longer than this says little about now."""
_QUICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Room on the node's file system."""

    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class Processes:
    """Process numbers: how many there may be and how many are in use."""

    limit: int = 0
    running: int = 0


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
    swap_bytes: int = 0
    swap_free_bytes: int = 0
    processes: Processes = Processes()
    images_bytes: int = 0
    images_inodes: int = 0
    agent: Usage | None = None
    """This very process."""
    interfaces: tuple[Interface, ...] = ()
    """The node's own."""
    pod_interfaces: Mapping[str, tuple[Interface, ...]] = field(default_factory=dict)
    """By pod uid; pods on the node's network have none of their own."""
    pod_paths: Mapping[str, str] = field(default_factory=dict)
    """Control groups by pod uid."""
    sandboxes: Mapping[str, str] = field(default_factory=dict)
    """Sandbox ids by pod uid."""


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
            stats = await container_stats(self._registry.cri)
            images = await image_file_systems(self._registry.cri)
        except RuntimeFault:
            return self._observe([], [], complete=False)
        return self._observe(stats, images, complete=True)

    def _observe(self, stats: list[Any], images: list[Any], *, complete: bool) -> Snapshot:
        memory, pods = read_meminfo(Path("/proc/meminfo").read_text()), list(self._registry.pods())
        paths = {pod["metadata"]["uid"]: self._path(pod) for pod in pods}
        sandboxes = self._registry.sandbox_ids()
        containers = {_key(each): self._container(each, paths) for each in stats if _key(each)[0] in paths}
        return Snapshot(
            time_nanoseconds=time.time_ns(),
            node=node_usage(Path("/proc/stat").read_text(), memory, time.time_ns(), pairs(Path("/proc/vmstat"))),
            memory_bytes=memory["MemTotal"],
            swap_bytes=memory.get("SwapTotal", 0),
            swap_free_bytes=memory.get("SwapFree", 0),
            file_system=_file_system(self._config.data_dir),
            processes=_processes(),
            images_bytes=sum(each.used_bytes.value for each in images),
            images_inodes=sum(each.inodes_used.value for each in images),
            agent=_own_use(),
            interfaces=read_interfaces("self"),
            pod_interfaces={
                pod["metadata"]["uid"]: self._interfaces(paths[pod["metadata"]["uid"]], sandboxes, pod) for pod in pods
            },
            pods={pod["metadata"]["uid"]: self._pod(paths[pod["metadata"]["uid"]], pod, containers) for pod in pods},
            containers=containers,
            complete=complete,
            pod_paths=paths,
            sandboxes=sandboxes,
        )

    def _path(self, pod: Obj) -> str:
        qos = (pod.get("status") or {}).get("qosClass") or qos_class(pod)
        return self._cgroups.pod_path(qos, pod["metadata"]["uid"])

    def _interfaces(self, path: str, sandboxes: Mapping[str, str], pod: Obj) -> tuple[Interface, ...]:
        sandbox = sandboxes.get(pod["metadata"]["uid"])
        if sandbox is None or uses_host_network(pod):
            return ()
        pid = first_process(f"{path}/{sandbox}", unified=self._cgroups.unified)
        return read_interfaces(pid) if pid is not None else ()

    def _container(self, stats: Any, paths: Mapping[str, str]) -> Usage:
        """The kernel's books where they can be found, else the engine's words; a layer only the engine knows."""
        layer = {
            "layer_bytes": stats.writable_layer.used_bytes.value,
            "layer_inodes": stats.writable_layer.inodes_used.value,
            "run_id": stats.attributes.id,
        }
        path = f"{paths[_key(stats)[0]]}/{stats.attributes.id}"
        usage = read_group(path, unified=self._cgroups.unified) or _container_usage(stats)
        return replace(usage, **layer)

    def _pod(self, path: str, pod: Obj, containers: dict[tuple[str, str], Usage]) -> Usage:
        usage = read_group(path, unified=self._cgroups.unified)
        if usage is not None:
            return usage
        mine = [usage for (owner, _), usage in containers.items() if owner == pod["metadata"]["uid"]]
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
    )


def _own_use() -> Usage:
    """What this process took so far."""
    times, pages = os.times(), Path("/proc/self/statm").read_text().split()
    resident = int(pages[1]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(
        time_nanoseconds=time.time_ns(),
        cpu_nanoseconds=round((times.user + times.system) * NANOSECONDS),
        memory_usage_bytes=resident,
        memory_working_set_bytes=resident,
        memory_rss_bytes=resident,
    )


def _processes() -> Processes:
    limit = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    running = Path("/proc/loadavg").read_text().split()[3].partition("/")[2]
    return Processes(limit, int(running or 0))


def _file_system(path: Path) -> FileSystem:
    found = os.statvfs(path)
    return FileSystem(
        capacity_bytes=found.f_blocks * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
    )
