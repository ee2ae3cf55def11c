"""What the node changes in its network namespace outside of its own objects, written down so that it can be undone.

Kernel settings are put back. Directories that containerd and the CNI library make at fixed places go when they are
empty. The portmap plugin leaves empty chains behind in iptables' `nat` table; the table goes when it was not
there before and nothing of anybody else has come into it since.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sparsam.agent.network import apply_sysctls, restore_sysctls

_FILE = "machine-before.json"
_FAMILIES = {"ip": "iptables-save", "ip6": "ip6tables-save"}
_DIRECTORIES = ("/run/containerd/s", "/run/containerd", "/var/lib/cni/results", "/var/lib/cni")
_PORTMAP = "CNI-HOSTPORT-"
_PORTMAP_TARGETS = "-A CNI-HOSTPORT-DNAT"


class Before(msgspec.Struct):
    """The machine before the node first came."""

    sysctls: dict[str, str] = {}
    nat_families: list[str] = []


async def prepare(data_dir: Path, pod_cidrs: Iterable[str]) -> None:
    """Apply kernel settings; the first time, write down what was there before."""
    path = data_dir / _FILE
    if path.exists():
        apply_sysctls(pod_cidrs)
        return
    families = await _nat_families()
    path.write_bytes(msgspec.json.encode(Before(apply_sysctls(pod_cidrs), families)))


async def restore(data_dir: Path) -> None:
    """Undo what `prepare` and the node's hostPorts changed."""
    try:
        before = msgspec.json.decode((data_dir / _FILE).read_bytes(), type=Before)
    except (OSError, msgspec.DecodeError):
        return
    restore_sysctls(before.sysctls)
    _remove_empty_directories()
    for family in await _nat_families():
        if family not in before.nat_families and only_portmap_is_left(await _run(_FAMILIES[family], "-t", "nat")):
            await _run("nft", "delete", "table", family, "nat")


def _remove_empty_directories() -> None:
    for directory in _DIRECTORIES:
        with contextlib.suppress(OSError):  # not empty: somebody else is at home there
            Path(directory).rmdir()


def only_portmap_is_left(saved: str) -> bool:
    """Whether a saved `nat` table holds nothing but the portmap plugin's own, empty chains."""
    for line in saved.splitlines():
        if line.startswith(_PORTMAP_TARGETS):
            return False
        own_chain = line.startswith(":") and line.split()[1] == "-"
        if (own_chain or line.startswith("-A ")) and _PORTMAP not in line:
            return False
    return bool(saved)


async def _nat_families() -> list[str]:
    tables = (await _run("nft", "list", "tables")).splitlines()
    return [family for family in _FAMILIES if f"table {family} nat" in tables]


async def _run(*command: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        output, _ = await process.communicate()
        return output.decode(errors="replace") if process.returncode == 0 else ""
    return ""
