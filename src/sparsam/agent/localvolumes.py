"""The node's part in volumes on its directories: makes them, deletes them when released, tells how much room there is.

Level-triggered from the node's own PersistentVolumes: whatever was missed or cut short is done the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import aiohttp

from sparsam.agent.config import AgentConfig
from sparsam.agent.directories import delete_directory, make_directory
from sparsam.agent.podspec import Obj
from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.client.informer import Informer
from sparsam.client.queue import WorkQueue
from sparsam.errors import AlreadyExists, NotFound, SparsamError
from sparsam.objects.kinds import CSISTORAGECAPACITIES, NODES, PERSISTENTVOLUMES, STORAGECLASSES
from sparsam.objects.localvolumes import (
    FINALIZER,
    MADE_ANNOTATION,
    NODE_LABEL,
    PROVISIONER,
    deletes_data,
    is_given_up,
    is_ours,
)
from sparsam.units import parse_bytes

log = logging.getLogger(__name__)

_NAMESPACE = "kube-system"
_LOOK_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_STEPS = 128
"""Room is told in this many steps of the whole, so that a few written files cause no write to the API."""


class LocalVolumes:
    """Of one node."""

    def __init__(self, config: AgentConfig, client: ApiClient, recorder: EventRecorder) -> None:
        self._name, self._root, self._client, self._recorder = config.node_name, config.volumes_dir, client, recorder
        self._volumes = Informer(client, PERSISTENTVOLUMES, label_selector=f"{NODE_LABEL}={config.node_name}")
        self._classes = Informer(client, STORAGECLASSES)
        self._queue: WorkQueue[str] = WorkQueue("local volumes")
        self._changed = asyncio.Event()
        self._told: dict[str, str] | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._volumes.add_handler(self._on_volume)
        self._classes.add_handler(lambda *_: self._changed.set())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._volumes.run(), name="local volumes")
            group.create_task(self._classes.run(), name="storage classes")
            group.create_task(self._queue.run(self._sync, workers=2), name="local volume workers")
            group.create_task(self._keep_capacity(), name="local capacity")

    def _on_volume(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        self._changed.set()
        volume = new or old
        if volume is not None:
            self._queue.add(volume["metadata"]["name"])

    async def _sync(self, name: str) -> None:
        volume = self._volumes.get("", name)
        if volume is None or not is_ours(volume) or FINALIZER not in (volume["metadata"].get("finalizers") or ()):
            return
        if is_given_up(volume):
            await self._give_up(volume)
        elif needs_directory(volume):
            await asyncio.to_thread(make_directory, self._root, checked_name(volume, self._root))
            patch = {"metadata": {"annotations": {MADE_ANNOTATION: "true"}, "uid": volume["metadata"]["uid"]}}
            with contextlib.suppress(NotFound):
                await self._client.patch(PERSISTENTVOLUMES, name, patch)

    async def _give_up(self, volume: Obj) -> None:
        """Data, then object, then our hold on it: stopped in between, the rest is done next time."""
        metadata = volume["metadata"]
        if deletes_data(volume):
            try:
                name = checked_name(volume, self._root)
                await asyncio.to_thread(delete_directory, self._root, name)
            except OSError as error:
                self._recorder.event(volume, "Warning", "VolumeFailedDelete", str(error))
                raise SparsamError(f"volume not deleted: {error}") from error
            log.info("volume deleted volume=%s", metadata["name"])
        with contextlib.suppress(NotFound):
            if "deletionTimestamp" not in metadata:
                await self._client.delete(PERSISTENTVOLUMES, metadata["name"], uid=metadata["uid"])
            current = await self._client.get(PERSISTENTVOLUMES, metadata["name"])
            kept = [each for each in current["metadata"].get("finalizers") or () if each != FINALIZER]
            await self._client.update(
                PERSISTENTVOLUMES, {**current, "metadata": current["metadata"] | {"finalizers": kept}}
            )

    # -- room -----------------------------------------------------------------------------------------------

    async def _keep_capacity(self) -> None:
        """Tell at once what changed through volumes and classes, and every minute what others wrote."""
        await asyncio.gather(self._volumes.synced.wait(), self._classes.synced.wait())
        while True:
            self._changed.clear()
            try:
                await self._tell()
            except (SparsamError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("room for volumes not told error=%s", error or type(error).__name__)
                self._told = None
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()

    async def _tell(self) -> None:
        """One CSIStorageCapacity for each class of ours."""
        if self._told is None:
            found = await self._client.list(
                CSISTORAGECAPACITIES, _NAMESPACE, label_selector=f"{NODE_LABEL}={self._name}"
            )
            self._told = {each["storageClassName"]: each.get("capacity", "") for each in found["items"]}
        disk = os.statvfs(self._root)
        promised = promised_bytes(self._volumes.items())
        room = room_left(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize, promised)
        wanted = {each["metadata"]["name"] for each in self._classes.items() if each["provisioner"] == PROVISIONER}
        for name in wanted:
            if self._told.get(name) != room:
                await self._write(name, room)
                self._told[name] = room
        for name in self._told.keys() - wanted:
            with contextlib.suppress(NotFound):
                await self._client.delete(CSISTORAGECAPACITIES, capacity_name(self._name, name), _NAMESPACE)
            del self._told[name]

    async def _write(self, class_name: str, room: str) -> None:
        name = capacity_name(self._name, class_name)
        try:
            await self._client.patch(CSISTORAGECAPACITIES, name, {"capacity": room}, namespace=_NAMESPACE)
        except NotFound:
            node = await self._client.get(NODES, self._name)
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": node["metadata"]["uid"]}
            with contextlib.suppress(AlreadyExists):
                await self._client.create(
                    CSISTORAGECAPACITIES,
                    {
                        "apiVersion": "storage.k8s.io/v1",
                        "kind": "CSIStorageCapacity",
                        "metadata": {
                            "name": name,
                            "namespace": _NAMESPACE,
                            "labels": {NODE_LABEL: self._name},
                            "ownerReferences": [owner],
                        },
                        "storageClassName": class_name,
                        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": self._name}},
                        "capacity": room,
                    },
                )


def needs_directory(volume: Obj) -> bool:
    """Whether a volume of ours has never had its directory."""
    return MADE_ANNOTATION not in (volume["metadata"].get("annotations") or {})


def checked_name(volume: Obj, root: Path) -> str:
    """The directory's name; raises OSError unless the volume's path is just that below the root."""
    name = str(volume["metadata"]["name"])
    path = (volume["spec"].get("local") or {}).get("path")
    if path != str(root / name):
        raise OSError(f"path {path} of volume {name} is not below {root}")
    return name


def room_left(free_bytes: int, total_bytes: int, promised_bytes: int) -> str:
    """What volumes may still be promised: no more than is free, nor than the disk holds beside what is promised."""
    left = max(0, min(free_bytes, total_bytes - promised_bytes))
    step = max(total_bytes // _STEPS, 1 << 20)
    return f"{left // step * step >> 20}Mi"


def capacity_name(node: str, class_name: str) -> str:
    """The name of the object that tells a node's room for a class."""
    return f"local-{sha256(f'{node}/{class_name}'.encode()).hexdigest()[:16]}"


def promised_bytes(volumes: Iterable[Obj]) -> int:
    """What volumes were promised together."""
    return sum(parse_bytes(each["spec"]["capacity"]["storage"]) for each in volumes)
