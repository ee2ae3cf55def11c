"""Everything that pods leave on a machine while they live, listed so that two moments can be compared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsam.agent.config import AgentPaths

CGROUPS = Path("/sys/fs/cgroup")
SHIM_SOCKETS = Path("/run/containerd/s")


@dataclass(frozen=True)
class NodeFiles:
    """Where one node of a test cluster keeps what it makes."""

    paths: AgentPaths

    @classmethod
    def of(cls, data_dir: Path, run_dir: Path, name: str) -> NodeFiles:
        return cls(AgentPaths(node_name=name, data_dir=data_dir / "nodes" / name, run_dir=run_dir / name))

    @property
    def socket(self) -> Path:
        return self.paths.run_dir / "containerd.sock"

    @property
    def bundles(self) -> Path:
        return self.paths.run_dir / "c" / "io.containerd.runtime.v2.task" / "k8s.io"

    def engine_pid(self) -> int | None:
        """The engine, if the pid on file still is this cluster's."""
        pid = _number(self.paths.run_dir / "containerd.pid")
        return pid if pid is not None and str(self.paths.data_dir) in _command(pid) else None

    def shim_pids(self, uid: str = "") -> dict[str, int]:
        """Shims by container: the parents of the processes that the engine wrote down; of one pod if asked."""
        found = {}
        for bundle in _children(self.bundles):
            if uid and uid not in _text(bundle / "config.json"):
                continue
            init = _number(bundle / "init.pid")
            parent = _parent(init) if init is not None else None
            if parent is not None and str(self.socket) in _command(parent):
                found[bundle.name] = parent
        return found

    def shim_sockets(self) -> set[str]:
        """Sockets that the shims of now listen at."""
        found = set()
        for bundle in _children(self.bundles):
            try:
                found.add((bundle / "address").read_text().removeprefix("unix://"))
            except OSError:
                continue
        return found

    def inventory(self, sockets: set[str]) -> dict[str, set[str]]:
        """What is there now, by sort; `sockets` are all that shims ever listened at."""
        paths, state = self.paths, self.paths.run_dir / "c"
        cri = state / "io.containerd.grpc.v1.cri"
        root = paths.data_dir / "containerd"
        places = {
            "pod directories": paths.pods_dir,
            "log directories": paths.logs_dir,
            "bundles": self.bundles,
            "working directories": root / "io.containerd.runtime.v2.task" / "k8s.io",
            "runc states": state / "runc" / "k8s.io",
            "engine's container state": cri / "containers",
            "engine's sandbox state": cri / "sandboxes",
            "engine's container files": root / "io.containerd.grpc.v1.cri" / "containers",
            "engine's sandbox files": root / "io.containerd.grpc.v1.cri" / "sandboxes",
            "network namespaces": cri / "netns",
        }
        return {
            **{name: {path.name for path in _children(place)} for name, place in places.items()},
            "addresses": {path.name for path in _children(paths.ipam_dir / "sparsam") if path.name[0].isdigit()},
            "mounts": set(_mounts(paths.data_dir, paths.run_dir)),
            "links": {line.split(":")[1].split("@")[0].strip() for line in _lines("ip", "-o", "link")} - {paths.bridge},
            "groups": {str(path) for path in CGROUPS.glob(f"*{paths.cgroup_base}/*/pod*")}
            | {str(path) for path in CGROUPS.glob(f"{paths.cgroup_base.lstrip('/')}/*/pod*")},
            "shims": set(self._shims()),
            "shim sockets": {path for path in sockets if Path(path).exists()},
            "nftables": set(_lines("nft", "list", "ruleset")),
            "containers": set(self._ctr("containers", "list", "-q")),
            "tasks": set(self._ctr("tasks", "list", "-q")),
            "snapshots": {
                line.split()[0] for line in self._ctr("snapshots", "list") if line.split()[-1] in ("Active", "View")
            },
            "leases": {line.split()[0] for line in self._ctr("leases", "list", "-q") if line.strip()},
        }

    def _shims(self) -> Iterator[str]:
        for path in Path("/proc").glob("[0-9]*"):
            command = _command(int(path.name))
            if "containerd-shim" in command and str(self.socket) in command:
                yield f"{path.name} {command}"

    def _ctr(self, *arguments: str) -> list[str]:
        return _lines("ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments)


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, list[str]]:
    """What is there now and was not before."""
    return {name: sorted(after[name] - before[name]) for name in after if after[name] - before[name]}


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.splitlines()


def _mounts(*roots: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if any(point.startswith(f"{root}/") for root in roots):
            yield point


def _children(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def kill_hard(pid: int | None) -> bool:
    """SIGKILL; whether there was somebody to kill."""
    if pid is None or pid <= 1:
        return False
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return False
    return True
