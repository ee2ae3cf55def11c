"""Runs of policies over the same arrivals, and what may be said of them beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.policies import make_policy
from sparsam.scheduling.watts import Weights
from sparsam.simulation.bound import least_joules
from sparsam.simulation.facility import Bill, Facility
from sparsam.simulation.failures import Failures
from sparsam.simulation.history import History
from sparsam.simulation.trace import Trace
from sparsam.simulation.world import Rules, World
from sparsam.units import joules_to_kwh

LATE_SECONDS = 60.0
"""A pod that waits longer for a node is late."""
UNEQUAL_RATIO = 0.005
"""Runs whose work differs by more are not compared."""
STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom."""
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one trace."""

    policy: str
    sleep: bool
    seed: int
    energy_kwh: float
    bound_kwh: float
    """What no scheduler could undercut (see `bound`) that runs the same pods, with the same sleep."""
    work_done: float
    """Core hours, on cores of speed 1."""
    late: int
    dropped: int
    """Pods that never ran."""
    pending_p99_s: float
    decision_p99_ms: float | None
    evictions: int
    transitions: int
    """How often a node was sent to sleep."""
    moves: int
    """How often a pod was moved to empty a node."""
    failures: int = 0
    restarts: int = 0
    """Pods that had to begin anew because their server failed."""
    lost_core_hours: float = 0.0
    facility_kwh: float | None = None
    """With the building's losses and cooling."""
    pue: float | None = None
    cost: float | None = None
    co2e_kg: float | None = None


def play(
    nodes: Sequence[Mapping[str, Any]],
    trace: Trace,
    policy: str,
    *,
    sleeps: bool,
    moves: bool = True,
    failures: Failures | None = None,
    facility: Facility | None = None,
    seed: int = 0,
    timer: Callable[[], float] | None = None,
    placed: Ints | None = None,
    budgets: Sequence[Mapping[str, Any]] = (),
) -> tuple[Run, History]:
    """One run, in virtual time; pods are moved only where nodes sleep. `placed` and `budgets` as in `World`."""
    rules = Rules(sleeps=sleeps, moves=sleeps and moves, failures=failures, facility=facility)
    world = World(
        nodes, trace, make_policy(policy, Weights(sleeps=sleeps)), rules, timer, placed=placed, budgets=budgets
    )
    history = world.run()
    least = least_joules(world.servers(), world.demand(np.isnan(history.started_seconds)))
    waits = _waits(trace, history)
    run = Run(
        policy=policy,
        sleep=sleeps,
        seed=seed,
        energy_kwh=joules_to_kwh(float(history.joules.sum())),
        bound_kwh=joules_to_kwh(max(least - history.down_joules, 0.0)),
        work_done=float(history.core_seconds.sum()) / 3600.0,
        late=int((waits > LATE_SECONDS).sum()),
        dropped=int(np.isnan(history.started_seconds).sum()),
        pending_p99_s=float(np.percentile(waits, 99)) if len(waits) else 0.0,
        decision_p99_ms=1e3 * float(np.percentile(world.decision_seconds, 99)) if world.decision_seconds else None,
        evictions=history.evictions,
        transitions=history.transitions,
        moves=history.moves,
        failures=history.failures,
        restarts=history.restarts,
        lost_core_hours=history.lost_core_seconds / 3600.0,
        **_facility_figures(history.bill),
    )
    return run, history


def _facility_figures(bill: Bill | None) -> dict[str, Any]:
    if bill is None:
        return {}
    return {
        "facility_kwh": joules_to_kwh(bill.joules),
        "pue": bill.pue,
        "cost": bill.cost,
        "co2e_kg": bill.carbon_grams / 1000.0,
    }


def _waits(trace: Trace, history: History) -> Floats:
    """How long each pod waited for a node; what never ran, until the end."""
    started = np.where(np.isnan(history.started_seconds), trace.horizon_seconds, history.started_seconds)
    return np.asarray(started - trace.arrival_seconds)


@dataclass(frozen=True, slots=True)
class Row:
    """A policy over all seeds, beside the first one."""

    policy: str
    sleep: bool
    energy_kwh: float
    saved_ratio: float | None
    """Of the first row's energy; None where the work differs too much to compare."""
    saved_error: float | None
    """Half of the 95 % confidence interval over seeds; None for one seed."""
    bound_ratio: float
    """The saving of the bound with the same sleep: no scheduler saves more."""
    why_not: str
    """Why no saving is stated."""


def compare(runs: Sequence[Run]) -> list[Row]:
    """One row for each policy with and without sleep, in the order of the runs; seeds are paired."""
    grouped: dict[tuple[str, bool], dict[int, Run]] = {}
    for run in runs:
        grouped.setdefault((run.policy, run.sleep), {})[run.seed] = run
    base = next(iter(grouped.values()))
    return [_row(members, base) for members in grouped.values()]


def _row(members: Mapping[int, Run], base: Mapping[int, Run]) -> Row:
    pairs = [(run, base[seed]) for seed, run in members.items() if seed in base]
    first = pairs[0][0]
    saved = np.array([1.0 - run.energy_kwh / other.energy_kwh for run, other in pairs])
    bound = float(np.mean([1.0 - run.bound_kwh / other.energy_kwh for run, other in pairs]))
    why_not = next((why for run, other in pairs if (why := _unequal(run, other))), "")
    energy = float(np.mean([run.energy_kwh for run, _ in pairs]))
    error = None
    if len(saved) > 1:
        freedom = len(saved) - 1
        point = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else NORMAL_95
        error = point * float(saved.std(ddof=1)) / len(saved) ** 0.5
    if why_not:
        return Row(first.policy, first.sleep, energy, None, None, bound, why_not)
    return Row(first.policy, first.sleep, energy, float(saved.mean()), error, bound, "")


def _unequal(run: Run, other: Run) -> str:
    if run.dropped != other.dropped:
        return f"{run.dropped} pods never ran, {other.dropped} under {other.policy}"
    if abs(run.work_done - other.work_done) > UNEQUAL_RATIO * max(other.work_done, 1e-9):
        return f"{run.work_done:.1f} core hours done, {other.work_done:.1f} under {other.policy}"
    return ""
