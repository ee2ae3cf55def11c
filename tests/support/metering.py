"""A machine in a folder: sensors, CPU time and control groups that a test moves, and a meter over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsam.hardware.discover import Roots
from sparsam.metering.node import NodeMeter
from sparsam.metering.setup import MeterConfig, NodeModelHolder, make_node_meter
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION
from tests.support.sysfs import FakeSysfs, FakeZone, SteppedClock

TICKS = 100
CPUS = 4


def pod(name: str, uid: str, container_id: str = "", container: str = "main") -> dict[str, Any]:
    statuses = [{"name": container, "containerID": f"containerd://{container_id}"}] if container_id else []
    return {
        "metadata": {"namespace": "default", "name": name, "uid": uid},
        "status": {"containerStatuses": statuses},
    }


class FakeMachine:
    """Four CPUs, a power model of 100 W idle and 200 W full, and whatever sensors the test adds."""

    def __init__(self, root: Path) -> None:
        self.sys = FakeSysfs(root / "sys")
        self.proc = root / "proc"
        self.state = root / "state" / "energy.json"
        self.clock = SteppedClock()
        self.pods: list[dict[str, Any]] = []
        self.model = NodeModelHolder()
        self.model.learn({"metadata": {"annotations": {IDLE_ANNOTATION: "100", MAX_ANNOTATION: "200"}}})
        self._busy, self._total = 0.0, 0.0
        self._groups: dict[str, float] = {}
        (self.sys.root / "fs/cgroup/cpuacct").mkdir(parents=True)
        self.proc.mkdir()
        self._write_stat()

    def meter(self) -> NodeMeter:
        config = MeterConfig(
            node_name="n1",
            state_file=self.state,
            group_bases=("kubepods",),
            roots=Roots(self.sys.root, self.proc, self.proc.parent / "dev"),
        )
        return make_node_meter(config, lambda: self.pods, self.model, self.clock)

    def run(
        self, seconds: float, *, system: float = 0.0, zone: FakeZone | None = None, watts: float = 0.0, **cpu: float
    ):
        """Let time pass; `cpu` gives the CPU seconds of groups by name, `zone` draws watts meanwhile."""
        self.clock.seconds += seconds
        self._busy += system + sum(cpu.values())
        self._total += seconds * CPUS
        for name, used in cpu.items():
            self._groups[name] = self._groups.get(name, 0.0) + used
        self._write_stat()
        for name, used in self._groups.items():
            self.sys.write(f"fs/cgroup/cpuacct/{self.path(name)}/cpuacct.usage", int(used * 1e9))
            self.sys.write(f"fs/cgroup/memory/{self.path(name)}/memory.usage_in_bytes", 4096)
        if zone is not None:
            zone.draw(watts, seconds)

    @staticmethod
    def uid(name: str) -> str:
        return f"00000000-0000-0000-0000-{name.encode().hex():0>12}"

    def path(self, name: str) -> str:
        """`a` is a pod; `a__x` a container of it."""
        pod_name, _, container = name.partition("__")
        inside = f"/{self.container_id(name)}" if container else ""
        return f"kubepods/pod{self.uid(pod_name)}{inside}"

    @staticmethod
    def container_id(name: str) -> str:
        return f"{name.encode().hex():0>64}"

    def _write_stat(self) -> None:
        busy, idle = int(self._busy * TICKS), int((self._total - self._busy) * TICKS)
        (self.proc / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\n")
