"""What a cluster would save: its watts now, under other placements, and at the physical limit, with their errors.

A result is linear in the idle watts and in the watts that load adds of each kind of server, so an error in the model of
a kind moves it by the error times that kind's share. Servers of one kind share the error of their model, different
kinds err independently, and what is assumed of use errs for all at once. Savings are differences between runs on the
same models: most of a model's error falls out of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsam.power.sleep import Sleep
from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.snapshot import CPU
from sparsam.simulation.bound import Demand, Servers, least_joules
from sparsam.simulation.cluster import ASSUMED_USE_ERROR, Cluster
from sparsam.simulation.energy import ASLEEP, AWAKE, Energy
from sparsam.simulation.experiment import UNEQUAL_RATIO, play
from sparsam.simulation.relaxing import TEXTS, carriers, relaxed
from sparsam.simulation.trace import Trace
from sparsam.simulation.world import Rules, World

DAY_SECONDS = 86400.0
YEAR_HOURS = 8760.0
NUDGED_WINDOWS = 12
"""So many windows tell how the limit depends on each kind of server."""
NUDGE = 1e-3
"""By which a curve is moved to see what that does to the limit."""
CONSOLIDATED = "consolidation and sleep"
"""The scenario that the saving is stated of."""
WORTH_SAYING = 0.05
"""Share of the error from which on its cause is named."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a kilowatt-hour costs, and how many of the building's one of the servers' takes."""

    money_per_kwh: float
    currency: str
    gco2_per_kwh: float
    pue: float


@dataclass(frozen=True, slots=True)
class Replay:
    """One run in the twin."""

    policy: str
    sleeps: bool
    anew: bool = False
    """Whether every pod is placed anew at the start, as after all were replaced; else they begin where they are."""
    relaxed: str = ""
    """The kind of constraint that it is without."""


