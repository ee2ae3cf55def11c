"""Our own containerd: how its end is noticed, and what is left of what was asked of it."""

import asyncio
import os
import signal

import pytest

from sparsam.agent.containerd import mount_image, unmount_image
from tests.support.agent import BUSYBOX, Engine, Node, pod, ready

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_containerd,
    pytest.mark.asyncio(loop_scope="module"),
]


async def snapshots(engine: Engine) -> str:
    process = await asyncio.create_subprocess_exec(
        "ctr", "-a", str(engine.containerd.socket), "-n", "k8s.io", "snapshots", "ls", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_an_unmounted_image_leaves_neither_snapshot_nor_lease(engine: Engine):
    target = engine.base / "mounted"
    target.mkdir()
    socket = str(engine.containerd.socket)
    await mount_image(socket, BUSYBOX, target)
    assert (target / "bin" / "busybox").exists()
    await unmount_image(socket, target)
    assert list(target.iterdir()) == []
    assert str(target) not in await snapshots(engine)
    assert await engine.containerd.leases() == set()
    await unmount_image(socket, target)  # nothing is there any more, which is fine


async def test_an_image_can_be_mounted_where_a_killed_agent_had_begun_to(engine: Engine):
    target = engine.base / "begun"
    target.mkdir()
    socket = str(engine.containerd.socket)
    await mount_image(socket, BUSYBOX, target)
    process = await asyncio.create_subprocess_exec("umount", str(target))
    await process.wait()
    await mount_image(socket, BUSYBOX, target)
    assert (target / "bin" / "busybox").exists()
    await unmount_image(socket, target)


async def test_a_killed_engine_is_noticed_and_a_killed_shims_socket_is_removed(engine: Engine, node: Node):
    one = node.run(pod())
    await node.api.until(one, ready)
    (sandbox,) = await node.cri.list_sandboxes(one["metadata"]["uid"])
    socket = engine.containerd.shim_socket(sandbox.id)
    assert socket.exists()
    watching = asyncio.create_task(engine.containerd.ended())
    await asyncio.sleep(0.1)
    assert not watching.done()
    os.kill(int((engine.config.run_dir / "containerd.pid").read_text()), signal.SIGKILL)
    async with asyncio.timeout(30):
        await watching
    await engine.containerd.start()
    os.kill(engine.containerd.shims()[sandbox.id], signal.SIGKILL)
    await node.api.until(one, lambda status: not ready(status))
    node.delete(one, grace=0)
    await node.api.until_gone(one)
    assert not socket.exists()
    assert engine.containerd.shims() == {}
