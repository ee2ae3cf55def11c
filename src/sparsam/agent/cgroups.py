"""Pod-level control groups on cgroup v1 and v2: `<base>/<qos>/pod<uid>`, parent of the pod's containers.

Which version is in charge is read from the kernel. The engine makes the groups of the containers inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
_V2_CONTROLLERS = "+cpu +memory +pids"
_CPU_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """Limits of a whole pod; zero means none."""

    cpu_shares: int = 0
    cpu_quota_microseconds: int = 0
    memory_bytes: int = 0
    processes: int = 0
    """Processes and threads."""


class Cgroups:
    """The groups below one root path such as `/sparsam/node1`."""

    def __init__(self, base: str, root: Path = CGROUP_ROOT) -> None:
        self.base = base.rstrip("/")
        self._root = root
        self.unified = (root / "cgroup.controllers").exists()

    def pod_path(self, qos: str, uid: str) -> str:
        """Path of a pod's group, as the engine wants its parent."""
        return f"{self.base}/{qos.lower()}/pod{uid}"

    def create_pod(self, qos: str, uid: str, limits: CgroupLimits) -> str:
        """Make the pod's group with its limits; returns its path."""
        path = self.pod_path(qos, uid)
        if self.unified:
            self._create_v2(path, limits)
        else:
            self._create_v1(path, limits)
        return path

    def lift_limits(self, qos: str, uid: str) -> None:
        """Take the limits off the pod's group, so that those of its containers may change."""
        path = self.pod_path(qos, uid).lstrip("/")
        if self.unified:
            files = {self._root / path / name: "max" for name in ("cpu.max", "memory.max")}
        else:
            files = {
                self._root / "cpu" / path / "cpu.cfs_quota_us": "-1",
                self._root / "memory" / path / "memory.limit_in_bytes": "-1",
            }
        for file, value in files.items():
            if file.exists():
                _write(file, value)

    def remove_pod(self, uid: str) -> None:
        """Remove the pod's group in every hierarchy; raises OSError while processes live in it."""
        for hierarchy in self._hierarchies():
            for group in (hierarchy / self.base.lstrip("/")).glob(f"*/pod{uid}"):
                _remove_tree(group)

    def processes(self, uid: str) -> set[int]:
        """Pids of whatever lives in the pod's group, its containers' groups included."""
        found: set[int] = set()
        for hierarchy in self._hierarchies():
            for path in (hierarchy / self.base.lstrip("/")).glob(f"*/pod{uid}/**/cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in path.read_text().split())
        return found

    def remove_all(self) -> None:
        """Remove everything below the base, and the parents that are empty then."""
        for hierarchy in self._hierarchies():
            base = hierarchy / self.base.lstrip("/")
            _remove_tree(base)
            parent = base.parent
            while parent != hierarchy and parent.is_dir():
                try:
                    parent.rmdir()
                except OSError:
                    break
                parent = parent.parent

    def pod_uids(self) -> set[str]:
        """Pods that have a group."""
        return {
            group.name.removeprefix("pod")
            for hierarchy in self._hierarchies()
            for group in (hierarchy / self.base.lstrip("/")).glob("*/pod*")
        }

    def _hierarchies(self) -> list[Path]:
        if self.unified:
            return [self._root]
        return [path for path in sorted(self._root.iterdir()) if path.is_dir() and not path.is_symlink()]

    def _create_v1(self, path: str, limits: CgroupLimits) -> None:
        wanted = _v1_files(limits)
        for controller, files in wanted.items():
            hierarchy = self._root / controller
            if not hierarchy.is_dir():
                continue
            group = hierarchy / path.lstrip("/")
            group.mkdir(parents=True, exist_ok=True)
            for name, value in files.items():
                _write(group / name, value)

    def _create_v2(self, path: str, limits: CgroupLimits) -> None:
        group = self._root
        for part in path.strip("/").split("/"):
            _write(group / "cgroup.subtree_control", _V2_CONTROLLERS)
            group = group / part
            group.mkdir(exist_ok=True)
        _write(group / "cgroup.subtree_control", _V2_CONTROLLERS)
        for name, value in _v2_files(limits).items():
            _write(group / name, value)


def _v1_files(limits: CgroupLimits) -> dict[str, dict[str, str]]:
    cpu: dict[str, str] = {}
    memory: dict[str, str] = {}
    if limits.cpu_shares:
        cpu["cpu.shares"] = str(limits.cpu_shares)
    if limits.cpu_quota_microseconds:
        cpu["cpu.cfs_period_us"] = str(_CPU_PERIOD_MICROSECONDS)
        cpu["cpu.cfs_quota_us"] = str(limits.cpu_quota_microseconds)
    if limits.memory_bytes:
        memory["memory.limit_in_bytes"] = str(limits.memory_bytes)
    return {"cpu": cpu, "memory": memory, "pids": {"pids.max": _most(limits.processes)}}


def _most(processes: int) -> str:
    return str(processes) if processes > 0 else "max"


def _v2_files(limits: CgroupLimits) -> dict[str, str]:
    files: dict[str, str] = {}
    if limits.cpu_shares:
        files["cpu.weight"] = str(cpu_weight(limits.cpu_shares))
    if limits.cpu_quota_microseconds:
        files["cpu.max"] = f"{limits.cpu_quota_microseconds} {_CPU_PERIOD_MICROSECONDS}"
    if limits.memory_bytes:
        files["memory.max"] = str(limits.memory_bytes)
    files["pids.max"] = _most(limits.processes)
    return files


def cpu_weight(cpu_shares: int) -> int:
    """The cgroup v2 weight (1 to 10,000) of v1 shares (2 to 262,144), as upstream and runc convert it."""
    return 1 + ((cpu_shares - 2) * 9999) // 262142


def _write(path: Path, value: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.write_text(value)


def _remove_tree(group: Path) -> None:
    if not group.is_dir():
        return
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBUSY):
                raise
