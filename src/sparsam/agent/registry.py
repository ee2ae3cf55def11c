"""A read view of the node's pods for those who serve their logs, commands, connections and statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sparsam.agent.containerd import NAMESPACE
from sparsam.agent.cri import Cri
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.pods import Pods
from sparsam.agent.podspec import Obj, uses_host_network
from sparsam.agent.runtime import Container, Sandbox


@dataclass(frozen=True, slots=True)
class ContainerTarget:
    """One run of a container, and how to reach it."""

    pod: Obj
    container: Container
    sandbox_id: str
    log_path: Path
    """The current log; rotated ones lie beside it as `<name>.<time>`."""
    engine_address: str
    """The engine's gRPC socket: CRI, and containerd's own services where the engine is containerd."""
    engine_namespace: str
    """containerd's namespace of the container."""


@dataclass(frozen=True, slots=True)
class SandboxTarget:
    """A pod's sandbox, and how to reach its network."""

    pod: Obj
    sandbox: Sandbox
    netns_path: str | None
    """Network namespace file; None is the node's own."""
    ip: str


@dataclass(frozen=True, slots=True)
class ProbeCount:
    """How often a probe of a container had a result, while this agent ran."""

    namespace: str
    pod: str
    uid: str
    container: str
    kind: str
    result: str
    """successful, failed or unknown."""
    count: int


class PodRegistry:
    """Finds pods, containers and sandboxes of this node by name."""

    def __init__(self, pods: Pods, cri: Cri, *, engine_address: str, node_ip: str) -> None:
        self._pods = pods
        self.cri = cri
        self._engine_address = engine_address
        self._node_ip = node_ip

    def pods(self) -> Iterator[Obj]:
        """Every pod of the node, with its status as last known."""
        yield from self._pods.all()

    def pod(self, namespace: str, name: str) -> Obj | None:
        """One pod."""
        worker = self._pods.find(namespace, name)
        return worker.pod if worker is not None else None

    def containers(self, namespace: str, name: str) -> tuple[Container, ...]:
        """All runs that the engine still has of a pod's containers, newest first."""
        worker = self._pods.find(namespace, name)
        return worker.view.containers if worker is not None else ()

    def pods_with_runs(self) -> Iterator[tuple[Obj, tuple[Container, ...]]]:
        """Every pod with the runs that the engine has of its containers."""
        yield from ((worker.pod, worker.view.containers) for worker in self._pods.workers())

    async def driver_usage(self, uid: str) -> dict[str, VolumeUse]:
        """What storage drivers say of a pod's volumes, by the names of their folders."""
        return await self._pods.driver_usage(uid)

    def probe_counts(self) -> Iterator[ProbeCount]:
        """What all probes found so far."""
        for worker in self._pods.workers():
            metadata = worker.pod["metadata"]
            where = (metadata["namespace"], metadata["name"], metadata["uid"])
            for (container, kind, result), count in sorted(worker.probe_counts.items()):
                yield ProbeCount(*where, container, kind, result, count)

    def container(self, namespace: str, name: str, container: str, *, previous: bool = False) -> ContainerTarget | None:
        """The newest run of a container, or the one before it; None when there is none."""
        worker = self._pods.find(namespace, name)
        if worker is None:
            return None
        run = worker.view.previous_run(container) if previous else worker.view.run(container)
        if run is None:
            return None
        return ContainerTarget(worker.pod, run, run.sandbox_id, Path(run.log_path), self._engine_address, NAMESPACE)

    def sandbox_ids(self) -> dict[str, str]:
        """The sandbox in use of each pod that has one, by the pod's uid."""
        found = ((worker.uid, worker.view.sandbox) for worker in self._pods.workers())
        return {uid: sandbox.id for uid, sandbox in found if sandbox is not None}

    async def sandbox(self, namespace: str, name: str) -> SandboxTarget | None:
        """The sandbox in use; None when there is none."""
        worker = self._pods.find(namespace, name)
        sandbox = worker.view.sandbox if worker is not None else None
        if worker is None or sandbox is None:
            return None
        if uses_host_network(worker.pod):
            return SandboxTarget(worker.pod, sandbox, None, self._node_ip)
        info = await self.cri.sandbox_info(sandbox.id)
        return SandboxTarget(worker.pod, sandbox, network_namespace(info), sandbox.ips[0] if sandbox.ips else "")


def network_namespace(info: dict[str, str]) -> str | None:
    """The network namespace's path in containerd's verbose words on a sandbox."""
    spec = (msgspec.json.decode(info.get("info") or "{}") or {}).get("runtimeSpec") or {}
    for namespace in (spec.get("linux") or {}).get("namespaces") or ():
        if namespace.get("type") == "network":
            return namespace.get("path") or None
    return None