PLACEMENT, CONSOLIDATION = Replay("sparsam", False), Replay("sparsam", True)
KUBE_DEFAULT, ANEW, ANEW_ASLEEP = (
    Replay(policy, sleeps, anew=True)
    for policy, sleeps in (("kube-default", False), ("sparsam", False), ("sparsam", True))
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean watts at the servers' plugs, by what they err with; arrays have shape (kinds,)."""

    watts: float
    idle_watts: Floats
    """Of awake servers, load or not: they move with the models' idle watts."""
    load_watts: Floats
    """What load added."""
    work_cores: float
    """Cores of speed 1 that were at work on average; NaN where nothing is run."""
    unplaced: int = 0
    """Pods that never found a node."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A line of the result; everything of it is estimated. Errors are what nine of ten stay below."""

    name: str
    text: str
    kwh_per_year: float
    kwh_error: float
    money_per_year: float
    money_error: float
    co2_tonnes_per_year: float
    co2_error: float
    saved_ratio: float | None
    """Of the energy now; None where the work is not the same."""
    saved_error: float | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """Servers that share a model, and what their model's error does to the saving."""

    name: str
    nodes: int
    sureness: str
    source: str
    idle_watts: float
    max_watts: float
    idle_error_ratio: float
    max_error_ratio: float
    share_of_error: float
    """Of the saving's variance."""
    saved_error_if_measured: float
    """The error of the saving, as a ratio, if this kind's model were exact."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a kind of constraint keeps from being saved."""

    name: str
    text: str
    pods: int
    kwh_per_year: float
    money_per_year: float


@dataclass(frozen=True, slots=True)
class Savings:
    """The whole answer."""

    scenarios: tuple[Scenario, ...]
    kinds: tuple[Kind, ...]
    """Those first whose measurement narrows the error most."""
    use_share_of_error: float
    """Of the saving's variance, from use that was assumed."""
    constraints: tuple[Constraint, ...]
    """The dearest first."""
    nodes: int
    pods: int
    mean_load_ratio: float
    """CPU in use now, as a share of what pods may have."""

    def scenario(self, name: str) -> Scenario:
        """By its name."""
        return next(each for each in self.scenarios if each.name == name)


def replays(cluster: Cluster) -> list[Replay]:
    """The runs that the answer needs: five, and one for each kind of constraint that some pod has."""
    kinds = carriers(cluster.trace, cluster.memory_bytes)
    always = [PLACEMENT, CONSOLIDATION, KUBE_DEFAULT, ANEW, ANEW_ASLEEP]
    return [*always, *(replace(ANEW_ASLEEP, relaxed=kind) for kind in kinds)]


def run(cluster: Cluster, which: Replay) -> Outcome:
    """One of `replays`."""
    trace = _shortened(cluster.trace)
    if which.relaxed:
        trace = relaxed(trace, which.relaxed, cluster.memory_bytes)
    placed = None if which.anew else cluster.node
    ran, history = play(cluster.nodes, trace, which.policy, sleeps=which.sleeps, placed=placed, budgets=cluster.budgets)
    world = _world(cluster)
    seconds = trace.horizon_seconds
    total = history.joules / seconds
    idle = world.curves[:, 0] * (history.state == AWAKE).mean(axis=0)
    asleep = world.asleep_watts * (history.state == ASLEEP).mean(axis=0)
    # On the way up a server draws near its full load's watts, which err as those do.
    load = np.maximum(total - idle - asleep, 0.0)
    return Outcome(
        watts=float(total.sum()),
        idle_watts=_by_kind(cluster, idle),
        load_watts=_by_kind(cluster, load),
        work_cores=ran.work_done * 3600.0 / seconds,
        unplaced=ran.dropped,
    )


def now(cluster: Cluster) -> Outcome:
    """All pods where they are, all servers awake."""
    trace, world = _shortened(cluster.trace), _world(cluster)
    count, horizon = len(cluster.nodes), trace.horizon_seconds
    energy = Energy(world.curves, Sleep(*[np.zeros(count)] * len(Sleep.__slots__)))
    work = 0.0
    for at, until, used in _used_in_place(trace, cluster.node, world):
        energy.set_loads(used / world.capacity, at)
        work += float(used.sum()) * (until - at)
    energy.settle(horizon)
    total, idle = energy.joules / horizon, world.curves[:, 0]
    return Outcome(
        watts=float(total.sum()),
        idle_watts=_by_kind(cluster, idle),
        load_watts=_by_kind(cluster, total - idle),
        work_cores=work / 1000.0 / horizon,
    )


def _used_in_place(trace: Trace, node: Ints, world: World) -> Iterator[tuple[float, float, Floats]]:
    """(from, until, millicores of work on each node) through the trace's time; pods run on `node`, shape (pods,)."""
    count, horizon = len(world.capacity), trace.horizon_seconds
    pace = np.where(trace.batch, world.snapshot.power.facts.speed[node], 1.0)
    begin, end = trace.arrival_seconds, trace.arrival_seconds + trace.duration_seconds / pace
    steady = trace.series < 0
    # Pods of constant use are changes when they come and go; the others are looked up at each step of theirs.
    rate = np.where(steady, world.millicores * pace, 0.0)
    times, changes = np.concatenate((begin, end)), np.concatenate((rate, -rate))
    order = np.argsort(times, kind="stable")
    times, changes, where = times[order], changes[order], np.concatenate((node, node))[order]
    steps = np.zeros(1)
    if trace.usage_series is not None and not steady.all():
        steps = np.arange(0.0, horizon, trace.usage_series.step_seconds)
    moments = np.unique(np.concatenate((steps, times)))
    moments = np.append(moments[moments < horizon], horizon)
    places = np.searchsorted(times, moments, side="right")
    constant, varying, done, step = np.zeros(count), np.zeros(count), 0, -1
    for at, until, place in zip(moments[:-1].tolist(), moments[1:].tolist(), places.tolist(), strict=False):
        np.add.at(constant, where[done:place], changes[done:place])
        done = place
        if step + 1 < len(steps) and steps[step + 1] <= at:
            step += 1
            varying = _varying(trace, node, world, at)
        yield at, until, np.maximum(constant + varying, 0.0)


def _varying(trace: Trace, node: Ints, world: World, at: float) -> Floats:
    """Millicores on each node of services that follow a series."""
    table, pods = trace.usage_series, np.flatnonzero(trace.series >= 0)
    if table is None or not len(pods):
        return np.zeros(len(world.capacity))
    column = int(at // table.step_seconds) % table.values.shape[1]
    mean = np.maximum(trace.usage[pods], 1e-12)
    used = world.millicores[pods] / mean * table.values[trace.series[pods], column]
    return np.bincount(node[pods], used, len(world.capacity)).astype(np.float64)


def limit(cluster: Cluster) -> Outcome:
    """What no scheduler could undercut (see `bound`), on servers that sleep and wake at once."""
    trace, world = _shortened(cluster.trace), _world(cluster)
    asleep, curves = world.asleep_watts, world.curves
    fixed = asleep >= curves[:, 0]
    millicores, demand = world.snapshot.allocatable[CPU, : len(curves)].astype(np.float64), world.demand()

    coarse = demand.coarse(NUDGED_WINDOWS)

    def watts(moved: Floats, demand: Demand = coarse) -> float:
        servers = Servers.of(moved, world.capacity, millicores, np.where(fixed, moved[:, 0], asleep))
        return least_joules(servers, demand) / trace.horizon_seconds

    base, kind_of = watts(curves), _kind_numbers(cluster)
    idle, load = np.zeros(len(cluster.kinds)), np.zeros(len(cluster.kinds))
    for kind in range(len(cluster.kinds)):
        chosen = (kind_of == kind)[:, None]
        idle[kind] = (watts(curves + NUDGE * chosen * curves[:, :1]) - base) / NUDGE
        load[kind] = (watts(curves + NUDGE * chosen * (curves - curves[:, :1])) - base) / NUDGE
    return Outcome(watts(curves, demand), idle, load, math.nan)


def assess(cluster: Cluster, ran: Mapping[Replay, Outcome], prices: Prices) -> Savings:
    """The answer from the outcomes of `replays`."""
    today, least = now(cluster), limit(cluster)
    errors = _Errors.of(cluster)
    texts = (
        ("now", "pods where they are, every server awake", today),
        ("placement only", "from now on pods that come are placed by watts, every server awake", ran[PLACEMENT]),
        (CONSOLIDATED, "and pods are moved to empty servers, which sleep", ran[CONSOLIDATION]),
        ("kube-default, anew", "every pod placed anew as kube-scheduler does", ran[KUBE_DEFAULT]),
        ("by watts, anew", "every pod placed anew by watts, as after all were replaced, every server awake", ran[ANEW]),
        ("and sleep, anew", "the same, and empty servers sleep", ran[ANEW_ASLEEP]),
        ("physical limit", "load cut in any pieces, moved and put to sleep for nothing", least),
    )
    scenarios = tuple(_scenario(name, text, outcome, today, (errors, prices)) for name, text, outcome in texts)
    pods = carriers(cluster.trace, cluster.memory_bytes)
    constraints = [
        _constraint(each.relaxed, pods[each.relaxed], ran[ANEW_ASLEEP].watts - outcome.watts, prices)
        for each, outcome in ran.items()
        if each.relaxed and not outcome.unplaced > ran[ANEW_ASLEEP].unplaced
    ]
    parts = errors.of_saving(ran[CONSOLIDATION], today) ** 2
    world = _world(cluster)
    return Savings(
        scenarios=scenarios,
        kinds=_kinds(cluster, parts),
        use_share_of_error=float(parts[-1] / max(parts.sum(), 1e-30)),
        constraints=tuple(sorted(constraints, key=lambda each: -each.kwh_per_year)),
        nodes=len(cluster.nodes),
        pods=len(cluster.trace),
        mean_load_ratio=today.work_cores * 1000.0 / float(world.capacity.sum()),
    )


@dataclass(frozen=True, slots=True)
class _Errors:
    """What errs: each kind's idle watts and load watts, and assumed use; ratios that nine of ten stay below."""

    idle: Floats
    load: Floats
    use: float

    @classmethod
    def of(cls, cluster: Cluster) -> _Errors:
        firsts = {each.kind: each for each in reversed(cluster.guesses)}
        members = [firsts[kind] for kind in cluster.kinds]
        return cls(
            idle=np.array([each.idle_error_ratio for each in members]),
            load=np.array([each.load_error_ratio for each in members]),
            use=cluster.assumed_use * ASSUMED_USE_ERROR,
        )

    def of_watts(self, outcome: Outcome) -> Floats:
        """What each of these may add to the watts, shape (2 * kinds + 1,)."""
        parts = (self.idle * outcome.idle_watts, self.load * outcome.load_watts, [self.use * outcome.load_watts.sum()])
        return np.concatenate(parts)

    def of_saving(self, outcome: Outcome, base: Outcome) -> Floats:
        """What each may add to the share of the watts that is saved."""
        share = outcome.watts / base.watts
        return (share * self.of_watts(base) - self.of_watts(outcome)) / base.watts


def _scenario(name: str, text: str, outcome: Outcome, today: Outcome, terms: tuple[_Errors, Prices]) -> Scenario:
    errors, prices = terms
    kwh = _kwh(outcome.watts, prices)
    error = _kwh(float(np.linalg.norm(errors.of_watts(outcome))), prices)
    why_not = _unequal(outcome, today)
    saved = None if why_not else 1.0 - outcome.watts / today.watts
    return Scenario(
        name=name,
        text=text,
        kwh_per_year=kwh,
        kwh_error=error,
        money_per_year=kwh * prices.money_per_kwh,
        money_error=error * prices.money_per_kwh,
        co2_tonnes_per_year=kwh * prices.gco2_per_kwh / 1e6,
        co2_error=error * prices.gco2_per_kwh / 1e6,
        saved_ratio=saved,
        saved_error=None if saved is None else float(np.linalg.norm(errors.of_saving(outcome, today))),
        why_not=why_not,
    )


def _unequal(outcome: Outcome, today: Outcome) -> str:
    if outcome.unplaced:
        return f"{outcome.unplaced} pods found no node"
    if abs(outcome.work_cores - today.work_cores) > UNEQUAL_RATIO * today.work_cores:
        return f"{outcome.work_cores:.1f} cores were at work on average, {today.work_cores:.1f} now"
    return ""


def _constraint(kind: str, pods: int, watts: float, prices: Prices) -> Constraint:
    kwh = _kwh(watts, prices)
    return Constraint(kind, TEXTS[kind], pods, kwh, kwh * prices.money_per_kwh)


def _kinds(cluster: Cluster, parts: Floats) -> tuple[Kind, ...]:
    """`parts` are squared errors of the saving by what errs."""
    total, count = float(parts.sum()), len(cluster.kinds)
    found = []
    for number, name in enumerate(cluster.kinds):
        members = [each for each in cluster.guesses if each.kind == name]
        own = float(parts[number] + parts[count + number])
        found.append(
            Kind(
                name=name,
                nodes=len(members),
                sureness=members[0].sureness,
                source=members[0].model.source,
                idle_watts=members[0].model.idle_watts,
                max_watts=members[0].model.max_watts,
                idle_error_ratio=members[0].idle_error_ratio,
                max_error_ratio=members[0].load_error_ratio,
                share_of_error=own / max(total, 1e-30),
                saved_error_if_measured=math.sqrt(max(total - own, 0.0)),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.share_of_error))


def _kwh(watts: float, prices: Prices) -> float:
    """Of the building in a year."""
    return watts * prices.pue * YEAR_HOURS / 1000.0


def _shortened(trace: Trace) -> Trace:
    """A day of a trace in which nothing changes."""
    if trace.batch.any() or (trace.series >= 0).any() or trace.horizon_seconds <= DAY_SECONDS:
        return trace
    return trace.between(0.0, DAY_SECONDS)


def _world(cluster: Cluster) -> World:
    """For its columns; it is never run."""
    return World(cluster.nodes, _shortened(cluster.trace), KubeDefault(), Rules())


def _kind_numbers(cluster: Cluster) -> Ints:
    numbers = {kind: number for number, kind in enumerate(cluster.kinds)}
    return np.array([numbers[each.kind] for each in cluster.guesses], dtype=np.int64)


def _by_kind(cluster: Cluster, watts: Floats) -> Floats:
    return np.bincount(_kind_numbers(cluster), watts, len(cluster.kinds)).astype(np.float64)


def advice(found: Savings, most: int = 3) -> Sequence[str]:
    """What to measure next, in words."""
    whole = found.scenario(CONSOLIDATED).saved_error or 0.0
    told = [
        f"calibrate one of {kind.nodes} x {kind.name}: the saving would be known to "
        f"±{kind.saved_error_if_measured:.1%} instead of ±{whole:.1%}"
        for kind in found.kinds[:most]
        if kind.share_of_error >= WORTH_SAYING
    ]
    if found.use_share_of_error >= WORTH_SAYING:
        told.append(f"let CPU use be seen (--prometheus): {found.use_share_of_error:.0%} of the error is assumed use")
    return told
