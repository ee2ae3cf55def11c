"""One node's metering: its best power source, what its pods used meanwhile, and who therefore has which watts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsam.clock import Clock, format_time
from sparsam.hardware.meter import Gap, Provenance, Reading
from sparsam.hardware.supervisor import NodePower, Supervisor
from sparsam.metering.counters import Gains, busy_seconds
from sparsam.metering.groups import GroupReader, PodGroups
from sparsam.metering.ledger import LedgerFile
from sparsam.metering.trust import ModelState, ModelTrust
from sparsam.power.attribution import Attribution, Node, Use, attribute
from sparsam.power.model import ServerModel
from sparsam.power.nodemodel import error_ratio

Obj = dict[str, Any]

LONGEST_SECONDS = 120.0
"""An interval says nothing about more time than this: the machine or this process was asleep."""
EXPLAINED_WITHOUT_ERROR = 0.1
"""How far above a model's watts load may go where the model's own error is unknown."""


@dataclass(frozen=True, slots=True)
class RequestRate:
    """What a pod's counter of requests says beside its energy."""

    counter: str
    total: float
    per_second: float
    joules_each: float | None
    """Energy of the pod's load for each request; None while there are none."""
    window_seconds: float


@dataclass(frozen=True, slots=True)
class PodPower:
    """One pod's part."""

    namespace: str
    name: str
    uid: str
    cpu_cores: float
    memory_bytes: int
    watts: float
    joules: float
    containers: Mapping[str, float]
    """Watts by container; what is missing to the pod's watts is its sandbox and containers that ended."""
    requests: RequestRate | None = None


@dataclass(frozen=True, slots=True)
class Metered:
    """What one cycle found. The parts of a node without a power reading are all zero."""

    node: str
    time: str
    seconds: float
    """Length of the interval."""
    utilization: float
    power: NodePower
    parts: Mapping[str, float]
    """Watts: idle, pods, system, unattributed."""
    joules: Mapping[str, float]
    """Energy of the same parts since metering began on this node."""
    gap_seconds: float
    pods: tuple[PodPower, ...]
    model_source: str
    model: ModelState
    inlet_celsius: float | None = None
    cpu_pressure: float | None = None
    """Share of the last minute in which some task waited for a CPU; None where the kernel does not tell."""
    absent: tuple[Gap, ...] = ()
    """Kinds of sources that this machine does not have."""
    machine_nodes: int = 1
    """Nodes that share the machine; the figures of each are those of all of it."""

    @property
    def reading(self) -> Reading | None:
        """The power reading, if there is one."""
        return self.power.power if isinstance(self.power.power, Reading) else None


class NodeMeter:
    """Meters when asked, at most once in `freshest_seconds`; whoever asks in between gets the latest."""

    def __init__(
        self,
        node_name: str,
        *,
        supervisor: Supervisor,
        utilization: UtilizationSource,
        groups: GroupReader,
        inlet_celsius: Callable[[], float | None],
        pods: Callable[[], Iterable[Obj]],
        model: Callable[[], ServerModel],
        ledger: LedgerFile,
        trust: ModelTrust,
        clock: Clock,
        absent: tuple[Gap, ...] = (),
        machine_nodes: int = 1,
    ) -> None:
        self._node_name = node_name
        self._supervisor = supervisor
        self._utilization = utilization
        self._groups = groups
        self._inlet_celsius = inlet_celsius
        self._pods = pods
        self._model = model
        self._file = ledger
        self._trust = trust
        self._clock = clock
        self._absent = absent
        self._machine_nodes = machine_nodes
        self._gains = Gains()
        self._lock = asyncio.Lock()
        self._latest: Metered | None = None
        self._before_seconds: float | None = None
        self._floor: dict[str, float] = {}
        self.requests: Mapping[str, RequestRate] = {}
        """By pod uid, kept by whoever counts requests."""

    async def meter(self, freshest_seconds: float = 0.0) -> Metered:
        """One cycle, or the latest if it is younger than `freshest_seconds`."""
        async with self._lock:
            age = self._clock.monotonic() - (self._before_seconds or 0.0)
            if self._latest is None or age >= freshest_seconds:
                self._latest = await self._cycle()
            return self._latest

    async def close(self) -> None:
        """Write down what was learned and close the power sources."""
        await self._trust.save(now=True)
        await self._supervisor.close()

    async def _cycle(self) -> Metered:
        busy = self._utilization.look()
        power = await self._supervisor.read()
        now = self._clock.monotonic()
        seconds = now - self._before_seconds if self._before_seconds is not None else 0.0
        self._before_seconds = now
        look = self._look(seconds)
        model, ledger = self._model(), self._file.ledger
        state = self._trust.observe(model, self._utilization.latest, power.power)
        known = {pod["metadata"]["uid"]: pod for pod in self._pods()}
        parted = None
        if isinstance(power.power, Reading):
            parted = self._part(power.power, model, busy, look)
            counted = min(seconds, LONGEST_SECONDS)
            ledger.observe(list(look.groups), parted, counted)
            ledger.miss(seconds - counted)
        else:
            ledger.miss(seconds)
        ledger.forget({**known, **look.groups})
        # Written down before it is shown: a counter that was seen must not fall after a crash.
        await self._file.save()
        await self._trust.save()
        watts = parted.consumer_watts.tolist() if parted else [0.0] * len(look.groups)
        return Metered(
            node=self._node_name,
            time=format_time(self._clock.now()),
            seconds=seconds,
            utilization=self._utilization.latest or 0.0,
            power=power,
            parts=_parts(parted),
            joules=dict(ledger.parts),
            gap_seconds=ledger.gap_seconds,
            pods=tuple(
                replace(
                    look.pod_power(uid, known.get(uid), share, ledger.consumers.get(uid, 0.0)),
                    requests=self.requests.get(uid),
                )
                for uid, share in zip(look.groups, watts, strict=True)
            ),
            model_source=model.source,
            model=state,
            # Sensors sit on slow buses; nothing else may wait for them.
            inlet_celsius=await asyncio.to_thread(self._inlet_celsius),
            cpu_pressure=self._utilization.pressure(),
            absent=self._absent,
            machine_nodes=self._machine_nodes,
        )

    def _look(self, seconds: float) -> _Look:
        groups = self._groups.pods()
        totals = {uid: group.whole.cpu_seconds for uid, group in groups.items()}
        for uid, group in groups.items():
            totals |= {f"{uid}/{each}": use.cpu_seconds for each, use in group.containers.items()}
        return _Look(groups, self._gains.take(totals), seconds)

    def _part(self, reading: Reading, model: ServerModel, busy_seconds: float, look: _Look) -> Attribution:
        idle, explained = self._expected(reading, model)
        system = max(busy_seconds - sum(look.cpu_seconds()), 0.0)
        node = Node(reading.watts, idle, system_cpu_seconds=system, explained_watts=explained)
        return attribute(node, look.use())

    def _expected(self, reading: Reading, model: ServerModel) -> tuple[float, float]:
        """Idle watts of what the reading covers, and the watts beyond them that load explains."""
        if not reading.domain.whole_node:
            # No model covers a part of the node; the least that was ever read stands for its idle watts.
            self._floor[reading.source] = min(self._floor.get(reading.source, reading.watts), reading.watts)
            return self._floor[reading.source], float("inf")
        if reading.provenance is Provenance.ESTIMATED:
            return model.idle_watts, float("inf")
        load = self._utilization.latest or 0.0
        error = error_ratio(model, load)
        error = EXPLAINED_WITHOUT_ERROR if error is None else error
        return model.idle_watts, model.watts(load) * (1.0 + error) - model.idle_watts


