"""What a report of runs shows: numbers over time, by node and by rack, taken from their histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.snapshot import CPU
from sparsam.simulation.bound import least_watts
from sparsam.simulation.energy import ASLEEP, AWAKE, FAILED
from sparsam.simulation.experiment import Run
from sparsam.simulation.fleet import INSTANCE_LABEL, RACK_LABEL
from sparsam.simulation.history import History
from sparsam.simulation.trace import Trace
from sparsam.simulation.world import Rules, World

Obj = Mapping[str, Any]
Shades = npt.NDArray[np.int8]

PERCENTILES = np.linspace(0.0, 100.0, 201)
SHADE_ASLEEP, SHADE_FAILED, SHADE_CHANGING = -1, -2, -3
"""In heat maps, for nodes that have no load to show."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One run. Shapes are (samples,) where nothing else is said."""

    run: Run
    watts: Floats
    """Of the whole fleet."""
    awake: Ints
    asleep: Ints
    load: Shades
    """Utilization in per cent or one of the shades; shape (nodes, samples), nodes in the story's order."""
    rack_core_hours: Floats
    """Work of cores of speed 1 done in each rack, shape (racks,)."""
    wait_seconds: Floats
    """Percentiles of the time that pods waited for a node, shape (len(PERCENTILES),)."""
    joules: tuple[tuple[str, float], ...]
    """Where they went."""

    @property
    def label(self) -> str:
        """Policy, and whether nodes sleep."""
        return f"{self.run.policy}{', sleep' if self.run.sleep else ''}"


@dataclass(frozen=True, slots=True)
class Story:
    """Runs of the same arrivals on the same fleet."""

    hours: Floats
    """Of the samples."""
    chapters: tuple[Chapter, ...]
    bound_hours: Floats
    bounds: tuple[tuple[str, Floats], ...]
    """Least watts of any scheduler over time, with and without sleep as far as runs do."""
    racks: tuple[str, ...]
    nodes: tuple[str, ...]
    """In order of watts per unit of work at each server's best load."""
    order: tuple[tuple[str, float, float], ...]
    """Kinds of servers in that order: name, cores that pods can request, watts per core of speed 1 at the best load."""


def tell(nodes: Sequence[Obj], trace: Trace, played: Sequence[tuple[Run, History]]) -> Story:
    """The story of some runs of one trace on one fleet; all have the same samples."""
    world = World(nodes, trace, KubeDefault(), Rules(sleeps=True))
    unit = _unit_watts(world)
    names = np.array([node["metadata"]["name"] for node in nodes])
    order = np.lexsort((names, unit))
    racks = [str((node["metadata"].get("labels") or {}).get(RACK_LABEL, "")) for node in nodes]
    rack_names, rack_of = np.unique(np.array(racks), return_inverse=True)
    demand, bounds = world.demand(), []
    for sleeps in sorted({run.sleep for run, _ in played}):
        servers = World(nodes, trace, KubeDefault(), Rules(sleeps=sleeps)).servers()
        bounds.append((f"least possible{', sleep' if sleeps else ''}", least_watts(servers, demand)))
    return Story(
        hours=played[0][1].sample_seconds / 3600.0,
        chapters=tuple(_chapter(trace, run, history, order, rack_of) for run, history in played),
        bound_hours=(np.cumsum(demand.seconds) - demand.seconds / 2.0) / 3600.0,
        bounds=tuple(bounds),
        racks=tuple(rack_names.tolist()),
        nodes=tuple(names[order].tolist()),
        order=_kinds(nodes, world, unit),
    )


def shades(history: History, order: Ints) -> Shades:
    """The heat map of a run, shape (nodes, samples)."""
    state, load = history.state[:, order].T, history.load[:, order].T
    found = np.round(100.0 * np.clip(load, 0.0, 1.0)).astype(np.int8)
    found[state != AWAKE] = SHADE_CHANGING
    found[state == ASLEEP], found[state == FAILED] = SHADE_ASLEEP, SHADE_FAILED
    return found


def _chapter(trace: Trace, run: Run, history: History, order: Ints, rack_of: Ints) -> Chapter:
    ran = history.node >= 0
    racks = np.bincount(rack_of[history.node[ran]], history.core_seconds[ran], int(rack_of.max()) + 1) / 3600.0
    started = np.where(np.isnan(history.started_seconds), trace.horizon_seconds, history.started_seconds)
    waits = np.maximum(started - trace.arrival_seconds, 0.0)
    parts = history.parts
    return Chapter(
        run=run,
        watts=history.watts,
        awake=(history.state == AWAKE).sum(axis=1),
        asleep=(history.state == ASLEEP).sum(axis=1),
        load=shades(history, order),
        rack_core_hours=racks.astype(np.float64),
        wait_seconds=np.percentile(waits, PERCENTILES) if len(waits) else np.zeros(len(PERCENTILES)),
        joules=tuple((name, float(getattr(parts, name))) for name in parts.__slots__),
    )


def _unit_watts(world: World) -> Floats:
    """Watts per core of speed 1 at each server's best load."""
    loads = np.linspace(0.0, 1.0, world.curves.shape[1])[1:]
    return np.asarray((world.curves[:, 1:] / (world.capacity[:, None] / 1000.0 * loads)).min(axis=1))


def _kinds(nodes: Sequence[Obj], world: World, unit: Floats) -> tuple[tuple[str, float, float], ...]:
    millicores = world.snapshot.allocatable[CPU, : len(nodes)]
    kinds: dict[str, tuple[float, float]] = {}
    for node, cores, watts in zip(nodes, (millicores / 1000.0).tolist(), unit.tolist(), strict=True):
        metadata = node["metadata"]
        kind = str((metadata.get("labels") or {}).get(INSTANCE_LABEL, "") or metadata["name"])
        known = kinds.get(kind, (0.0, watts))
        kinds[kind] = (known[0] + cores, watts)
    return tuple((kind, cores, watts) for kind, (cores, watts) in sorted(kinds.items(), key=lambda each: each[1][1]))
