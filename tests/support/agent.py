"""Pods, a fake of the API as workers see it, and a real engine in a temporary place, for the agent's tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsam.agent.cgroups import Cgroups
from sparsam.agent.config import AgentConfig
from sparsam.agent.containerd import Containerd
from sparsam.agent.cri import Cri
from sparsam.agent.csi.driver import CsiFault, Driver
from sparsam.agent.csi.volumes import CsiVolumes, Drivers
from sparsam.agent.dns import Resolver
from sparsam.agent.images import ImageConfig, build_image, build_pause_image, busybox_entries
from sparsam.agent.network import write_network_config
from sparsam.agent.node_context import NodeContext
from sparsam.agent.payloads import TokenWish, token_wishes
from sparsam.agent.podapi import PodApi
from sparsam.agent.pods import Pods
from sparsam.agent.purge import purge
from sparsam.agent.references import ConfigFault, Sources
from sparsam.agent.runtime_events import listen
from sparsam.clock import SystemClock
from sparsam.errors import NotFound

Obj = dict[str, Any]

BUSYBOX = "localhost/test/busybox:1"
_counter = iter(range(1, 1_000_000))


def busybox_archive(target: Path) -> Path:
    """An image with a shell."""
    return build_image(BUSYBOX, busybox_entries(), target, ImageConfig(command=("/bin/sh",), env={"PATH": "/bin"}))


def container(name: str = "main", command: str = "sleep 3600", **fields: Any) -> Obj:
    """A container that runs a shell command."""
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", command], **fields}


def pod(*containers: Obj, name: str = "", uid: str = "", **spec: Any) -> Obj:
    """A pod bound to this node, as the API server would hand it out."""
    number = next(_counter)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"pod-{number}",
            "namespace": "default",
            "uid": uid or f"{os.getpid():08x}-0000-4000-8000-{number:012x}",
            "resourceVersion": "1",
            "generation": 1,
        },
        "spec": {
            "containers": list(containers) or [container()],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 2,
            **spec,
        },
        "status": {"phase": "Pending"},
    }


@dataclass
class FakeApi(PodApi):
    """Keeps pods in a dict, merges status patches as the server does, and remembers events."""

    pods: dict[str, Obj] = field(default_factory=dict)
    objects: dict[tuple[str, str], Obj] = field(default_factory=dict)
    service_list: list[Obj] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    history: list[Obj] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    revision: int = 1

    def add(self, pod: Obj) -> Obj:
        self.pods[pod["metadata"]["uid"]] = pod
        return pod

    async def patch_status(self, pod: Obj, patch: Obj) -> Obj:
        current = self.pods.get(pod["metadata"]["uid"])
        if current is None:
            raise NotFound("gone")
        self.revision += 1
        status = {name: value for name, value in {**current["status"], **patch}.items() if value is not None}
        if "conditions" in patch:
            conditions = {c["type"]: c for c in current["status"].get("conditions", [])}
            for change in patch["conditions"]:
                if change.get("$patch") == "delete":
                    conditions.pop(change["type"], None)
                    continue
                merged = {**conditions.get(change["type"], {}), **change}
                conditions[change["type"]] = {k: v for k, v in merged.items() if v is not None or k == "lastProbeTime"}
            status["conditions"] = list(conditions.values())
        metadata = {**current["metadata"], "resourceVersion": str(self.revision)}
        updated = {**current, "metadata": metadata, "status": status}
        self.pods[pod["metadata"]["uid"]] = updated
        self.history.append(updated)
        self.changed.set()
        return updated

    async def delete(self, pod: Obj) -> None:
        self.pods.pop(pod["metadata"]["uid"], None)
        self.changed.set()

    async def sources(self, namespace: str, wanted: set[tuple[str, str]], max_age_seconds: float) -> Sources:
        return Sources({key: self.objects[key] for key in wanted if key in self.objects})

    async def tokens(self, pod: Obj) -> dict[TokenWish, str]:
        return {wish: f"token-for-{wish.audience}" for wish in token_wishes(pod)}

    async def runtime_handler(self, runtime_class: str) -> str:
        if ("RuntimeClass", runtime_class) not in self.objects:
            raise ConfigFault(f'failed to get sandbox runtime: runtimeclasses.node.k8s.io "{runtime_class}" not found')
        return str(self.objects["RuntimeClass", runtime_class]["handler"])

    def services(self) -> list[Obj]:
        return self.service_list

    def event(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        self.events.append((kind, reason, message))

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    async def until(self, pod: Obj, holds: Callable[[Obj], bool], seconds: float = 90.0) -> Obj:
        """Wait until the pod's status holds; fails with the last status."""
        uid = pod["metadata"]["uid"]
        try:
            async with asyncio.timeout(seconds):
                while not (uid in self.pods and holds(self.pods[uid]["status"])):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came: {self.pods.get(uid, {}).get('status')} events {self.events}") from None
        return self.pods[uid]

    async def until_gone(self, pod: Obj, seconds: float = 90.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while pod["metadata"]["uid"] in self.pods:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"never went: {self.pods} events {self.events}") from None