@dataclass(frozen=True, slots=True)
class _Look:
    """What the pods' groups gained within an interval."""

    groups: Mapping[str, PodGroups]
    gains: Mapping[str, float]
    seconds: float

    def cpu_seconds(self) -> list[float]:
        """By pod, in the groups' order."""
        return [self.gains[uid] for uid in self.groups]

    def use(self) -> Use:
        """The pods as consumers, in the groups' order."""
        return Use.of_cpu(self.cpu_seconds(), [group.whole.memory_bytes for group in self.groups.values()])

    def pod_power(self, uid: str, pod: Obj | None, watts: float, joules: float) -> PodPower:
        """A pod's part, shared out further among its containers by their CPU time."""
        group, gain = self.groups[uid], self.gains[uid]
        inside = {each: self.gains[f"{uid}/{each}"] for each in group.containers}
        # A container's counter is read a moment after its pod's, so that together they may be a little ahead.
        whole = max(gain, sum(inside.values()))
        metadata = pod["metadata"] if pod else {"namespace": "", "name": uid}
        return PodPower(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=uid,
            cpu_cores=gain / self.seconds if self.seconds > 0.0 else 0.0,
            memory_bytes=group.whole.memory_bytes,
            watts=watts,
            joules=joules,
            containers={
                _container_name(pod, each): watts * seconds / whole if whole > 0.0 else 0.0
                for each, seconds in inside.items()
            },
        )


class UtilizationSource:
    """The node's CPU use since the last look, shared by attribution and by the model when that is the meter."""

    def __init__(self, path: Path = Path("/proc/stat")) -> None:
        self._path = path
        self._pressure_path = path.parent / "pressure" / "cpu"
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._before: tuple[float, float] | None = None
        self.latest: float | None = None

    def look(self) -> float:
        """Busy CPU seconds since the look before; zero at the first."""
        try:
            busy, total = busy_seconds(self._path.read_text(), self._ticks)
        except (OSError, ValueError):
            return 0.0
        before, self._before = self._before, (busy, total)
        if before is None or total <= before[1]:
            return 0.0
        gained = max(busy - before[0], 0.0)
        self.latest = min(gained / (total - before[1]), 1.0)
        return gained

    def pressure(self) -> float | None:
        """Share of the last minute in which some task waited for a CPU, 0..1, as the kernel tells (PSI)."""
        try:
            some = self._pressure_path.read_text().splitlines()[0].split()
            words = dict(word.split("=", 1) for word in some[1:])
            return min(max(float(words["avg60"]) / 100.0, 0.0), 1.0)
        except (OSError, ValueError, KeyError, IndexError):
            return None


def _parts(parted: Attribution | None) -> dict[str, float]:
    if parted is None:
        return {"idle": 0.0, "pods": 0.0, "system": 0.0, "unattributed": 0.0}
    return {
        "idle": parted.idle_watts,
        "pods": float(parted.consumer_watts.sum()),
        "system": parted.system_watts,
        "unattributed": parted.unattributed_watts,
    }


def _container_name(pod: Obj | None, container_id: str) -> str:
    """The name of a container by its id; the id itself for a sandbox or a run that the status no longer tells."""
    status = (pod or {}).get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(kind) or ():
            if str(each.get("containerID", "")).endswith(container_id):
                return str(each["name"])
    return container_id[:13]
