"""Keeps the node alive when it runs short: removes unused images, then evicts pods, one at a time.

Decisions are those of `eviction` and `imagegc`; this file measures and acts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sparsam.agent.ballast import Ballast
from sparsam.agent.cgroups import CGROUP_ROOT
from sparsam.agent.diskuse import disk_usage
from sparsam.agent.eviction import (
    DISK,
    DiskUse,
    PodUse,
    Pressure,
    eviction_message,
    is_limited,
    may_go,
    over_limit,
    pressures,
    victim,
)
from sparsam.agent.imagegc import ImageAges, bytes_to_free
from sparsam.agent.images import PAUSE_IMAGE
from sparsam.agent.machine import Machine, Room, read_room
from sparsam.agent.node_context import NodeContext
from sparsam.agent.operations import end_processes
from sparsam.agent.pods import Pods
from sparsam.agent.podspec import Obj, container_spec
from sparsam.agent.pulling import normalized
from sparsam.agent.resources import qos_class
from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.server.usage import Sampler, Snapshot
from sparsam.agent.starting import log_directory

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
_IMAGE_ROUNDS = 6
"""Images in use are looked at once in so many rounds."""
_SETTLE_SECONDS = 5.0


@dataclass(slots=True)
class Evictor:
    """The node's last line; `room` may be replaced by what a test says."""

    node: NodeContext
    pods: Pods
    machine: Machine
    sampler: Sampler
    room: Callable[[Path], Room] = read_room
    tell: Callable[[Iterable[str]], None] = lambda _: None
    """Hears which conditions the node has: relief may be so quick that nobody else sees them."""
    _ages: ImageAges = field(default_factory=ImageAges)
    _round: int = 0

    @property
    def _ballast(self) -> Ballast:
        return Ballast(self.node.config.data_dir / "ballast")

    async def run(self) -> None:
        """Look every ten seconds until cancelled."""
        while True:
            try:
                await self.look()
            except (OSError, RuntimeFault) as error:
                log.warning("pressure not looked at error=%s", error)
            await asyncio.sleep(CHECK_SECONDS)

    async def look(self) -> None:
        """One round."""
        await self._enforce_limits()
        room = self.room(self.node.config.data_dir)
        found = pressures(room, self.node.config.floors)
        self.tell([each.condition for each in found])
        self._round += 1
        if any(each.condition == DISK for each in found):
            try:
                await self._collect_images(self.machine.ephemeral_bytes)
            except RuntimeFault as error:  # an engine without room for its own books: then pods must go
                log.warning("images not removed error=%s", error)
            found = pressures(self.room(self.node.config.data_dir), self.node.config.floors)
        elif self._round % _IMAGE_ROUNDS == 1:
            await self._collect_images(bytes_to_free(1 - room.disk_available_ratio, self.machine.ephemeral_bytes))
        if found:
            await self._relieve(found[0])
        else:
            self._ballast.take()

    async def _relieve(self, pressure: Pressure) -> None:
        """Evict one pod, and give that time to show."""
        uses = await self._uses()
        chosen = victim(pressure, uses)
        if chosen is None:
            log.warning("node is short but no pod may go condition=%s", pressure.condition)
            return
        self._evict(chosen.pod, eviction_message(pressure, chosen))
        if pressure.condition == DISK and self._ballast.is_needed():
            end_processes(self.node, chosen.pod["metadata"]["uid"])  # or they would fill what is given back, too
            self._ballast.drop()
        await asyncio.sleep(_SETTLE_SECONDS)

    def _evict(self, pod: Obj, message: str) -> None:
        worker = self.pods.find(pod["metadata"]["namespace"], pod["metadata"]["name"])
        if worker is not None:
            log.warning("evicted pod=%s/%s why=%s", pod["metadata"]["namespace"], pod["metadata"]["name"], message)
            worker.evict(message)

    # -- limits on the disk ---------------------------------------------------------------------------------

    async def _enforce_limits(self) -> None:
        limited = [pod for pod in self.pods.all() if is_limited(pod) and may_go(pod)]
        if not limited:
            return
        snapshot = await self.sampler.now()
        for pod in limited:
            use = await asyncio.to_thread(self._disk_use, pod, snapshot)
            message = over_limit(pod, use)
            if message is not None:
                self._evict(pod, message)

    def _disk_use(self, pod: Obj, snapshot: Snapshot) -> DiskUse:
        uid, config = pod["metadata"]["uid"], self.node.config
        volumes = {
            volume["name"]: disk_usage(config.pods_dir / uid / "volumes" / volume["name"])
            for volume in pod["spec"].get("volumes") or ()
            if "emptyDir" in volume and (volume["emptyDir"] or {}).get("medium") != "Memory"
        }
        logs = log_directory(self.node, pod)
        containers = {
            name: (usage.layer_bytes or 0) + disk_usage(logs / name)
            for (owner, name), usage in snapshot.containers.items()
            if owner == uid and container_spec(pod, name) is not None
        }
        return DiskUse(volumes, containers)

    # -- what is used ---------------------------------------------------------------------------------------

    async def _uses(self) -> list[PodUse]:
        snapshot, found = await self.sampler.now(), []
        for pod in self.pods.all():
            uid = pod["metadata"]["uid"]
            group = self.node.cgroups.pod_path((pod.get("status") or {}).get("qosClass") or qos_class(pod), uid)
            disk = await asyncio.to_thread(self._disk_use, pod, snapshot)
            mine = {name: usage for (owner, name), usage in snapshot.containers.items() if owner == uid}
            found.append(
                PodUse(
                    pod,
                    memory_bytes=snapshot.pods[uid].memory_working_set_bytes if uid in snapshot.pods else 0,
                    disk_bytes=sum(disk.volumes.values()) + sum(disk.containers.values()),
                    processes=_processes(group, self.node.cgroups.unified),
                    containers={name: usage.memory_working_set_bytes for name, usage in mine.items()},
                )
            )
        return found

    # -- images ---------------------------------------------------------------------------------------------

    async def _collect_images(self, wanted_bytes: int) -> None:
        """Remove unused images until so much is free; with nothing wanted only note which are in use."""
        cri, now = self.node.cri, self.node.now()
        images = [image for image in await cri.list_images() if PAUSE_IMAGE not in image.tags]
        in_use = {image.id for image in images if await self._is_used(image.id, image.tags)}
        self._ages.look(images, in_use, now)
        for image in self._ages.unused(images, in_use, now):
            if wanted_bytes <= 0:
                return
            log.info("removed unused image id=%s tags=%s", image.id, ",".join(image.tags))
            await cri.remove_image(image.id)
            wanted_bytes -= image.size_bytes

    async def _is_used(self, image_id: str, tags: tuple[str, ...]) -> bool:
        names = {image_id, *tags}
        for pod in self.pods.all():
            worker = self.pods.find(pod["metadata"]["namespace"], pod["metadata"]["name"])
            if worker is not None and any({run.image, run.image_id} & names for run in worker.view.containers):
                return True
            mounted = (volume["image"] for volume in pod["spec"].get("volumes") or () if "image" in volume)
            if any(source.get("reference") and normalized(source["reference"]) in names for source in mounted):
                return True
        return False


def _processes(group: str, unified: bool) -> int:
    base = CGROUP_ROOT if unified else CGROUP_ROOT / "pids"
    try:
        return int((base / group.lstrip("/") / "pids.current").read_text())
    except (OSError, ValueError):
        return 0