def phase(name: str) -> Callable[[Obj], bool]:
    return lambda status: status.get("phase") == name


def ready(status: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def waiting(reason: str) -> Callable[[Obj], bool]:
    def holds(status: Obj) -> bool:
        states = [c["state"].get("waiting", {}) for c in status.get("containerStatuses", ())]
        return any(state.get("reason") == reason for state in states)

    return holds


@dataclass
class Node:
    """A node in a temporary place: engine, pods and fake API."""

    config: AgentConfig
    engine: Containerd
    cri: Cri
    api: FakeApi
    context: NodeContext
    pods: Pods = field(init=False)
    object: Obj | None = None
    """The Node by which new pods are taken or not; without one all are."""

    def run(self, pod: Obj) -> Obj:
        self.api.add(pod)
        self.pods.upsert(pod)
        return pod

    def delete(self, pod: Obj, grace: int = 2) -> None:
        """What an API server does with a graceful deletion."""
        uid = pod["metadata"]["uid"]
        current = self.api.pods[uid]
        self.api.revision += 1
        metadata = {
            **current["metadata"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": grace,
            "resourceVersion": str(self.api.revision),
        }
        self.api.pods[uid] = {**current, "metadata": metadata}
        self.pods.upsert(self.api.pods[uid])


class Engine:
    """A containerd for tests; start once, run agents on it, and everything is gone afterwards."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="spa-"))
        number = random.randrange(0, 4096)
        self.config = AgentConfig(
            node_name=f"t{number}",
            node_ips=("127.0.0.1",),
            data_dir=self.base / "d",
            run_dir=self.base / "r",
            pod_cidrs=(f"10.{192 + number // 256}.{number % 256}.0/24",),
            cluster_dns="10.96.0.10",
            client=None,
            bridge=f"spct{number}",
        )
        self.containerd = Containerd(self.config.data_dir, self.config.run_dir)

    async def start(self) -> None:
        self.config.run_dir.mkdir()
        config = self.config
        write_network_config(self.containerd.conf_dir, config.pod_cidrs, config.bridge, config.ipam_dir)
        await self.containerd.start()
        await self.containerd.import_image(build_pause_image(self.base / "pause.tar"))
        await self.containerd.import_image(busybox_archive(self.base / "busybox.tar"))

    async def stop(self) -> None:
        await purge(self.config)
        shutil.rmtree(self.base, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def agent(self, api: FakeApi | None = None) -> AsyncIterator[Node]:
        """An agent on the engine; leaving the block kills the agent and leaves containers alone."""
        api = api or FakeApi()
        async with Cri(str(self.containerd.socket)) as cri:
            context = NodeContext(
                config=self.config,
                cri=cri,
                api=api,
                cgroups=Cgroups(self.config.cgroup_base),
                clock=SystemClock(),
                csi=without_drivers(self.config),
                host_resolver=Resolver(("192.0.2.53",), ("example.test",)),
                memory_bytes=8 << 30,
                allocatable={"cpu": "2", "memory": "8Gi"},
            )
            async with asyncio.TaskGroup() as group:
                node = Node(self.config, self.containerd, cri, api, context)
                node.pods = Pods(context, group, lambda: node.object)
                listener = group.create_task(listen(cri, node.pods.notice))
                try:
                    yield node
                finally:
                    listener.cancel()
                    for task in node.pods.tasks():
                        task.cancel()


class NoDrivers(Drivers):
    """A node that has none."""

    def driver(self, name: str) -> Driver:
        raise CsiFault(f"driver name {name} not found in the list of registered CSI drivers")


def without_drivers(config: AgentConfig) -> CsiVolumes:
    """The CSI volumes of a node that has no driver."""

    async def say_nothing() -> None:
        return

    return CsiVolumes(config, NoDrivers(), None, say_nothing)


def machine_traces(engine: Engine) -> dict[str, list[str]]:
    """What a pod could leave behind on the machine."""

    def run(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    marker = str(engine.base)
    group = f"sparsam/{engine.config.node_name}/*/pod*"
    links = [line.split() for line in run("ip", "-o", "link", "show", "master", engine.config.bridge)]
    reserved = engine.config.ipam_dir.glob("*/[0-9]*")
    return {
        "mounts": [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if marker in line],
        "links": [words[1] for words in links],
        "processes": [line for line in run("ps", "-eo", "args") if "containerd-shim" in line and marker in line],
        "groups": [str(path) for root in Path("/sys/fs/cgroup").iterdir() for path in root.glob(group)],
        "addresses": [path.name for path in reserved],
    }
