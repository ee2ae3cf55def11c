"""What an engine leaves behind when it is killed in the middle of something, found and taken away.

Its books hold what was finished. Networks and namespaces of a sandbox that was not yet written down, a shim whose
container is not in the books, a bundle whose removal had begun: nobody would ever look at them again. The agent notes
what is there when it or the engine starts. What the engine still does not know a while later, when everything that a
killed agent had asked for is done or given up, belongs to nobody and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from sparsam.agent.config import AgentPaths
from sparsam.agent.containerd import SHIM_SOCKETS, Containerd
from sparsam.agent.cri import Cri
from sparsam.agent.mounts import mounts_below, unmount
from sparsam.agent.network import attached, detach
from sparsam.agent.runtime import RuntimeNotFound

log = logging.getLogger(__name__)

SETTLE_SECONDS = 15.0
"""How long after a start the engine's books are believed: until then what a killed agent asked for may be under way."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Ids of sandboxes and containers, network namespaces and leases that something points to."""

    ids: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    leases: frozenset[str] = frozenset()
    dead_sockets: frozenset[str] = frozenset()
    """Of shims that were killed, whoever's they were: nobody can listen there again."""

    def without(self, known: Traces) -> Traces:
        """What is not among the known."""
        return Traces(*(getattr(self, name) - getattr(known, name) for name in _SORTS))

    def among(self, other: Traces) -> Traces:
        """What is in both."""
        return Traces(*(getattr(self, name) & getattr(other, name) for name in _SORTS))


_SORTS = tuple(field.name for field in fields(Traces))


async def sweep(config: AgentPaths) -> None:
    """Note what is there, wait, and remove what the engine does not know then; raises RuntimeFault."""
    engine = Containerd(config.data_dir, config.run_dir)
    before = await find(engine, config.ipam_dir)
    await asyncio.sleep(SETTLE_SECONDS)
    async with Cri(str(engine.socket)) as cri:
        known = await _known(cri, config.pods_dir)
    orphans = (await find(engine, config.ipam_dir)).among(before).without(known)
    for name in sorted(orphans.ids):
        await _forget(engine, name, attached=name in attached(config.ipam_dir))
    for path in sorted(orphans.namespaces):
        log.warning("removed a network namespace that no sandbox has path=%s", path)
        _remove(Path(path))
    for lease in sorted(orphans.leases):
        await engine.remove_lease(lease)
    for path in sorted(orphans.dead_sockets):
        _remove(Path(path))


async def find(engine: Containerd, ipam_dir: Path) -> Traces:
    """Everything on this machine that points to a sandbox or container of the engine."""
    ids = attached(ipam_dir) | engine.shims().keys()
    for directory in engine.record_dirs:
        ids |= {path.name.lstrip(".") for path in _entries(directory)}
    return Traces(
        frozenset(ids),
        frozenset(str(path) for path in _entries(engine.netns_dir)),
        frozenset(await engine.leases()),
        frozenset(str(path) for path in _entries(SHIM_SOCKETS) if _refuses(path)),
    )


async def _known(cri: Cri, pods_dir: Path) -> Traces:
    """What the engine has in its books, and the leases of images that pods have mounted."""
    sandboxes = [sandbox.id for sandbox in await cri.list_sandboxes()]
    containers = await cri.container_states()
    namespaces = set()
    for name in sandboxes:
        with contextlib.suppress(RuntimeNotFound):
            namespaces.add(namespace_of(await cri.sandbox_info(name)))
    volumes = {str(path) for pod in _entries(pods_dir) for path in _entries(pod / "volumes")}
    return Traces(frozenset((*sandboxes, *containers)), frozenset(namespaces), frozenset(volumes))


def namespace_of(info: dict[str, str]) -> str:
    """The path of a sandbox's network namespace, from the engine's verbose words; empty on the node's own."""
    spec = msgspec.json.decode(info.get("info") or "{}").get("runtimeSpec") or {}
    kinds = {each.get("type"): each.get("path") or "" for each in (spec.get("linux") or {}).get("namespaces") or ()}
    return str(kinds.get("network", ""))


async def _forget(engine: Containerd, name: str, *, attached: bool) -> None:
    log.warning("removed what a forgotten container or sandbox left id=%s", name)
    pid = engine.shims().get(name)
    if pid is not None:
        _end(pid)
    if attached:
        await detach(engine.conf_dir, name)
    for directory in engine.record_dirs:
        for entry in (directory / name, directory / f".{name}"):
            _remove(entry)
    engine.shim_socket(name).unlink(missing_ok=True)


def _end(shim: int) -> None:
    """Kill a shim and the first processes of its containers, which take the others with them."""
    for pid in (*_children(shim), shim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for task in _entries(Path(f"/proc/{parent}/task")):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def _refuses(path: Path) -> bool:
    """Whether a socket's file is there and nobody listens, in any network namespace."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _remove(path: Path) -> None:
    try:
        for point in mounts_below(path):
            unmount(point)
    except OSError as error:
        log.warning("not removed path=%s error=%s", path, error)  # what is mounted there may be somebody's data
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
