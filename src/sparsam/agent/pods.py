"""All pods of the node: one worker each, from arrival or adoption to the end."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from sparsam.agent.admission import rejection, was_taken
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.node_context import NodeContext
from sparsam.agent.operations import Operations, remove_cgroup
from sparsam.agent.podspec import Obj, is_terminal
from sparsam.agent.podstate import Waiting
from sparsam.agent.pulling import Puller
from sparsam.agent.pullrecords import PullRecords
from sparsam.agent.runtime import GRACE_SECONDS, Container, ContainerState, RuntimeFault, Sandbox
from sparsam.agent.runtime_events import Notice
from sparsam.agent.starting import Starter
from sparsam.agent.volumes import PodDirectory
from sparsam.agent.worker import TURNED_AWAY, PodWorker
from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

_SETTLE_SECONDS = (0.02, 0.1, 0.4, 1.0)
"""When to look again after a notice: the engine's own books lag behind its events by some milliseconds."""
_UNSEEN_SECONDS = 5.0
_LEFTOVER_SECONDS = 5.0
_RELIST_SECONDS = 5.0


class Pods:
    """The pods of one node. `upsert` and `remove` come from the API, `notice` from the engine."""

    def __init__(
        self, node: NodeContext, group: asyncio.TaskGroup, node_object: Callable[[], Obj | None] = lambda: None
    ) -> None:
        """`node_object` gives the Node as last seen, by which new pods are taken or not; without one all are."""
        self._node = node
        self._node_object = node_object
        self._group = group
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._puller = Puller(node.cri, node.api, PullRecords(node.config.data_dir / "pulls.json"), node.config.pulls)
        self.closed = False
        """Whether the node goes down: what comes now is turned away."""

    @property
    def count(self) -> int:
        """How many pods are looked after."""
        return len(self._workers)

    def all(self) -> list[Obj]:
        """Every pod as last seen."""
        return [worker.pod for worker in self._workers.values()]

    def workers(self) -> list[PodWorker]:
        """Every pod's worker."""
        return list(self._workers.values())

    def tasks(self) -> list[asyncio.Task[None]]:
        """The workers' tasks, to be cancelled when the agent ends: containers run on."""
        return list(self._tasks.values())

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by name; while a namesake's end is still under way, that of the newer pod."""
        for worker in reversed(self._workers.values()):
            metadata = worker.pod["metadata"]
            if metadata["name"] == name and metadata["namespace"] == namespace:
                return worker
        return None

    def has(self, uid: str) -> bool:
        """Whether a pod is still looked after."""
        return uid in self._workers

    async def end_namesakes(self, pod: Obj) -> bool:
        """End what was left under a static pod's name; whether something of it is still there.

        That is the same pod before its file changed, perhaps while no agent ran. A pod of the API that happens to
        have the name is nobody's leftover.
        """
        metadata = pod["metadata"]
        name, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
        found = False
        for sandbox in await self._node.cri.list_sandboxes():
            mine = sandbox.node == self._node.config.node_name
            if not mine or (sandbox.namespace, sandbox.name) != name or sandbox.uid == uid:
                continue
            worker = self._workers.get(sandbox.uid)
            if worker is None:
                self._start(await self._orphan(sandbox), gone=True)
            found = found or worker is None or worker.view.terminating
        return found

    def running_containers(self) -> list[Container]:
        """Every run that is running, as last seen."""
        return [run for worker in self._workers.values() for run in worker.view.containers if run.running]

    async def driver_usage(self, uid: str) -> dict[str, VolumeUse]:
        """What storage drivers say of a pod's volumes, by the names of their folders."""
        return await self._node.csi.usage(uid)

    def refresh(self) -> None:
        """Bring volumes up to date with their sources."""
        for worker in self._workers.values():
            worker.refresh()

    def upsert(self, pod: Obj) -> None:
        """A pod appeared or changed in the API."""
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.update(pod)
        else:
            self._start(pod)

    def remove(self, pod: Obj) -> None:
        """A pod vanished from the API."""
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.vanish()

    def notice(self, notice: Notice) -> None:
        """The engine reports a change; without pod and container, everything may have changed."""
        uid = notice.uid or self._owner(notice.container_id)
        worker = self._workers.get(uid)
        if worker is not None:
            self._settle(worker)
            return
        # A container can end before its worker has seen it: then it belongs to one that just acted.
        for worker in self._workers.values():
            if not notice.container_id:
                worker.kick()
            elif worker.acted_within(_UNSEEN_SECONDS):
                self._settle(worker)

    async def keep_in_step(self) -> None:
        """Look at pods whose containers ended unnoticed, until cancelled.

        Notices tell at once; but an engine under load can announce an end long before its own books show it.
        """
        while True:
            await asyncio.sleep(_RELIST_SECONDS)
            try:
                states = await self._node.cri.container_states()
            except RuntimeFault:
                continue
            running = {each for each, (_, state) in states.items() if state is ContainerState.RUNNING}
            for worker in self._workers.values():
                if any(run.running and run.id not in running for run in worker.view.containers):
                    worker.kick()

    async def adopt_orphans(self, wanted: Iterable[str]) -> None:
        """End what runs of pods that the API does not have any more, and delete what they left on disk."""
        known = set(wanted) | self._workers.keys()
        orphans: dict[str, Obj] = {}
        for sandbox in await self._node.cri.list_sandboxes():
            if sandbox.node == self._node.config.node_name and sandbox.uid not in known:
                orphans[sandbox.uid] = await self._orphan(sandbox)
        for pod in orphans.values():
            self._start(pod, gone=True)
        known |= orphans.keys()
        # Pods go on arriving meanwhile: whoever has a worker by now keeps what it has.
        for uid in self._node.cgroups.pod_uids() - known:
            if uid not in self._workers:
                await remove_cgroup(self._node, uid)
        for path in _entries(self._node.config.logs_dir):
            if path.name.rpartition("_")[2] not in known | self._workers.keys():
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        # Drivers may not be there yet: that must not keep the node from its pods.
        self._group.create_task(self._clean_directories(known), name="leftover directories")

    def _start(self, pod: Obj, *, gone: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        directory = PodDirectory(self._node.config.pods_dir, uid)
        operations = Operations(self._node, directory, Starter(self._node, directory, self._puller))
        worker = PodWorker(pod, self._node, operations, gone=gone, neighbours=self.all)
        why = None if gone else self._rejection(pod)
        if why is not None:
            worker.reject(why)
        self._workers[uid] = worker
        self._tasks[uid] = self._group.create_task(self._run(uid, worker), name=f"pod {uid}")

    def _rejection(self, pod: Obj) -> Waiting | None:
        """Why the node does not take a pod that is new to it."""
        if self.closed and not is_terminal(pod) and "deletionTimestamp" not in pod["metadata"]:
            return TURNED_AWAY
        node = self._node_object()
        if node is None or was_taken(pod):
            return None
        return rejection(pod, [other.pod for other in self._workers.values() if other.holds_room], node)

    async def _run(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)

    def _owner(self, container_id: str) -> str:
        """The pod of a container or sandbox, by what the workers saw last."""
        for uid, worker in self._workers.items():
            view = worker.view
            if any(container.id == container_id for container in view.containers):
                return uid
            if any(sandbox.id == container_id for sandbox in view.sandboxes):
                return uid
        return ""

    def _settle(self, worker: PodWorker) -> None:
        loop = asyncio.get_running_loop()
        worker.kick()
        for seconds in _SETTLE_SECONDS:
            loop.call_later(seconds, worker.kick)

    async def _orphan(self, sandbox: Sandbox) -> Obj:
        """A pod object for a sandbox whose pod is unknown, enough to end it."""
        containers: list[Container] = await self._node.cri.list_containers(sandbox.uid)
        names = dict.fromkeys(container.name for container in containers)
        graces = [int(container.annotations.get(GRACE_SECONDS) or 0) for container in containers]
        log.info("orphan found pod=%s/%s uid=%s", sandbox.namespace, sandbox.name, sandbox.uid)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": sandbox.name, "namespace": sandbox.namespace, "uid": sandbox.uid},
            "spec": {
                "containers": [{"name": name, "image": ""} for name in names],
                "terminationGracePeriodSeconds": max(graces, default=0),
            },
        }

    async def _clean_directories(self, known: set[str]) -> None:
        root = self._node.config.pods_dir
        while left := [path for path in _entries(root) if path.name not in known | self._workers.keys()]:
            for path in left:
                try:
                    await self._node.csi.clear(path.name)
                    await asyncio.to_thread(PodDirectory(root, path.name).remove)
                except (SparsamError, OSError) as error:
                    log.warning("leftover of a pod stays pod_uid=%s error=%s", path.name, error)
            if any(path.exists() for path in left):
                await self._node.clock.sleep(_LEFTOVER_SECONDS)


def _entries(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []
