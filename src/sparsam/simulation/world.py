"""A world in virtual time: pods arrive, run and end on modelled servers; the shipped core decides where and who sleeps.

Event-driven: nothing happens between arrivals, ends, the ends of a node's way down or up, and control ticks, and energy
is exact between them. The scheduler sees what it would see in a cluster: requests, and at each tick what the nodes'
meters read.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsam.power.thermal import assumed
from sparsam.scheduling.backlog import Backlog, Change
from sparsam.scheduling.columns import Bools, Floats, Ints
from sparsam.scheduling.consolidation import Caution, Consolidator
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.moving import RESERVED, Effort
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.plan import Bind, Evict, Rejection
from sparsam.scheduling.policy import Policy
from sparsam.scheduling.snapshot import CPU, Resident, Snapshot
from sparsam.simulation.bound import Demand, Servers, demand_over_time
from sparsam.simulation.energy import ASLEEP, AWAKE, FAILED, FALLING, WAKING, Energy
from sparsam.simulation.facility import Building, Facility
from sparsam.simulation.failures import Failures, draw
from sparsam.simulation.history import History
from sparsam.simulation.inputs import by_kind, rack_numbers, sleep_columns, teach
from sparsam.simulation.trace import Trace
from sparsam.simulation.work import Work

Obj = Mapping[str, Any]

PASS_PODS = 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """How a world runs."""

    sleeps: bool = False
    """Whether nodes are sent to sleep; those that their fleet says can."""
    tick_seconds: float = 60.0
    """Between two looks of the consolidator and of the meters."""
    experienced: bool = True
    """Whether the scheduler knows what a day before this one would have taught it: what each service uses, and what all
    pods request on average.
    """
    samples: int = 288
    """Moments at which the load of each node is written down."""
    caution: Caution = field(default_factory=Caution)
    moves: bool = False
    """Whether pods are moved to empty nodes that could sleep."""
    effort: Effort = field(default_factory=Effort)
    facility: Facility | None = None
    """The building, where it counts."""
    failures: Failures | None = None


class World:
    """One run. Same nodes, trace, policy and rules: same history."""

    def __init__(
        self,
        nodes: Sequence[Obj],
        trace: Trace,
        policy: Policy,
        rules: Rules | None = None,
        timer: Callable[[], float] | None = None,
        *,
        placed: Ints | None = None,
        budgets: Sequence[Obj] = (),
    ) -> None:
        """`timer` tells seconds of processor time, for `decision_seconds`; nothing else depends on it.

        With `placed`, pods that are there from the start run on these nodes, shape (pods,). `budgets` are
        PodDisruptionBudgets, which allow at every moment what their status says that they do.
        """
        self._timer, self._placed = timer, placed
        self.decision_seconds: list[float] = []
        """Processor time of each decision, where there is a timer."""
        self._trace, self._rules = trace, rules or Rules()
        self.snapshot = Snapshot()
        for node in nodes:
            self.snapshot.set_node(node)
        self._placer = Placer(self.snapshot, policy)
        for budget in budgets:
            self._placer.budgets.put(budget)
        effort = self._rules.effort if self._rules.moves else None
        self._consolidator = Consolidator(self._placer, self._rules.caution, effort)
        self._backlog = Backlog()
        power, count = self.snapshot.power, len(nodes)
        curves = power.tables.watts[power.curve[:count]]
        self.curves: Floats = curves
        """Watts of each node at even steps of load."""
        self._sleep = sleep_columns(nodes, curves)
        self.asleep_watts: Floats = self._sleep.asleep_watts
        self.energy = Energy(curves, self._sleep)
        self.capacity: Floats = self.snapshot.allocatable[CPU, :count] * power.facts.speed[:count]
        self._used: Floats = np.zeros(count)
        """Millicores of work, on cores of speed 1, that pods do on each node."""
        self.demands = [compile_pod(each) for each in by_kind(trace)]
        """Of each template."""
        self._template: list[int] = trace.template.tolist()
        self._pods = len(trace.template)
        requests = np.array([each.scored_cpu_millicores for each in self.demands], dtype=np.float64)
        self._requested: Floats = requests[trace.template]
        self._work = Work(trace, self._requested, power.facts.speed[:count].copy())
        if self._rules.experienced:
            teach(self.snapshot, trace, self.demands)
        self._priorities = [int(each["spec"].get("priority") or 0) for each in trace.templates]
        self._preempts = len(set(self._priorities)) > 1
        self._observes = bool((np.abs(trace.usage - 1.0) > 1e-9).any() or self._work.follows)
        self._turns: list[tuple[float, int]] = []
        """When nodes that fall asleep or wake are there."""
        self._leaving: list[tuple[float, int, str, float]] = []
        """Pods that were moved and still run on their old node too: until when, where, as whom, and with which load."""
        self._failures = draw(self._rules.failures, count, trace.horizon_seconds) if self._rules.failures else []
        self._failures.reverse()
        self._crashed: list[tuple[float, int]] = []
        """Pods of servers that failed, and when that is noticed."""
        facility = self._rules.facility
        self._building = Building(facility, rack_numbers(nodes)) if facility is not None else None
        self._counted_joules = self._counted_at = 0.0
        self._thermal = assumed(curves[:, -1])
        self._evictions = self._transitions = self._moves = self._failed = self._restarts = 0
        self._down_joules = 0.0

    @property
    def millicores(self) -> Floats:
        """Mean use of each pod, in time of a core of speed 1, shape (pods,)."""
        return self._work.millicores

    def servers(self) -> Servers:
        """The fleet as the bound sees it, in the coolest air that it can have."""
        curves = self.curves
        if self._rules.facility is not None:
            air = np.full(len(curves), self._rules.facility.supply_celsius)
            loads = np.linspace(0.0, 1.0, curves.shape[1])
            curves = curves + np.stack(
                [self._thermal.extra_watts(air, np.full(len(air), each)) for each in loads], axis=1
            )
        millicores = self.snapshot.allocatable[CPU, : len(self.capacity)].astype(np.float64)
        return Servers.of(curves, self.capacity, millicores, self.asleep_watts if self._rules.sleeps else None)

    def demand(self, left_out: Bools | None = None) -> Demand:
        """The work as the bound sees it, without pods that are left out."""
        requested = self._requested if left_out is None else np.where(left_out, 0.0, self._requested)
        return demand_over_time(self._trace, requested, self.servers())

    def run(self) -> History:
        """All of the trace, up to its horizon."""
        trace, rules = self._trace, self._rules
        arrivals, horizon = [*trace.arrival_seconds.tolist(), math.inf], float(trace.horizon_seconds)
        samples = np.linspace(0.0, horizon, rules.samples, endpoint=False)
        sample_at = [*samples.tolist(), math.inf]
        shown: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], float]] = []
        next_pod, next_tick, next_sample = 0, 0.0, 0
        while True:
            now = min(arrivals[next_pod], self._work.next_end, next_tick, self._next_of_the_rare())
            while sample_at[next_sample] <= min(now, horizon):
                shown.append(self._sample())
                next_sample += 1
            if now >= horizon:
                break
            self._turn(now)
            self._leave(now)
            self._end(now)
            self._fail(now)
            while arrivals[next_pod] <= now:
                if self._placed is not None and arrivals[next_pod] <= 0.0:
                    self._settle(next_pod, int(self._placed[next_pod]))
                else:
                    self._backlog.add(str(next_pod), self._priority(next_pod), now)
                if rules.sleeps:
                    self._consolidator.note(self._pending(str(next_pod)), now)
                next_pod += 1
            self._place(now)
            if now >= next_tick:
                self._tick(now)
                next_tick += rules.tick_seconds
        return self._finish(horizon, samples, shown)

    def _next_of_the_rare(self) -> float:
        """When the next thing happens that is neither a pod's coming or end nor a tick."""
        return min(
            self._turns[0][0] if self._turns else math.inf,
            self._leaving[0][0] if self._leaving else math.inf,
            self._failures[-1][0] if self._failures else math.inf,
            self._crashed[0][0] if self._crashed else math.inf,
            self._backlog.next_wake() or math.inf,
        )

    # -- events ---------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        while self._turns and self._turns[0][0] <= now:
            _, row = heapq.heappop(self._turns)
            if self.energy.state[row] == FALLING:
                self.energy.set_state(row, ASLEEP, now)
            else:
                self.snapshot.alive[row] = True
                self.energy.set_state(row, AWAKE, now)
                self._set_schedulable(row, True)
                self._backlog.note(Change.NODE, now)

    def _end(self, now: float) -> None:
        gone = False
        while (ending := self._work.ending(now)) is not None:
            at, pod = ending
            self._stop(pod, at)
            gone = True
        if gone:
            self._backlog.note(Change.POD_GONE, now)

    def _fail(self, now: float) -> None:
        """Servers that sleep, or are on their way, do not fail."""
        while self._failures and self._failures[-1][0] <= now:
            _, row, repaired = self._failures.pop()
            if self.energy.state[row] != AWAKE:
                continue
            self._failed += 1
            for key in list(self.snapshot.residents[row]):
                if key.isdigit():
                    self._stop(int(key), now, lost=True)
                    self._restarts += 1
                    heapq.heappush(self._crashed, (now + self._detect_seconds, int(key)))
                else:
                    self.snapshot.remove_pod(key)
            self._leaving = [each for each in self._leaving if each[1] != row]
            heapq.heapify(self._leaving)
            self._used[row] = 0.0
            self._set_schedulable(row, False)
            self.snapshot.alive[row] = False
            down_seconds = min(repaired, self._trace.horizon_seconds) - now
            self._down_joules += down_seconds * float(self.curves[row].max())
            self.energy.set_state(row, FAILED, now)
            heapq.heappush(self._turns, (repaired, row))
        while self._crashed and self._crashed[0][0] <= now:
            _, pod = heapq.heappop(self._crashed)
            self._backlog.add(str(pod), self._priority(pod), now)

    def _place(self, now: float) -> None:
        while waiting := self._backlog.pop(PASS_PODS, now):
            pending = [self._pending(each.key) for each in waiting]
            began = self._timer() if self._timer else 0.0
            plan = self._placer.schedule(pending)
            if self._timer:
                self.decision_seconds += [(self._timer() - began) / len(pending)] * len(pending)
            for bind in plan.binds:
                self._start(bind, now)
            for rejection in plan.rejections:
                self._refuse(rejection, now)

    def _tick(self, now: float) -> None:
        if self._work.follows:
            self._used = self._work.follow(now, len(self._used))
            self.energy.set_loads(self._used / self.capacity, now)
        if self._observes:
            self._observe()
        if self._building is not None:
            self._breathe(self._building, now)
        if not self._rules.sleeps:
            return
        state = self.energy.state
        asleep = self._as_rows(state == ASLEEP)
        waking = self._as_rows((state == WAKING) | (state == FALLING))
        waiting = [self._pending(key) for key in self._backlog.refused()]
        plan = self._consolidator.consolidate(asleep, waking, waiting, now)
        for evict in plan.evicts:
            self._move(evict, now)
        for each in plan.sleeps:
            row = self.snapshot.rows[each.node]
            self._set_schedulable(row, False)
            self.snapshot.set_asleep(row, True)
            self.energy.set_state(row, FALLING, now)
            heapq.heappush(self._turns, (now + float(self._sleep.sleep_seconds[row]), row))
            self._transitions += 1
        for wake in plan.wakes:
            row = self.snapshot.rows[wake.node]
            self.snapshot.set_asleep(row, False)
            self.energy.set_state(row, WAKING, now)
            heapq.heappush(self._turns, (now + float(self._sleep.wake_seconds[row]), row))

    # -- pods -----------------------------------------------------------------------------------------------

    def _pending(self, key: str) -> PendingPod:
        pod = int(key)
        template = self._template[pod]
        return PendingPod(key, self.demands[template], self._priorities[template], preempts=self._preempts)

    def _priority(self, pod: int) -> int:
        return self._priorities[self._template[pod]]

    def _settle(self, pod: int, row: int) -> None:
        """A pod that was there before the beginning."""
        name, demand = self.snapshot.names[row], self.demands[self._template[pod]]
        self.snapshot.assume(Resident(str(pod), name, demand, self._priority(pod)))
        self._begin(pod, row, 0.0)

    def _start(self, bind: Bind, now: float) -> None:
        self._backlog.remove(bind.pod)
        self._begin(int(bind.pod), self.snapshot.rows[bind.node], now)

    def _begin(self, pod: int, row: int, now: float) -> None:
        self._work.begin(pod, row, now)
        self._change_load(row, self._work.used_millicores(pod, row), now)

    def _move(self, evict: Evict, now: float) -> None:
        """The pod begins on its target, in the place reserved for it, and runs on the old node for a while."""
        pod, old, new = int(evict.pod), self.snapshot.rows[evict.node], self.snapshot.rows[evict.target]
        resident = self.snapshot.residents[old][evict.pod]
        ghost = f"{evict.pod} leaves {evict.node}"
        self.snapshot.remove_pod(evict.pod + RESERVED)
        self.snapshot.assume(resident._replace(node=evict.target))
        self.snapshot.assume(resident._replace(key=ghost))
        left_over = self._work.used_millicores(pod, old)
        heapq.heappush(self._leaving, (now + self._rules.effort.overlap_seconds, old, ghost, left_over))
        self._work.move(pod, new, now)
        self._change_load(new, self._work.used_millicores(pod, new), now)
        self._moves += 1

    def _leave(self, now: float) -> None:
        while self._leaving and self._leaving[0][0] <= now:
            at, row, ghost, load = heapq.heappop(self._leaving)
            self.snapshot.remove_pod(ghost)
            self._change_load(row, -load, at)

    def _stop(self, pod: int, now: float, *, lost: bool = False) -> None:
        """A pod is gone from its node; batch work that is `lost` begins anew elsewhere."""
        row = self._work.stop(pod, now, lost=lost)
        self.snapshot.remove_pod(str(pod))
        self._change_load(row, -self._work.used_millicores(pod, row), now)

    def _refuse(self, rejection: Rejection, now: float) -> None:
        self._backlog.refuse(rejection.pod, rejection.plugins, now)
        if rejection.preempt is None:
            return
        for victim in rejection.preempt.victims:
            self._stop(int(victim), now, lost=True)
            self._evictions += 1
            self._backlog.add(victim, self._priority(int(victim)), now)
        self._backlog.note(Change.POD_GONE, now)

    # -- nodes ----------------------------------------------------------------------------------------------

    def _change_load(self, row: int, millicores: float, now: float) -> None:
        # An empty node is exactly idle, whatever the sums left over.
        used = float(self._used[row]) + millicores if self.snapshot.residents[row] else 0.0
        self._used[row] = used
        self.energy.set_load(row, used / float(self.capacity[row]), now)

    def _set_schedulable(self, row: int, yes: bool) -> None:
        self.snapshot.unschedulable[row] = not yes
        self.snapshot.static.add(row)

    @property
    def _detect_seconds(self) -> float:
        return self._rules.failures.detect_seconds if self._rules.failures else 0.0

    def _breathe(self, building: Building, now: float) -> None:
        """The building follows what the servers took since the last look, and their fans follow the air."""
        energy = self.energy
        energy.settle(now)
        total = float(energy.joules.sum())
        building.count(total - self._counted_joules, self._counted_at, now)
        self._counted_joules, self._counted_at = total, now
        inlets = building.inlets(energy.watts + energy.heat_watts, now)
        energy.set_heat(self._thermal.extra_watts(inlets, np.clip(energy.load, 0.0, 1.0)), now)
        self.snapshot.observe_inlets(np.arange(len(inlets)), inlets)

    def _observe(self) -> None:
        rows = np.arange(len(self._used))
        self.snapshot.observe_loads(rows, np.clip(self.energy.load, 0.0, 1.0))

    def _as_rows(self, which: Bools) -> Bools:
        """The same with a place for every row of the snapshot, which may have room for more."""
        wide = np.zeros(len(self.snapshot.names), np.bool_)
        wide[: len(which)] = which
        return wide

    # -- the end --------------------------------------------------------------------------------------------

    def _sample(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], float]:
        energy = self.energy
        load = np.where(energy.state == AWAKE, np.clip(energy.load, 0.0, 1.0), 0.0)
        return load.astype(np.float32), energy.state.copy(), float((energy.watts + energy.heat_watts).sum())

    def _finish(self, horizon: float, samples: Floats, shown: list[Any]) -> History:
        self._work.settle(horizon)
        self.energy.settle(horizon)
        if self._building is not None:
            self._breathe(self._building, horizon)
        load, state, watts = zip(*shown, strict=True)
        return History(
            node=self._work.last,
            started_seconds=self._work.first,
            ended_seconds=self._work.ended,
            core_seconds=self._work.core_seconds,
            lost_core_seconds=self._work.lost_core_seconds,
            failures=self._failed,
            restarts=self._restarts,
            down_joules=self._down_joules,
            bill=self._building.bill() if self._building is not None else None,
            evictions=self._evictions,
            parts=self.energy.parts(),
            joules=self.energy.joules,
            sample_seconds=samples,
            load=np.array(load),
            state=np.array(state),
            watts=np.array(watts),
            transitions=self._transitions,
            moves=self._moves,
        )
