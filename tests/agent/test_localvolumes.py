"""A node's part in local volumes, against a real API server: directories made, deleted, and room told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sparsam.agent.config import AgentConfig
from sparsam.agent.localvolumes import LocalVolumes, checked_name, room_left
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.client.events import EventRecorder
from sparsam.objects.kinds import CSISTORAGECAPACITIES, EVENTS, NODES, PERSISTENTVOLUMES, STORAGECLASSES
from sparsam.objects.localvolumes import (
    FINALIZER,
    MADE_ANNOTATION,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER,
    storage_class,
)
from tests.support.apiserver import serving
from tests.support.controllers import eventually

Obj = dict[str, Any]
GIB = 1 << 30


def volume(name: str, path: Path, policy: str = "Delete", size: str = "1Gi") -> Obj:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: "n1"},
            "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size},
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": "local",
        },
    }


@contextlib.asynccontextmanager
async def agent(tmp_path: Path) -> AsyncIterator[tuple[ApiClient, Path]]:
    async with serving(tmp_path / "api") as server, ApiClient(load_kubeconfig(server.kubeconfig)) as client:
        config = AgentConfig(
            node_name="n1", node_ips=("",), data_dir=tmp_path / "node", run_dir=tmp_path, pod_cidrs=("",), cluster_dns="",
            client=client.config,
        )  # fmt: skip
        await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        recorder = EventRecorder(client, "kubelet")
        tasks = [asyncio.create_task(each) for each in (recorder.run(), LocalVolumes(config, client, recorder).run())]
        try:
            yield client, config.volumes_dir
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def made(client: ApiClient, name: str) -> Any:
    async def look() -> bool:
        return MADE_ANNOTATION in (await client.get(PERSISTENTVOLUMES, name))["metadata"]["annotations"]

    return await eventually(look, f"{name} made")


async def release(client: ApiClient, name: str) -> None:
    await client.patch(PERSISTENTVOLUMES, name, {"status": {"phase": "Released"}}, subresource="status")


async def test_directories_are_made_and_go_with_released_volumes_that_are_to_be_deleted(tmp_path: Path):
    async with agent(tmp_path) as (client, root):
        for name, policy in (("gone", "Delete"), ("kept", "Retain")):
            await client.create(PERSISTENTVOLUMES, volume(name, root / name, policy))
            await made(client, name)
            (root / name / "data").write_text("x")
            await release(client, name)

        async def finalizers() -> Any:
            found = await client.get(PERSISTENTVOLUMES, "gone")
            left = found["metadata"].get("finalizers", [])
            return "deletionTimestamp" in found["metadata"] and FINALIZER not in left

        # The other finalizer is the protection's, which does not run here.
        assert await eventually(finalizers)
        assert [each.name for each in root.iterdir()] == ["kept"]
        await client.delete(PERSISTENTVOLUMES, "kept")

        async def kept_is_free() -> Any:
            return FINALIZER not in (await client.get(PERSISTENTVOLUMES, "kept"))["metadata"].get("finalizers", [])

        assert await eventually(kept_is_free)
        assert (root / "kept" / "data").read_text() == "x"


async def test_a_volume_elsewhere_is_never_touched(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    async with agent(tmp_path) as (client, root):
        await client.create(PERSISTENTVOLUMES, volume("evil", precious))
        await release(client, "evil")

        async def told() -> list[str]:
            events = (await client.list(EVENTS, "default"))["items"]
            return [each["message"] for each in events if each["reason"] == "VolumeFailedDelete"]

        (message, *_) = await eventually(told)
        assert "is not below" in message
        assert precious.is_dir()
        assert list(root.iterdir()) == []


async def test_room_is_told_for_each_class_and_shrinks_with_promises(tmp_path: Path):
    async with agent(tmp_path) as (client, root):
        await client.create(STORAGECLASSES, storage_class())
        await client.create(STORAGECLASSES, {**storage_class(), "metadata": {"name": "b"}, "provisioner": "other"})

        async def told() -> list[Obj]:
            return (await client.list(CSISTORAGECAPACITIES, "kube-system"))["items"]

        (found,) = await eventually(told)
        assert (found["storageClassName"], found["nodeTopology"]) == (
            "local",
            {"matchLabels": {"kubernetes.io/hostname": "n1"}},
        )
        assert found["metadata"]["ownerReferences"][0]["name"] == "n1"
        await client.create(PERSISTENTVOLUMES, volume("huge", root / "huge", size="1Ei"))

        async def none_left() -> bool:
            return [each["capacity"] for each in await told()] == ["0"]

        assert await eventually(none_left)
        await client.delete(STORAGECLASSES, "local")

        async def nothing_told() -> bool:
            return not await told()

        assert await eventually(nothing_told)


def test_room_is_what_is_free_and_not_promised():
    assert room_left(5 * GIB, 128 * GIB, 0) == "5120Mi"
    assert room_left(100 * GIB, 128 * GIB, 100 * GIB) == "28672Mi"
    assert room_left(5 * GIB, 128 * GIB, 200 * GIB) == "0Mi"
    assert room_left(int(5.9 * GIB), 128 * GIB, 0) == "5120Mi"


@pytest.mark.parametrize("path", ["/root/other", "/root/pvc/..", "/root", "/root/pvc/x", "", None])
def test_only_the_path_that_follows_from_the_name_is_believed(path: str | None):
    spec = {"local": {"path": path}} if path is not None else {"hostPath": {"path": "/root/pvc"}}
    with pytest.raises(OSError, match="not below"):
        checked_name({"metadata": {"name": "pvc"}, "spec": spec}, Path("/root"))
    assert checked_name({"metadata": {"name": "pvc"}, "spec": {"local": {"path": "/root/pvc"}}}, Path("/root")) == "pvc"
