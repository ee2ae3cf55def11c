"""CSI volumes of the node's pods: attached by others, staged once for the node, published for each pod, and back.

Everything that was begun is on disk (records.py), and each call to a driver may be repeated: setting up and clearing
are level-triggered, so that a killed agent, a restarted driver or a cancelled pod leaves nothing that the next turn
does not finish. A call to a driver is never cut short by us, and calls for one volume never overlap.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sparsam.agent.config import AgentPaths
from sparsam.agent.csi import records
from sparsam.agent.csi.api import CsiApi
from sparsam.agent.csi.driver import Ability, CsiFault, Driver
from sparsam.agent.csi.growth import Growth
from sparsam.agent.csi.plan import (
    RECORD,
    CsiVolume,
    device_link,
    inline,
    mode_fault,
    mount_of,
    persistent,
    pod_facts,
    pod_folder,
    published_at,
    stage_folder,
    staged_at,
    takes_group,
    wants_attachment,
)
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.mounts import is_mounted, unmount_below
from sparsam.agent.ownership import give_group, group_of
from sparsam.agent.podspec import Obj
from sparsam.agent.references import CLAIM, ConfigFault, Sources, claim_of
from sparsam.agent.subpaths import SUB_PATHS
from sparsam.errors import SparsamError
from sparsam.objects.attachments import attachment_name, volume_name

log = logging.getLogger(__name__)

_ATTACH_SECONDS = 10.0
"""So long one try waits for an attachment; the next try begins with a pause."""
_LOOK_SECONDS = 0.2
_SWEEP_SECONDS = 60.0
_TOKEN_SECONDS = 3600


class Drivers(Protocol):
    """Registered drivers."""

    def driver(self, name: str) -> Driver:
        """By name; raises CsiFault."""
        ...


class CsiVolumes:
    """Of one node. `report` makes the Node say which volumes it uses, and returns when it does."""

    def __init__(
        self, config: AgentPaths, drivers: Drivers, api: CsiApi, report: Callable[[], Awaitable[None]]
    ) -> None:
        self._config, self._drivers, self._api, self._report = config, drivers, api, report
        self._growth = Growth(api, config.node_name)
        self._locks: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sweep_wanted = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    def in_use(self) -> list[str]:
        """What must stay attached to the node, as a Node names it."""
        held = {each.key for each in records.of_pods(self._config.pods_dir) if not each.is_ephemeral}
        held |= {each.key for _, each in records.staged(self._config.plugins_dir)}
        return sorted(volume_name(*key) for key in held)

    # -- up -------------------------------------------------------------------------------------------------

    async def set_up(self, pod: Obj, sources: Sources) -> None:
        """Mount what the pod's volumes name; raises ConfigFault."""
        for volume in volumes_of(pod, sources):
            try:
                await self._set_up(pod, volume)
            except (CsiFault, ConfigFault, OSError) as error:
                raise ConfigFault(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error

    async def _set_up(self, pod: Obj, volume: CsiVolume) -> None:
        pod_path = self._config.pods_dir / pod["metadata"]["uid"]
        target = published_at(self._config.plugins_dir, pod_path, volume.name, block=volume.block)
        facts = await self._api.driver(volume.driver)
        again = bool(facts and facts["spec"].get("requiresRepublish"))
        if _is_there(target) and not again:
            await self._grow(pod, volume, target)
            return
        fault = mode_fault(volume, facts)
        if fault:
            raise CsiFault(fault)
        driver = self._drivers.driver(volume.driver)
        attached = wants_attachment(volume, facts)
        attachment = attachment_name(*volume.key, self._config.node_name) if attached else ""
        record = records.record_of(volume, self._config.node_name, attachment)
        records.write(pod_folder(pod_path, volume.name), record)
        if not volume.ephemeral:
            await self._report()
        context = await self._attached(attachment) if attached else {}
        fields = await self._fields(pod, volume, facts)

        async def work() -> None:
            shared = {"volume_id": volume.handle, "publish_context": context}
            mount = mount_of(volume, driver.abilities, group_of(pod)).message()
            if not volume.ephemeral and Ability.STAGE in driver.abilities:
                shared["staging_target_path"] = str(
                    await self._stage(driver, volume, record, {**shared, "volume_capability": mount})
                )
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            await driver.publish(
                **shared, **fields, target_path=str(target), volume_capability=mount, readonly=volume.read_only
            )
            if takes_group(volume, facts) and Ability.MOUNT_GROUP not in driver.abilities and not volume.read_only:
                await asyncio.to_thread(give_group, pod, target)
            if volume.block:
                _link(device_link(pod_path, volume.name), target)

        await self._exclusively(volume.key, work())
        await self._grow(pod, volume, target)

    async def _stage(self, driver: Driver, volume: CsiVolume, record: records.Record, fields: dict[str, Any]) -> Path:
        plugins = self._config.plugins_dir
        target = staged_at(plugins, volume.key, volume.name, block=volume.block)
        records.write(stage_folder(plugins, *volume.key), record)
        target.mkdir(parents=True, exist_ok=True, mode=0o750)
        secrets = await self._secret(volume.stage_secret)
        await driver.stage(
            **fields, staging_target_path=str(target), secrets=secrets, volume_context=dict(volume.attributes)
        )
        return target

    async def _attached(self, name: str) -> dict[str, str]:
        """What the attacher hands on once the volume is attached; raises CsiFault while it is not."""
        deadline = asyncio.get_running_loop().time() + _ATTACH_SECONDS
        while True:
            found = await self._api.attachment(name)
            status = (found or {}).get("status") or {}
            if status.get("attached"):
                return dict(status.get("attachmentMetadata") or {})
            if status.get("attachError"):
                raise CsiFault(f"the volume is not attached: {status['attachError'].get('message', '')}")
            if asyncio.get_running_loop().time() > deadline:
                raise CsiFault(f"timed out waiting for external-attacher to attach: VolumeAttachment {name}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _fields(self, pod: Obj, volume: CsiVolume, facts: Obj | None) -> dict[str, Any]:
        """Context and secrets for publishing."""
        context = {**volume.attributes, **pod_facts(pod, volume, facts)}
        wishes = ((facts or {}).get("spec") or {}).get("tokenRequests") or ()
        tokens = {
            wish.get("audience", ""): await self._api.token(
                pod, wish.get("audience", ""), wish.get("expirationSeconds") or _TOKEN_SECONDS
            )
            for wish in wishes
        }
        if tokens:
            context["csi.storage.k8s.io/serviceAccount.tokens"] = msgspec.json.encode(tokens).decode()
        return {"volume_context": context, "secrets": await self._secret(volume.publish_secret)}

    async def _secret(self, reference: tuple[str, str] | None) -> dict[str, str]:
        return await self._api.secret(*reference) if reference else {}

    # -- meanwhile ------------------------------------------------------------------------------------------

    async def _grow(self, pod: Obj, volume: CsiVolume, target: Path) -> None:
        """Let a volume that is mounted become as large as it is elsewhere."""
        try:
            driver = self._drivers.driver(volume.driver)
        except CsiFault:
            return  # there is another turn when it is back
        if not self._growth.is_due(volume, driver):
            return
        mount = mount_of(volume, driver.abilities, group_of(pod)).message()
        work = self._growth.grow(
            pod,
            volume,
            driver,
            volume_path=str(target),
            staging_target_path=self._staged(driver, volume.key, volume.name, block=volume.block),
            volume_capability=mount,
        )
        await self._exclusively(volume.key, work)

    def _staged(self, driver: Driver, key: tuple[str, str], name: str, *, block: bool) -> str:
        """Where a volume is staged, as its driver is told: nothing for one that does not stage."""
        if Ability.STAGE not in driver.abilities:
            return ""
        return str(staged_at(self._config.plugins_dir, key, name, block=block))

    async def usage(self, uid: str) -> dict[str, VolumeUse]:
        """What drivers say of the room in a pod's volumes, by the names of their folders; not all of them can tell."""
        found = {}
        for folder, record in records.of_pod(self._config.pods_dir / uid):
            if record is None:
                continue
            name = record.specVolID or folder.name
            target = published_at(self._config.plugins_dir, self._config.pods_dir / uid, name, block=record.block)
            try:
                driver = self._drivers.driver(record.driverName)
                if Ability.STATS in driver.abilities and _is_there(target):
                    staged = "" if record.is_ephemeral else self._staged(driver, record.key, name, block=record.block)
                    found[folder.name] = await driver.usage(
                        volume_id=record.volumeHandle, volume_path=str(target), staging_target_path=staged
                    )
            except CsiFault as error:
                log.info("volume not measured volume=%s error=%s", name, error)
        return found

    # -- down -----------------------------------------------------------------------------------------------

    async def clear(self, uid: str) -> None:
        """Unmount all of a pod; raises CsiFault or OSError when something stays."""
        found = list(records.of_pod(self._config.pods_dir / uid))
        if found:
            unmount_below(self._config.pods_dir / uid / SUB_PATHS)  # they would keep a volume busy
        for folder, record in found:
            if record is not None:
                await self._exclusively(record.key, self._unpublish(uid, folder, record))
            elif not is_mounted(folder / "mount"):
                records.remove(folder, folder / "mount")
        self._sweep_wanted.set()

    async def _unpublish(self, uid: str, folder: Path, record: records.Record) -> None:
        if not (folder / RECORD).exists():
            return  # somebody else did so, while this call waited for its turn
        pod_path, name = self._config.pods_dir / uid, record.specVolID or folder.name
        target = published_at(self._config.plugins_dir, pod_path, name, block=record.block)
        try:
            driver = self._drivers.driver(record.driverName)
        except CsiFault:
            if _is_there(target) or target.exists():
                raise  # the driver must come back: only it can undo what it did
        else:
            await driver.unpublish(record.volumeHandle, target)
            if _is_there(target):
                raise CsiFault(f"driver {driver.name} left volume {record.volumeHandle} at {target}")
        records.remove(folder, target)
        if record.block:
            device_link(pod_path, name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                target.parent.rmdir()  # unless other pods have it

    async def run(self) -> None:
        """Unstage what no pod uses any more, until cancelled."""
        while True:
            self._sweep_wanted.clear()
            try:
                await self.sweep()
            except (SparsamError, OSError) as error:
                log.warning("volumes not unstaged error=%s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._sweep_wanted.wait()

    def look_again(self) -> None:
        """A driver came: what waits for it can be done."""
        self._sweep_wanted.set()

    async def sweep(self) -> None:
        """Unstage what no pod uses; raises CsiFault for the last of those for which that failed."""
        fault: Exception | None = None
        done = False
        for folder, record in list(records.staged(self._config.plugins_dir)):
            try:
                await self._exclusively(record.key, self._unstage(folder, record))
                done = done or not folder.exists()
            except (CsiFault, OSError) as error:
                fault = error
        if done:
            await self._report()
        if fault is not None:
            raise fault

    async def _unstage(self, folder: Path, record: records.Record) -> None:
        users = {each.key for each in records.of_pods(self._config.pods_dir)}
        if record.key in users or not (folder / RECORD).exists():
            return
        target = staged_at(self._config.plugins_dir, record.key, record.specVolID, block=record.block)
        driver = self._drivers.driver(record.driverName)
        await driver.unstage(record.volumeHandle, target)
        if is_mounted(target):
            raise CsiFault(f"driver {driver.name} left volume {record.volumeHandle} staged at {target}")
        records.remove(folder, target)
        self._growth.forget(record.key)

    async def _exclusively(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> None:
        """One at a time for each volume, and to its end even when nobody waits any more."""

        async def locked() -> None:
            async with self._locks[key]:
                await work

        task = asyncio.create_task(locked())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        # A result that nobody awaits is no accident here.
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
        await asyncio.shield(task)


def volumes_of(pod: Obj, sources: Sources) -> list[CsiVolume]:
    """The CSI volumes of a pod; claims that have none yet are somebody else's to complain about."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        claim = claim_of(pod["metadata"]["name"], volume)
        behind = sources.objects.get((CLAIM, claim)) if claim is not None else None
        if "csi" in volume:
            found.append(inline(pod, volume))
        elif behind is not None and "csi" in behind["spec"]:
            read_only = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
            found.append(persistent(behind, read_only=read_only))
    return found


def _is_there(target: Path) -> bool:
    """Whether a driver has put a volume in its place: a mount, or a device of its own making."""
    return is_mounted(target) or target.is_block_device()


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
