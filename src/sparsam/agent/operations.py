"""The actions of a pod worker, carried out against engine, disk and kernel."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sparsam.agent.cgroups import CgroupLimits
from sparsam.agent.containerd import mount_image, unmount_image
from sparsam.agent.hooks import run_hook
from sparsam.agent.logfiles import rotated_files
from sparsam.agent.mounts import is_mounted
from sparsam.agent.node_context import NodeContext
from sparsam.agent.podspec import Obj, container_spec, key_of
from sparsam.agent.podstate import KillContainer, PodView, StartContainer
from sparsam.agent.pulling import PullFailed
from sparsam.agent.references import ConfigFault, references
from sparsam.agent.resources import pod_limits, qos_class
from sparsam.agent.runtime import Container, RuntimeFault
from sparsam.agent.signals import end_process
from sparsam.agent.starting import Starter, StartFailed, log_directory
from sparsam.agent.volumes import PodDirectory
from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

_CGROUP_RETRIES = 50
_CGROUP_RETRY_SECONDS = 0.02
_SOURCES_MAX_AGE_SECONDS = 5.0


class OperationFailed(SparsamError):
    """Set-up or sandbox failed: message, and the event's reason."""

    def __init__(self, message: str, event: str) -> None:
        super().__init__(message)
        self.message = message
        self.event = event


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations on one pod."""

    node: NodeContext
    directory: PodDirectory
    starter: Starter

    async def set_up(self, view: PodView) -> None:
        """Group, directories and volumes; raises OperationFailed."""
        pod = view.pod
        try:
            if not any(run.running for run in view.containers):
                # Limits of a pod that runs are the resizer's: it may have been killed half-way, with containers that
                # still have more than the pod is to have, which the kernel would refuse here.
                self.node.cgroups.create_pod(qos_class(pod), pod["metadata"]["uid"], self.group_limits(pod))
            log_directory(self.node, pod).mkdir(parents=True, exist_ok=True)
            # A pod sees what its sources were when it was made, or later: never what another pod's were before.
            await self._write_volumes(view, max_age_seconds=0.0)
        except (OSError, SparsamError) as error:
            raise OperationFailed(str(error), "FailedMount") from error

    def group_limits(self, pod: Obj) -> CgroupLimits:
        """Limits of the pod's own group."""
        return replace(pod_limits(pod), processes=self.node.config.pod_pids_limit)

    async def clear_volumes(self) -> None:
        """Remove what a pod that is through had on disk, its logs aside."""
        await asyncio.to_thread(self.directory.remove_volumes)

    async def refresh(self, view: PodView) -> None:
        """Bring volumes up to date; what went away meanwhile leaves the old content."""
        try:
            await self._write_volumes(view, max_age_seconds=_SOURCES_MAX_AGE_SECONDS)
        except ConfigFault as error:
            log.info("volumes not refreshed pod=%s error=%s", key_of(view.pod), error)

    async def _write_volumes(self, view: PodView, *, max_age_seconds: float) -> None:
        pod = view.pod
        wanted = references(pod)
        sources = await self.node.api.sources(pod["metadata"]["namespace"], wanted, max_age_seconds)
        tokens = await self.node.api.tokens(pod)
        facts = self.starter.facts(pod, view.sandbox)
        await self.node.csi.set_up(pod, sources)
        await asyncio.to_thread(self.directory.set_up, facts, sources, tokens)
        for volume in pod["spec"].get("volumes") or ():
            if "image" in volume:
                await self._mount_image(pod, volume)

    async def _mount_image(self, pod: Obj, volume: Obj) -> None:
        """The content of an image as a read-only volume (KEP-4639)."""
        target = self.directory.volume_path(volume["name"])
        if is_mounted(target):
            return
        source = volume["image"]
        wanted = {"name": volume["name"], "image": source["reference"], "imagePullPolicy": source.get("pullPolicy")}

        def emit(kind: str, reason: str, message: str) -> None:
            self.node.api.event(pod, kind, reason, message)

        image = await self.starter.puller.ensure(pod, wanted, emit)
        await mount_image(self.node.engine_socket, (image.tags or image.digests)[0], target)

    async def run_sandbox(self, view: PodView, attempt: int) -> None:
        """A sandbox, after every older one is stopped; raises OperationFailed."""
        pod = view.pod
        if attempt > 0:
            message = "Pod sandbox changed, it will be killed and re-created."
            self.node.api.event(pod, "Normal", "SandboxChanged", message)
        try:
            for old in view.sandboxes:
                await self.node.cri.stop_sandbox(old.id)
            runtime_class = pod["spec"].get("runtimeClassName")
            handler = await self.node.api.runtime_handler(runtime_class) if runtime_class else ""
            await self.node.cri.run_sandbox(self.starter.sandbox_config(pod, attempt), handler)
        except (ConfigFault, RuntimeFault) as error:
            message = f"Failed to create pod sandbox: {error}"
            raise OperationFailed(message, "FailedCreatePodSandBox") from error

    async def stop_sandboxes(self, view: PodView, ids: tuple[str, ...]) -> None:
        """Stop sandboxes, and with the last one give back what the pod took from storage drivers."""
        for sandbox_id in ids:
            await self.node.cri.stop_sandbox(sandbox_id)
        if any(sandbox.ready and sandbox.id not in ids for sandbox in view.sandboxes):
            return
        await self.node.csi.clear(view.pod["metadata"]["uid"])

    async def start(self, view: PodView, action: StartContainer, started: Callable[[str, str], None]) -> str:
        """Start a container and run its postStart hook; returns its id. Raises StartFailed."""
        spec = container_spec(view.pod, action.name)
        sandbox = view.sandbox
        if spec is None or sandbox is None:
            raise StartFailed("ContainerCreating", "the pod changed meanwhile")
        try:
            container_id = await self.starter.start(view.pod, spec, action.attempt, sandbox)
        except PullFailed as error:
            raise StartFailed(error.reason, error.message) from error
        started(action.name, container_id)
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(view, spec, hook, container_id)
        return container_id

    async def _post_start(
        self, view: PodView, spec: dict[str, object], hook: dict[str, object], container_id: str
    ) -> None:
        facts = self.starter.facts(view.pod, view.sandbox)
        ip = facts.pod_ips[0] if facts.pod_ips else ""
        attempt = await run_hook(hook, spec, cri=self.node.cri, container_id=container_id, ip=ip, limit_seconds=None)
        if attempt.success:
            return
        name = str(spec["name"])
        event = f"PostStartHook failed: {attempt.message}"
        self.node.api.event(view.pod, "Warning", "FailedPostStartHook", event, name)
        self.node.api.event(view.pod, "Normal", "Killing", "FailedPostStartHook", name)
        await self.node.cri.stop_container(container_id, view.grace_seconds)
        raise StartFailed("PostStartHookError", attempt.message)

    async def kill(self, view: PodView, action: KillContainer) -> None:
        """PreStop hook, SIGTERM, and SIGKILL when the grace is over."""
        run, grace = action.container, action.grace_seconds
        self.node.api.event(view.pod, "Normal", "Killing", action.message, run.name)
        spec = container_spec(view.pod, run.name) or {}
        loop = asyncio.get_running_loop()
        began = loop.time()
        if action.hook:
            await self.pre_stop(view, run, grace)
        left = max(_shortest_grace(grace), round(grace - (loop.time() - began)))
        own = (spec.get("lifecycle") or {}).get("stopSignal")
        if own and left > 0:
            await self._signal(run, own, left)
            left = 0
        await self.node.cri.stop_container(run.id, left)

    async def pre_stop(self, view: PodView, run: Container, grace_seconds: int) -> None:
        """The preStop hook, if there is one and time for it; a failure is an event and no more."""
        spec = container_spec(view.pod, run.name) or {}
        hook = (spec.get("lifecycle") or {}).get("preStop")
        if not hook or grace_seconds <= 0:
            return
        facts = self.starter.facts(view.pod, view.sandbox)
        ip = facts.pod_ips[0] if facts.pod_ips else ""
        limit = float(grace_seconds)
        try:
            async with asyncio.timeout(limit):
                attempt = await run_hook(hook, spec, cri=self.node.cri, container_id=run.id, ip=ip, limit_seconds=limit)
        except TimeoutError:
            log.info("preStop hook took longer than the grace container=%s", run.id)
            return
        if not attempt.success:
            message = f"PreStopHook failed: {attempt.message}"
            self.node.api.event(view.pod, "Warning", "FailedPreStopHook", message, run.name)

    async def forget(self, view: PodView, container_ids: tuple[str, ...]) -> None:
        """Remove runs with their logs and messages, one after the other."""
        runs = {run.id: run for run in view.containers}
        for container_id in container_ids:
            await self.node.cri.remove_container(container_id)
            if container_id in runs:
                self._remove_files(runs[container_id])

    def _remove_files(self, run: Container) -> None:
        self.directory.message_file(run.name, run.attempt).unlink(missing_ok=True)
        if run.log_path:
            for part in (*rotated_files(Path(run.log_path)), Path(run.log_path)):
                part.unlink(missing_ok=True)

    async def _signal(self, run: Container, name: str, seconds: float) -> None:
        """Give a container the stop signal that it wants, and time to heed it."""
        try:
            pid = await self.node.cri.container_pid(run.id)
            if pid is not None:
                await end_process(pid, name, seconds)
        except (OSError, RuntimeFault, ValueError) as error:
            log.info("stop signal not sent container=%s signal=%s error=%s", run.id, name, error)

    async def tear_down(self, view: PodView) -> None:
        """Leave nothing: sandboxes with their containers and network, volumes, group, logs."""
        pod = view.pod
        uid = pod["metadata"]["uid"]
        for container in await self.node.cri.list_containers(uid):
            await self.node.cri.remove_container(container.id)
        for sandbox in await self.node.cri.list_sandboxes(uid):
            await self.node.cri.stop_sandbox(sandbox.id)
            await self.remove_sandbox(sandbox.id)
        await self.node.csi.clear(uid)
        await self._unmount_images(pod)
        await asyncio.to_thread(self.directory.remove)
        await asyncio.to_thread(shutil.rmtree, log_directory(self.node, pod), ignore_errors=True)
        await remove_cgroup(self.node, uid)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox, and the socket that its shim leaves behind when it is killed."""
        await self.node.cri.remove_sandbox(sandbox_id)
        if self.node.config.cri_socket is None:
            self.node.engine.shim_socket(sandbox_id).unlink(missing_ok=True)

    async def _unmount_images(self, pod: Obj) -> None:
        for volume in pod["spec"].get("volumes") or ():
            if "image" in volume:
                await unmount_image(self.node.engine_socket, self.directory.volume_path(volume["name"]))


async def remove_cgroup(node: NodeContext, uid: str) -> None:
    """Remove a pod's group; the kernel takes a moment to see that its last process is gone.

    Nothing of the pod is known to the engine any more: what still runs then is what a killed shim left, and is killed.
    """
    for attempt in range(_CGROUP_RETRIES):
        if attempt == _CGROUP_RETRIES // 2:
            end_processes(node, uid)
        try:
            node.cgroups.remove_pod(uid)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
        if uid not in node.cgroups.pod_uids():
            return
        await asyncio.sleep(_CGROUP_RETRY_SECONDS)
    log.warning("control group stays pod_uid=%s", uid)


def end_processes(node: NodeContext, uid: str) -> None:
    """Kill whatever runs in a pod's group, past the engine."""
    for pid in node.cgroups.processes(uid):
        log.warning("killed past the engine pod_uid=%s pid=%d", uid, pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _shortest_grace(grace: int) -> int:
    return min(grace, 2)
