"""Which pods to move so that a node can sleep: the targets are reserved first, and only whole nodes are emptied.

A move is worth while when what the fleet draws less, over the time for which the saving is expected to last, exceeds
what moving, sleeping and waking cost, with a margin. Pods that must not be disturbed keep their node awake: those that
say so, those that nobody would make again, single replicas, those with local volumes, batch work (it would begin
anew), and those whose PodDisruptionBudget allows no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsam.scheduling.columns import Bools, Ints
from sparsam.scheduling.demand import WITH_THE_NODE
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.plan import Bind, Evict
from sparsam.scheduling.snapshot import Resident

RESERVED = " reserved"
"""Ends the keys of what keeps room for pods that are to come."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What a move costs and how much of it there may be."""

    most_pods: int = 100
    """Moved at once."""
    donors_tried: int = 8
    """Nodes looked at each time."""
    lasts_seconds: float = 3600.0
    """For so long a saving is taken to last."""
    overlap_seconds: float = 30.0
    """For so long a pod runs on both nodes."""
    pod_joules: float = 1000.0
    """What moving a pod costs beside that: pulling, starting, warming up. An assumption."""
    margin: float = 1.5
    """A saving exceeds its cost by at least this factor."""
    settle_seconds: float = 900.0
    """A pod or a node that was part of a move stays as it is for so long, and a node that could not be emptied too."""
    replicas: int = 2
    """A pod with fewer like it, itself included, is not moved."""


class Mover:
    """Looks for nodes to empty; remembers what it did."""

    def __init__(self, placer: Placer, effort: Effort | None = None) -> None:
        self._placer, self._snapshot = placer, placer.snapshot
        self._effort = effort or Effort()
        self._moved: dict[str, float] = {}
        self._looked_at: dict[str, float] = {}
        """Nodes, and when they were last part of a move or of a try."""

    def moves(self, down: Bools, room: Ints, now: float) -> list[Evict]:
        """Pods to move, node by node; room on the targets is reserved in the snapshot (`RESERVED`) from then on.

        `down` are the nodes that sleep or are on their way; of each resource `room` may be given up.
        """
        effort, snapshot = self._effort, self._snapshot
        self._forget(now)
        evicts: list[Evict] = []
        emptied: list[int] = []
        moving: list[Resident] = []
        targets: set[str] = set()
        for row in self._donors(down)[: effort.donors_tried]:
            # The node's room is given up whole: its pods take as much elsewhere as they have here.
            freed = snapshot.allocatable[:, row]
            pods = self._movable(row, moving)
            self._looked_at[snapshot.names[row]] = now
            if snapshot.names[row] in targets or not pods or (freed > room)[freed > 0].any():
                continue
            self._close(row, True)
            found = self._emptied(row, pods)
            if not found:
                self._close(row, False)
                continue
            emptied.append(row)
            moving += pods
            room = room - freed
            evicts += found
            targets.update(each.target for each in found)
        for row in emptied:
            self._close(row, False)
        self._moved.update((each.pod, now) for each in evicts)
        self._looked_at.update((target, now) for target in targets)
        return evicts

    def _donors(self, down: Bools) -> list[int]:
        """Nodes that may be emptied, those first that save most for each core that must go elsewhere."""
        snapshot, power = self._snapshot, self._snapshot.power
        rows = np.flatnonzero(snapshot.alive & ~down & ~snapshot.unschedulable & np.isfinite(power.wake_seconds))
        rows = rows[~power.empty(rows)]
        rows = np.array([row for row in rows.tolist() if snapshot.names[row] not in self._looked_at], np.intp)
        if not len(rows):
            return []
        saved = power.saved_asleep_watts(rows) / np.maximum(snapshot.scored[0, rows], 1.0)
        return [int(row) for row in rows[np.lexsort((snapshot.tie_rank[rows], -saved))]]

    def _movable(self, row: int, moving: Sequence[Resident]) -> list[Resident]:
        """The pods of a node that have to go elsewhere, the largest first; none if one cannot, with those `moving`."""
        snapshot = self._snapshot
        pods = [each for each in snapshot.residents[row].values() if each.demand.owner[0] not in WITH_THE_NODE]
        if len(pods) + len(moving) > self._effort.most_pods:
            return []
        for each in pods:
            demand = each.demand
            single = snapshot.replicas[demand.namespace, demand.owner] < self._effort.replicas
            if demand.stays or demand.is_batch or not demand.owner[0] or single:
                return []
            if each.terminating or each.key in self._moved:
                return []
        if self._placer.budgets.violating([*moving, *pods]):
            return []
        return sorted(pods, key=lambda each: (-each.demand.scored_cpu_millicores, each.key))

    def _emptied(self, row: int, pods: Sequence[Resident]) -> list[Evict]:
        """The moves that empty a node, with their targets reserved; none, and nothing reserved, if they do not pay."""
        snapshot, power, effort = self._snapshot, self._snapshot.power, self._effort
        node = snapshot.names[row]
        evicts: list[Evict] = []
        for each in pods:
            decision = self._placer.consider(PendingPod(each.key, each.demand, each.priority, preempts=False))
            if not isinstance(decision, Bind) or decision.watts_delta is None or self._is_empty(decision.node):
                break
            snapshot.assume(Resident(each.key + RESERVED, decision.node, each.demand, each.priority))
            evicts.append(Evict(each.key, node, decision.node, "", decision.watts_delta))
        one = slice(row, row + 1)
        load_watts = power.watts_at(one, power.facts_of(one).load) - power.level_watts(one, 0)
        saved = float(load_watts[0] + power.saved_asleep_watts(one)[0])
        added = sum(each.watts_delta for each in evicts)
        gain = (saved - added) * effort.lasts_seconds
        cost = added * effort.overlap_seconds + effort.pod_joules * len(pods) + power.wake_joules(row)
        if len(evicts) < len(pods) or gain < effort.margin * cost:
            for evict in evicts:
                snapshot.remove_pod(evict.pod + RESERVED)
            return []
        why = f"{node} can sleep: {saved - added:.1f} W less for the fleet, {cost / 1e3:.1f} kJ to get there"
        share = saved / len(evicts)
        return [replace(each, reason=why, watts_delta=each.watts_delta - share) for each in evicts]

    def _is_empty(self, node: str) -> bool:
        return bool(self._snapshot.power.empty(np.array([self._snapshot.rows[node]]))[0])

    def _close(self, row: int, yes: bool) -> None:
        self._snapshot.unschedulable[row] = yes
        self._snapshot.static.add(row)

    def _forget(self, now: float) -> None:
        for known in (self._moved, self._looked_at):
            for key in [key for key, at in known.items() if at < now - self._effort.settle_seconds]:
                del known[key]
