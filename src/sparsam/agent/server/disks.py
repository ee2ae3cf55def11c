"""What pods' volumes and logs take on the disk, measured when asked for and kept for a minute, as upstream does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sparsam.agent.config import AgentConfig
from sparsam.agent.diskuse import TreeUse, VolumeUse, tree_use
from sparsam.agent.podspec import Obj
from sparsam.agent.references import claim_of

KEPT_SECONDS = 60.0
_MEASURED = ("emptyDir", "configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, slots=True)
class PodDisk:
    """One pod's volumes, and the logs of its containers."""

    volumes: Mapping[str, VolumeUse] = field(default_factory=dict)
    logs: Mapping[str, TreeUse] = field(default_factory=dict)
    files: int = 0
    """Bytes of its emptyDir volumes on disk, which count as ephemeral storage."""


class Disks:
    """Keeps the last measurement of each pod."""

    def __init__(self, config: AgentConfig, driver_usage: Callable[[str], Awaitable[Mapping[str, VolumeUse]]]) -> None:
        """`driver_usage` gives what storage drivers say of a pod's volumes, by the name of a volume's folder."""
        self._config, self._driver_usage = config, driver_usage
        self._known: dict[str, tuple[float, PodDisk]] = {}

    async def now(self, pods: Iterable[Obj]) -> dict[str, PodDisk]:
        """By pod uid, at most a minute old."""
        wanted, moment = {pod["metadata"]["uid"]: pod for pod in pods}, time.monotonic()
        self._known = {uid: known for uid, known in self._known.items() if uid in wanted}
        due = [pod for uid, pod in wanted.items() if moment - self._known.get(uid, (-1e9,))[0] > KEPT_SECONDS]
        if due:
            told = await asyncio.gather(*(self._driver_usage(each["metadata"]["uid"]) for each in due))
            measured = await asyncio.to_thread(lambda: [self._measure(*each) for each in zip(due, told, strict=True)])
            for pod, disk in zip(due, measured, strict=True):
                self._known[pod["metadata"]["uid"]] = (moment, disk)
        return {uid: disk for uid, (_, disk) in self._known.items()}

    def _measure(self, pod: Obj, told: Mapping[str, VolumeUse]) -> PodDisk:
        metadata = pod["metadata"]
        root = self._config.pods_dir / metadata["uid"] / "volumes"
        logs = self._config.logs_dir / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
        volumes, files = {}, 0
        for volume in pod["spec"].get("volumes") or ():
            claim = claim_of(metadata["name"], volume) or ""
            known = told.get(_folder(root / volume["name"]))
            if not known and not claim and not any(kind in volume for kind in _MEASURED):
                continue
            use = replace(known, claim=claim) if known else volume_use(root / volume["name"], claim)
            if use is None:
                continue
            volumes[volume["name"]] = use
            if "emptyDir" in volume and (volume["emptyDir"] or {}).get("medium") != "Memory":
                files += use.used_bytes
        try:
            names = [entry.name for entry in logs.iterdir()]
        except OSError:
            names = []
        return PodDisk(volumes, {name: tree_use(logs / name) for name in names}, files)


def _folder(volume: Path) -> str:
    """The name by which a driver's volume is known on the node: a volume of a pod is a link into its folder."""
    try:
        target = volume.readlink()
    except OSError:
        return ""
    return target.parent.name if target.name == "mount" else target.name


def volume_use(path: Path, claim: str = "") -> VolumeUse | None:
    """A volume's room: of a claim, all of its file system; else what the tree takes. None where there is none."""
    try:
        room = os.statvfs(path)
    except OSError:
        return None
    capacity, used_inodes = room.f_blocks * room.f_frsize, room.f_files - room.f_ffree
    tree = TreeUse(capacity - room.f_bfree * room.f_frsize, used_inodes) if claim else tree_use(path)
    return VolumeUse(
        capacity_bytes=capacity,
        available_bytes=room.f_bavail * room.f_frsize,
        used_bytes=tree.bytes,
        inodes=room.f_files,
        inodes_free=room.f_ffree,
        inodes_used=tree.inodes,
        claim=claim,
    )
