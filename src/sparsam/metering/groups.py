"""What pods have used, read from their control groups, whoever made these.

A kubelet names a pod's group after its uid, `kubepods/burstable/pod<uid>` or, under systemd,
`kubepods-burstable-pod<uid with underscores>.slice`; our node agent's lie below a base of its own. Containers are the
groups inside, named after their id. Both versions of cgroups are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
KUBELET_BASES = ("kubepods", "kubepods.slice", "kubelet/kubepods", "kubelet.slice/kubelet-kubepods.slice")

_POD = re.compile(r"(?:^|-)pod([0-9a-f]{8}[-_][0-9a-f_-]{27}|[0-9a-f]{32})(?:\.slice)?$")
_CONTAINER = re.compile(r"(?:^|-)([0-9a-f]{64})(?:\.scope)?$")
_QOS_LEVELS = 2
_LARGEST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class GroupUse:
    """What one group has used since it was made, and the memory it holds."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PodGroups:
    """A pod as a whole, which includes its sandbox, and its containers by id."""

    whole: GroupUse
    containers: dict[str, GroupUse] = field(default_factory=dict)


class GroupReader:
    """Reads the pods below some groups, such as `sparsam/node1` or a kubelet's."""

    def __init__(self, bases: tuple[str, ...] = KUBELET_BASES, root: Path = CGROUP_ROOT) -> None:
        self._bases = tuple(base.strip("/") for base in bases)
        unified = (root / "cgroup.controllers").exists()
        # Plain strings: hundreds of paths are put together in each cycle.
        self._cpu = str(root if unified else root / "cpuacct")
        self._memory = str(root if unified else root / "memory")
        self._read = _use_v2 if unified else _use_v1

    def pods(self) -> dict[str, PodGroups]:
        """Pods by uid. A group that goes while it is read is left out."""
        found = {}
        for base in self._bases:
            for uid, path in self._pod_paths(base, _QOS_LEVELS):
                whole = self._use(path)
                if whole is not None:
                    found[uid] = PodGroups(whole, dict(self._containers(path)))
        return found

    def _pod_paths(self, path: str, levels: int) -> Iterator[tuple[str, str]]:
        for name in _directories(f"{self._cpu}/{path}"):
            match = _POD.search(name)
            if match:
                yield _canonical_uid(match[1]), f"{path}/{name}"
            elif levels > 1:
                yield from self._pod_paths(f"{path}/{name}", levels - 1)

    def _containers(self, path: str) -> Iterator[tuple[str, GroupUse]]:
        for name in _directories(f"{self._cpu}/{path}"):
            match = _CONTAINER.search(name)
            use = self._use(f"{path}/{name}") if match else None
            if match and use is not None:
                yield match[1], use

    def _use(self, path: str) -> GroupUse | None:
        try:
            return self._read(f"{self._cpu}/{path}", f"{self._memory}/{path}")
        except (OSError, ValueError, StopIteration):
            return None


def _use_v1(cpu: str, memory: str) -> GroupUse:
    nanoseconds = int(_content(f"{cpu}/cpuacct.usage"))
    return GroupUse(nanoseconds / 1e9, int(_content(f"{memory}/memory.usage_in_bytes")))


def _use_v2(cpu: str, memory: str) -> GroupUse:
    lines = _content(f"{cpu}/cpu.stat").splitlines()
    microseconds = next(int(line.split()[1]) for line in lines if line.startswith(b"usage_usec "))
    return GroupUse(microseconds / 1e6, int(_content(f"{memory}/memory.current")))


def _content(path: str) -> bytes:
    """What a small file of the kernel's holds, without the cost of a file object."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, _LARGEST_BYTES)
    finally:
        os.close(handle)


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _canonical_uid(text: str) -> str:
    """Systemd's slices cannot hold dashes; static pods have a uid without any (a hash)."""
    return text.replace("_", "-")
