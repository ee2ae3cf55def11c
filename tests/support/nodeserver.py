"""A node's HTTPS server over a real engine, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sparsam.agent.config import AgentConfig
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.registry import ContainerTarget, PodRegistry, ProbeCount, SandboxTarget
from sparsam.agent.runtime import Container, ContainerState
from sparsam.agent.server.main import serve
from sparsam.apiserver.pki import ensure_pki, node_identity, node_serving_identity
from sparsam.client.api import ApiClient
from tests.support.agent import Engine, Node
from tests.support.apiserver import free_port

Obj = dict[str, Any]


def with_certificates(config: AgentConfig, pki_dir: Path) -> AgentConfig:
    """The config of a node that serves on a free port of the loopback address."""
    serving = node_serving_identity(config.node_name, config.node_ips)
    ensure_pki(pki_dir, sans=["127.0.0.1"], identities=[node_identity(config.node_name), serving])
    return replace(
        config,
        port=free_port(),
        serving_cert=pki_dir / f"{serving.file}.crt",
        serving_key=pki_dir / f"{serving.file}.key",
        ca=pki_dir / "ca.crt",
    )


def tls(pki_dir: Path, identity: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki_dir / "ca.crt"))
    if identity:
        context.load_cert_chain(pki_dir / f"{identity}.crt", pki_dir / f"{identity}.key")
    return context


@dataclass
class Stream:
    """What an exec gave back."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: Obj | None = None


@dataclass
class NodeServer:
    """A running server and a client that may enter."""

    url: str
    pki_dir: Path
    session: aiohttp.ClientSession
    node: Node | None = None

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"{self.url}{path}") as answer:
            return answer.status, await answer.text()

    def socket(self, path: str, protocol: str = "v5.channel.k8s.io") -> Any:
        return self.session.ws_connect(f"{self.url}{path}", protocols=[protocol], max_msg_size=0)

    async def exec(self, path: str, stdin: bytes | None = None) -> Stream:
        """Run to the end; `stdin` is sent whole and then closed."""
        async with self.socket(path) as socket:
            if stdin is not None:
                for at in range(0, len(stdin), 32768):
                    await socket.send_bytes(b"\0" + stdin[at : at + 32768])
                await socket.send_bytes(b"\xff\0")
            return await collect(socket)


async def collect(socket: aiohttp.ClientWebSocketResponse) -> Stream:
    """Everything that comes until the far side closes."""
    parts: dict[int, bytearray] = {channel: bytearray() for channel in range(4)}
    async for message in socket:
        parts[message.data[0]] += message.data[1:]
    status = msgspec.json.decode(bytes(parts[3])) if parts[3] else None
    return Stream(bytes(parts[1]), bytes(parts[2]), status)


@dataclass
class FakeRegistry:
    """The registry's read view over values that a test sets."""

    pod_list: list[Obj] = field(default_factory=list)
    runs: tuple[Container, ...] = ()
    """Newest first."""
    cri: Any = None
    probes: tuple[ProbeCount, ...] = ()

    def pods(self) -> Iterator[Obj]:
        yield from self.pod_list

    def pod(self, namespace: str, name: str) -> Obj | None:
        found = (pod for pod in self.pod_list if pod["metadata"]["name"] == name)
        return next((pod for pod in found if pod["metadata"]["namespace"] == namespace), None)

    def containers(self, namespace: str, name: str) -> tuple[Container, ...]:
        return self.runs

    def container(self, namespace: str, name: str, container: str, *, previous: bool = False) -> ContainerTarget | None:
        runs = [run for run in self.runs if run.name == container][1 if previous else 0 :]
        pod = self.pod(namespace, name)
        if not runs or pod is None:
            return None
        return ContainerTarget(pod, runs[0], "sandbox", Path(runs[0].log_path), "", "k8s.io")

    def sandbox_ids(self) -> dict[str, str]:
        return {}

    def pods_with_runs(self) -> Iterator[tuple[Obj, tuple[Container, ...]]]:
        yield from ((pod, self.runs) for pod in self.pod_list)

    async def driver_usage(self, uid: str) -> dict[str, VolumeUse]:
        return {}

    def probe_counts(self) -> Iterator[ProbeCount]:
        return iter(self.probes)

    async def sandbox(self, namespace: str, name: str) -> SandboxTarget | None:
        return None


def run_of(name: str = "main", state: ContainerState = ContainerState.RUNNING, **fields: Any) -> Container:
    """One run of a container."""
    number = fields.pop("attempt", 0)
    identity = {"id": f"{name}-{number}", "sandbox_id": "sandbox", "uid": "uid", "name": name, "attempt": number}
    return Container(**identity, state=state, created_seconds=float(number), **fields)


@contextlib.asynccontextmanager
async def serving_node(
    config: AgentConfig,
    registry: Any,
    pki_dir: Path,
    node: Node | None = None,
    client: ApiClient | None = None,
) -> AsyncIterator[NodeServer]:
    """A server in the running loop; `config` comes from `with_certificates`."""
    task = asyncio.create_task(serve(config, registry, None, client))
    connector = aiohttp.TCPConnector(ssl=tls(pki_dir, "kubelet-client"))
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://{config.node_ip}:{config.port}"
            async with asyncio.timeout(10):
                while not task.done():
                    with contextlib.suppress(aiohttp.ClientConnectorError):
                        async with session.get(f"{url}/healthz"):
                            break
                    await asyncio.sleep(0.01)
            if task.done():
                task.result()
            yield NodeServer(url, pki_dir, session, node)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def serving_engine(engine: Engine, pki_dir: Path) -> AsyncIterator[NodeServer]:
    """A server over the pods of an agent on the engine."""
    config = with_certificates(engine.config, pki_dir)
    async with engine.agent() as node:
        registry = PodRegistry(
            node.pods, node.cri, engine_address=str(engine.containerd.socket), node_ip=config.node_ip
        )
        async with serving_node(config, registry, pki_dir, node) as server:
            yield server
