"""The whole agent against a real API server and a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparsam.agent.main import run
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import CONFIGMAPS, EVENTS, LEASES, NODES, PODS, SERVICEACCOUNTS, Resource
from tests.support.agent import Engine, busybox_archive, container
from tests.support.apiserver import serving

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_containerd]

Obj = dict[str, Any]


@contextlib.asynccontextmanager
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[Engine, ApiClient]]:
    engine = Engine()
    async with serving(tmp_path, nodes=(engine.config.node_name,), advertise=("192.0.2.2", 6443)) as server:
        config = load_kubeconfig(server.kubeconfig_for(f"node-{engine.config.node_name}"))
        engine.config = replace(engine.config, client=config)
        try:
            async with ApiClient(load_kubeconfig(server.kubeconfig)) as client:
                account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
                with contextlib.suppress(AlreadyExists):
                    await client.create(SERVICEACCOUNTS, account, "default")
                yield engine, client
        finally:
            await engine.stop()


@contextlib.asynccontextmanager
async def agent(engine: Engine) -> AsyncIterator[None]:
    task = asyncio.create_task(run(engine.config))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(client: ApiClient, name: str, holds: Any, seconds: float = 20.0) -> Obj:
    async with asyncio.timeout(seconds):
        while True:
            current = await client.get(PODS, name, "default")
            if holds(current["status"]):
                return current
            await asyncio.sleep(0.02)


async def found(client: ApiClient, resource: Resource, name: str, namespace: str) -> Obj:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NotFound):
                return await client.get(resource, name, namespace)
            await asyncio.sleep(0.02)


async def node_ready(client: ApiClient, name: str) -> Obj:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NotFound):
                node = await client.get(NODES, name)
                if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ())):
                    return node
            await asyncio.sleep(0.05)


def bound_pod(engine: Engine, *containers: Obj, name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": engine.config.node_name,
            "containers": list(containers),
            "terminationGracePeriodSeconds": 1,
            **spec,
        },
    }


async def test_a_pod_bound_to_the_node_runs_reports_survives_the_agent_and_goes(tmp_path: Path):
    async with cluster(tmp_path) as (engine, client):
        async with agent(engine):
            node = await node_ready(client, engine.config.node_name)
            assert node["spec"]["podCIDR"] == engine.config.pod_cidrs[0]
            assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.0+sparsam"
            lease = await found(client, LEASES, engine.config.node_name, "kube-node-lease")
            assert lease["spec"]["holderIdentity"] == engine.config.node_name
            await engine.containerd.import_image(busybox_archive(tmp_path / "busybox.tar"))
            settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}
            await client.create(CONFIGMAPS, {**settings, "data": {"ca.crt": "certificate"}}, "default")
            began = asyncio.get_running_loop().time()
            await client.create(PODS, bound_pod(engine, container()), "default")
            first = await until(client, "web", lambda status: status.get("phase") == "Running")
            print("running after", asyncio.get_running_loop().time() - began)
            run_id = first["status"]["containerStatuses"][0]["containerID"]
        async with agent(engine):
            await asyncio.sleep(0.5)
            second = await client.get(PODS, "web", "default")
            assert second["status"]["containerStatuses"][0]["containerID"] == run_id
            assert second["status"]["containerStatuses"][0]["restartCount"] == 0
            await client.delete(PODS, "web", "default")
            async with asyncio.timeout(10):
                while (await client.list(PODS, "default"))["items"]:
                    await asyncio.sleep(0.02)
        events = [event["reason"] for event in (await client.list(EVENTS, "default"))["items"]]
        assert sorted(set(events)) == ["Created", "Killing", "Pulled", "Started"]


async def test_an_engine_that_dies_is_started_again_and_containers_live_on(tmp_path: Path):
    async with cluster(tmp_path) as (engine, client), agent(engine):
        await node_ready(client, engine.config.node_name)
        await engine.containerd.import_image(busybox_archive(tmp_path / "busybox.tar"))
        plain = {"automountServiceAccountToken": False}
        await client.create(PODS, bound_pod(engine, container(), **plain), "default")
        first = await until(client, "web", lambda status: status.get("phase") == "Running")
        os.kill(int((engine.config.run_dir / "containerd.pid").read_text()), signal.SIGKILL)
        await client.create(PODS, bound_pod(engine, container(), name="later", **plain), "default")
        await until(client, "later", lambda status: status.get("phase") == "Running")
        now = await client.get(PODS, "web", "default")
        assert now["status"]["containerStatuses"] == first["status"]["containerStatuses"]
