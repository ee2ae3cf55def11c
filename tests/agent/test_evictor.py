"""Evictions and image removal on a real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sparsam.agent import evictor as module
from sparsam.agent.diskuse import disk_usage
from sparsam.agent.evictor import Evictor
from sparsam.agent.images import ImageConfig, build_image, busybox_entries
from sparsam.agent.machine import Room, read_machine
from sparsam.agent.registry import PodRegistry
from sparsam.agent.server.usage import Sampler
from tests.support.agent import Engine, Node, container, phase, pod, ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs_root, pytest.mark.needs_containerd]
PLENTY, NO_MEMORY, NO_DISK = Room(1 << 40, 0.9, 0.9), Room(1 << 20, 0.9, 0.9), Room(1 << 40, 0.01, 0.9)


def made(node: Node, *rooms: Room) -> Evictor:
    """An evictor that meets these rooms one after the other, the last for good."""
    left = list(rooms)

    def room(_: Path) -> Room:
        return left.pop(0) if len(left) > 1 else left[0]

    registry = PodRegistry(node.pods, node.cri, engine_address="", node_ip=node.config.node_ip)
    return Evictor(node.context, node.pods, read_machine(node.config.data_dir), Sampler(node.config, registry), room)


async def test_the_greediest_pod_goes_and_says_why(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)
    greedy = node.run(pod(container(command="x=$(head -c 20m /dev/zero | tr '\\\\0' x); sleep 3600"), name="greedy"))
    modest = node.run(pod(container(resources={"requests": {"memory": "50Mi"}}), name="modest"))
    await node.api.until(greedy, ready)
    await node.api.until(modest, ready)
    await asyncio.sleep(1.0)
    evictor, told = made(node, NO_MEMORY), []
    evictor.tell = told.extend
    await evictor.look()
    assert told == ["MemoryPressure"]
    gone = await node.api.until(greedy, phase("Failed"))
    assert gone["status"]["reason"] == "Evicted"
    assert gone["status"]["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi")
    target = next(c for c in gone["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert target["reason"] == "TerminationByKubelet"
    assert ready(node.api.pods[modest["metadata"]["uid"]]["status"])


async def test_a_volume_that_grows_beyond_its_limit_ends_its_pod(node: Node):
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    writing = container(command="head -c 3m /dev/zero > /scratch/f; sync; sleep 3600", volumeMounts=mounts)
    scratch = {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}
    limited = node.run(pod(writing, volumes=[scratch], name="writer"))
    await node.api.until(limited, ready)
    await asyncio.sleep(1.0)
    await made(node, PLENTY).look()
    gone = await node.api.until(limited, phase("Failed"))
    assert gone["status"]["message"] == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '


async def test_unused_images_go_before_pods_do(
    engine: Engine, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sparsam.agent.imagegc.MINIMUM_AGE_SECONDS", 0.0)
    archive = build_image(
        "localhost/test/idle:1", busybox_entries(), tmp_path / "idle.tar", ImageConfig(command=("/bin/true",))
    )
    await node.engine.import_image(archive)
    staying = node.run(pod(name="staying"))
    await node.api.until(staying, ready)
    await made(node, NO_DISK, PLENTY).look()
    assert await node.cri.image("localhost/test/idle:1") is None
    assert ready(node.api.pods[staying["metadata"]["uid"]]["status"])


async def test_disk_usage_counts_files_and_follows_no_links(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    assert 100_000 <= disk_usage(tmp_path) < 200_000
    assert disk_usage(tmp_path / "missing") == 0
