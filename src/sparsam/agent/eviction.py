"""Which pod goes when the node runs short, and which pods used more disk than they may. Pure.

Source: upstream's node-pressure eviction (order of victims, messages); KEP-361 (local ephemeral storage).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sparsam.agent.machine import Room
from sparsam.agent.manifests import is_static
from sparsam.agent.podspec import Obj, all_containers, is_terminal, main_containers
from sparsam.scheduling.demand import effective_requests
from sparsam.units import parse_bytes

MEMORY, DISK, PIDS = "MemoryPressure", "DiskPressure", "PIDPressure"
TERMINATED = "Terminated"
EVICTED = "Evicted"
CRITICAL_PRIORITY = 2_000_000_000
_RESOURCES = {MEMORY: "memory", DISK: "ephemeral-storage", PIDS: "pids"}


@dataclass(frozen=True, slots=True)
class Floors:
    """What must stay free on a node; below that pods are evicted. The disk's is lower than upstream's 10 %."""

    memory_bytes: int = 100 << 20
    disk_ratio: float = 0.05
    pids_ratio: float = 0.05


@dataclass(frozen=True, slots=True)
class Pressure:
    """A resource that the node is short of: the node's condition, and both amounts as upstream writes them."""

    condition: str
    threshold: str
    available: str

    @property
    def resource(self) -> str:
        """The resource's name."""
        return _RESOURCES[self.condition]


@dataclass(frozen=True, slots=True)
class PodUse:
    """What a pod uses now; containers' memory by name."""

    pod: Obj
    memory_bytes: int = 0
    disk_bytes: int = 0
    processes: int = 0
    containers: Mapping[str, int] = field(default_factory=dict)


def pressures(room: Room, floors: Floors) -> list[Pressure]:
    """What the node is short of, memory first."""
    found = []
    if room.memory_available_bytes < floors.memory_bytes:
        found.append(Pressure(MEMORY, f"{floors.memory_bytes >> 20}Mi", f"{room.memory_available_bytes >> 10}Ki"))
    for condition, ratio, floor in (
        (DISK, room.disk_available_ratio, floors.disk_ratio),
        (PIDS, room.pids_available_ratio, floors.pids_ratio),
    ):
        if ratio < floor:
            found.append(Pressure(condition, f"{floor:.0%}", f"{ratio:.1%}"))
    return found


def victim(pressure: Pressure, uses: Iterable[PodUse]) -> PodUse | None:
    """Who goes first: above its request before below, low priority before high, then the largest excess."""
    candidates = [use for use in uses if may_go(use.pod)]
    return min(candidates, key=lambda use: _rank(pressure, use), default=None)


def may_go(pod: Obj) -> bool:
    """Whether a pod may be evicted: not ended, not leaving, not critical. Static pods are the node's own."""
    critical = is_static(pod) or (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY
    return not (is_terminal(pod) or critical or "deletionTimestamp" in pod["metadata"])


def _rank(pressure: Pressure, use: PodUse) -> tuple[bool, int, int]:
    requests, priority = effective_requests(use.pod["spec"]), use.pod["spec"].get("priority") or 0
    if pressure.condition == PIDS:
        return False, priority, -use.processes
    amount = use.memory_bytes if pressure.condition == MEMORY else use.disk_bytes
    excess = amount - requests.get(pressure.resource, 0)
    return excess <= 0, priority, -excess


def eviction_message(pressure: Pressure, use: PodUse) -> str:
    """Upstream's words, with the containers that use more memory than they asked for."""
    text = (
        f"The node was low on resource: {pressure.resource}. "
        f"Threshold quantity: {pressure.threshold}, available: {pressure.available}. "
    )
    if pressure.condition != MEMORY:
        return text
    for spec in main_containers(use.pod):
        request = ((spec.get("resources") or {}).get("requests") or {}).get("memory", "0")
        used = use.containers.get(spec["name"], 0)
        if used > parse_bytes(request):
            text += (
                f"Container {spec['name']} was using {used >> 10}Ki, request is {request}, "
                "has larger consumption of memory. "
            )
    return text


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a pod has written, in bytes: by emptyDir volume, by container (its layer and logs)."""

    volumes: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, int] = field(default_factory=dict)


def is_limited(pod: Obj) -> bool:
    """Whether a pod's use of the disk has any limit."""
    return bool(_volume_limits(pod)) or any(_disk_limit(spec) is not None for spec in all_containers(pod))


def over_limit(pod: Obj, use: DiskUse) -> str | None:
    """Which limit on the disk a pod exceeds, in upstream's words."""
    for name, (most, text) in _volume_limits(pod).items():
        if use.volumes.get(name, 0) > most:
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{text}". '
    specs: Sequence[Obj] = main_containers(pod)
    limits = [_disk_limit(spec) for spec in specs]
    total = sum(use.containers.values()) + sum(use.volumes.values())
    if limits and all(limit is not None for limit in limits):
        allowed = sum(limit[0] for limit in limits if limit is not None)
        if total > allowed:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {_sum_text(limits)}. "
    for spec, limit in zip(specs, limits, strict=True):
        if limit is not None and use.containers.get(spec["name"], 0) > limit[0]:
            return f'Container {spec["name"]} exceeded its local ephemeral storage limit "{limit[1]}". '
    return None


def _sum_text(limits: Sequence[tuple[int, str] | None]) -> str:
    stated = [limit for limit in limits if limit is not None]
    return stated[0][1] if len(stated) == 1 else str(sum(amount for amount, _ in stated))


def _volume_limits(pod: Obj) -> dict[str, tuple[int, str]]:
    """SizeLimit of emptyDir volumes on disk; those in memory are held by the kernel."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("sizeLimit") and source.get("medium") != "Memory":
            found[volume["name"]] = (parse_bytes(source["sizeLimit"]), str(source["sizeLimit"]))
    return found


def _disk_limit(spec: Obj) -> tuple[int, str] | None:
    text = ((spec.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
    return None if text is None else (parse_bytes(text), str(text))
