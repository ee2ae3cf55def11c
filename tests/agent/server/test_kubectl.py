"""kubectl's streaming commands through a real API server, agent and engine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sparsam.agent.main import run
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import CONFIGMAPS, NODES, PODS, SERVICEACCOUNTS
from tests.support.agent import Engine, busybox_archive, container
from tests.support.apiserver import serving
from tests.support.nodeserver import with_certificates

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs_root,
    pytest.mark.needs_containerd,
    pytest.mark.e2e,
]

KUBECTL = Path(sys.executable).with_name("kubectl")
_COMMAND = (
    "mkdir -p /www /tmp; dd if=/dev/urandom of=/www/big bs=1M count=3 2>/dev/null; "
    "httpd -p 8080 -h /www; echo first; echo last; while read l; do echo got $l; done; sleep 99"
)


@dataclass
class Cluster:
    """A pod named web, and kubectl."""

    kubeconfig: Path
    client: ApiClient
    node_name: str

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = subprocess.PIPE
        command = (str(KUBECTL), "--kubeconfig", str(self.kubeconfig), *arguments)
        return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)

    async def kubectl(self, *arguments: str, stdin: bytes = b"") -> tuple[int | None, str]:
        process = await self.start(*arguments)
        output, _ = await asyncio.wait_for(process.communicate(stdin), 60)
        return process.returncode, output.decode()


async def settled(client: ApiClient, node_name: str) -> None:
    """Wait for a ready node and a running pod."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(NotFound):
                node = await client.get(NODES, node_name)
                conditions = node["status"].get("conditions", ())
                if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
                    break
            await asyncio.sleep(0.05)


async def running(client: ApiClient, name: str) -> None:
    async with asyncio.timeout(60):
        while (await client.get(PODS, name, "default"))["status"].get("phase") != "Running":
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    engine = Engine()
    name = engine.config.node_name
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        async with serving(path, nodes=(name,), advertise=("192.0.2.2", 6443)) as server:
            config = with_certificates(engine.config, server.pki_dir)
            engine.config = replace(config, client=load_kubeconfig(server.kubeconfig_for(f"node-{name}")))
            task = asyncio.create_task(run(engine.config))
            try:
                async with ApiClient(load_kubeconfig(server.kubeconfig)) as client:
                    await settled(client, name)
                    await engine.containerd.import_image(busybox_archive(path / "busybox.tar"))
                    await populate(client, name)
                    yield Cluster(server.kubeconfig, client, name)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await engine.stop()


async def populate(client: ApiClient, node_name: str) -> None:
    account: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    trust: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}
    with contextlib.suppress(AlreadyExists):
        await client.create(SERVICEACCOUNTS, account, "default")
    await client.create(CONFIGMAPS, {**trust, "data": {"ca.crt": "certificate"}}, "default")
    spec = {
        "nodeName": node_name,
        "terminationGracePeriodSeconds": 1,
        "containers": [{**container(command=_COMMAND), "stdin": True}],
    }
    await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}, "default")
    await running(client, "web")


async def test_logs_show_what_was_written(cluster: Cluster):
    async with asyncio.timeout(20):
        while "last" not in (await cluster.kubectl("logs", "web"))[1]:
            await asyncio.sleep(0.05)
    assert (await cluster.kubectl("logs", "web"))[1].startswith("first\nlast\n")
    status, text = await cluster.kubectl("logs", "web", "--previous")
    assert status == 1
    assert 'previous terminated container "main" in pod "web" not found' in text


async def test_exec_passes_input_output_and_exit_code(cluster: Cluster):
    assert await cluster.kubectl("exec", "-i", "web", "--", "cat", stdin=b"piped") == (0, "piped")
    status, text = await cluster.kubectl("exec", "web", "--", "sh", "-c", "exit 3")
    assert (status, text) == (3, "command terminated with exit code 3\n")


async def test_a_file_survives_the_way_in_and_out(cluster: Cluster, tmp_path: Path):
    data = random.Random(1).randbytes(20_000_000)
    (tmp_path / "in").write_bytes(data)
    assert (await cluster.kubectl("cp", str(tmp_path / "in"), "web:/tmp/file"))[0] == 0
    assert (await cluster.kubectl("cp", "web:/tmp/file", str(tmp_path / "out")))[0] == 0
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()


async def test_attach_joins_and_followed_logs_show_it(cluster: Cluster):
    following = await cluster.start("logs", "-f", "web")
    attached = await cluster.start("attach", "-i", "web")
    try:
        assert attached.stdin and following.stdout
        attached.stdin.write(b"hello\n")
        async with asyncio.timeout(20):
            while await following.stdout.readline() != b"got hello\n":
                pass
    finally:
        for process in (following, attached):
            process.terminate()
            await process.communicate()


async def test_a_port_is_forwarded_many_times_and_side_by_side(cluster: Cluster):
    forwarding = await cluster.start("port-forward", "web", ":8080")
    try:
        assert forwarding.stdout
        line = (await asyncio.wait_for(forwarding.stdout.readline(), 20)).decode()
        address = line.split()[2]
        async with aiohttp.ClientSession() as session:

            async def fetch() -> bytes:
                async with session.get(f"http://{address}/big") as answer:
                    return await answer.read()

            first = await fetch()
            assert len(first) == 3 << 20
            assert all(each == first for each in await asyncio.gather(*(fetch() for _ in range(6))))
    finally:
        forwarding.terminate()
        await forwarding.communicate()


async def test_statistics_come_through_the_node_proxy(cluster: Cluster):
    path = f"/api/v1/nodes/{cluster.node_name}/proxy"
    status, text = await cluster.kubectl("get", "--raw", f"{path}/stats/summary")
    assert status == 0
    assert '"name":"web"' in text
    assert (await cluster.kubectl("get", "--raw", f"{path}/healthz"))[1] == "ok"
