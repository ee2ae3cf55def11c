"""Remove everything a node made on its machine: containers, processes, mounts, links, groups, directories."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
from pathlib import Path

from sparsam.agent.cgroups import Cgroups
from sparsam.agent.config import AgentPaths
from sparsam.agent.containerd import Containerd
from sparsam.agent.cri import Cri
from sparsam.agent.footprint import restore
from sparsam.agent.mounts import mounts_below, unmount_below
from sparsam.agent.runtime import RuntimeFault

log = logging.getLogger(__name__)

_CLEAN_SECONDS = 60.0


async def purge(config: AgentPaths, *, keep_data: bool = False) -> None:
    """Take the node away; works on whatever is left of it, and a second time. `keep_data` leaves images and logs.

    Runs in the network namespace of the node. An engine that is not ours is neither stopped nor are its images removed;
    `purge_foreign` takes our pods from it.
    """
    await stop(config)
    for root in (config.run_dir, config.data_dir):
        unmount_below(root)
    await _remove_link(config.bridge)
    await restore(config.data_dir)
    with contextlib.suppress(OSError):
        Cgroups(config.cgroup_base).remove_all()
    await asyncio.to_thread(_remove, config.run_dir)
    if not keep_data:
        await asyncio.to_thread(_remove, config.data_dir)
    log.info("node purged node=%s", config.node_name)


def _remove(root: Path) -> None:
    """Delete a directory, unless something is mounted in it still: that would be somebody else's data."""
    if mounts := mounts_below(root):
        log.error("left, since something is mounted in it directory=%s mounts=%s", root, mounts)
        return
    shutil.rmtree(root, ignore_errors=True)


async def stop(config: AgentPaths) -> None:
    """End the node's pods and its own engine, keep images and directories: what an orderly `down` does."""
    engine = Containerd(config.data_dir, config.run_dir)
    if await engine.alive():
        with contextlib.suppress(RuntimeFault, TimeoutError):
            async with asyncio.timeout(_CLEAN_SECONDS), Cri(str(engine.socket)) as cri:
                await remove_pods(cri, config.node_name)
    await engine.stop()
    _kill_shims(engine)


async def purge_foreign(socket: str, node_name: str) -> None:
    """Take the node's pods from an engine that is not ours; an engine that does not answer is said and left."""
    try:
        async with asyncio.timeout(_CLEAN_SECONDS), Cri(socket) as cri:
            await remove_pods(cri, node_name)
    except (RuntimeFault, TimeoutError, OSError) as error:
        log.warning("pods not removed socket=%s error=%s", socket, error or type(error).__name__)


async def remove_pods(cri: Cri, node_name: str) -> None:
    """Stop and remove every sandbox that this node made."""
    for sandbox in await cri.list_sandboxes():
        if sandbox.node == node_name:
            await cri.stop_sandbox(sandbox.id)
            await cri.remove_sandbox(sandbox.id)


def _kill_shims(engine: Containerd) -> None:
    """Shims that outlived their containerd."""
    for pid in engine.shims().values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _remove_link(name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", "link", "delete", name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    await process.wait()
