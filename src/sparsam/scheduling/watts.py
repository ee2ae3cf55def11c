"""Policies that rank nodes by watts.

`sparsam` minimises the predicted extra joules of the whole fleet for the pod's work, now and as the fleet fills: the
marginal watts on the convex envelope of each node's own curve (see `powercolumns.envelope`) at its observed load, at
the warm inlet it has, with a margin for what its model does not know, divided by the node's speed, since the same work
ends sooner on a faster core, and beside them the price of the room that the pod takes (see `scarcity`). Guards keep
performance: a node that the pod would fill beyond the head-room loses by as much as it is overfilled.

`least-increase` is WAO's rule, the lowest predicted increase and nothing else; `peaks` is that of PEAKS, with an
exponential through idle, half and full load as its only model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsam.scheduling.assessment import BALANCE, FIT, RowColumns
from sparsam.scheduling.columns import Bools, Floats, Number, Rows
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.devices import Rooms, packed
from sparsam.scheduling.nodefacts import Facts, Seen, idle_watts_added
from sparsam.scheduling.policy import Ranking, plugin_parts, summed
from sparsam.scheduling.population import Matching
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.scarcity import Scarcity
from sparsam.scheduling.snapshot import CPU, MEMORY, Snapshot
from sparsam.scheduling.usage import service_selector, use_level
from sparsam.scheduling.view import FULL, View

DIGITS = 4
"""Watts are compared to so many digits, so that the order of additions decides nothing."""
FINEST = 10.0**-DIGITS
OPENING, FILLING = 1e-3, 1e-4
"""What decides between equals, in points: far below what a watt counts."""
PACKED = 0.5
"""What filling a node's devices counts beside what the pod takes of others' room there."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much; joules and performance are 0 to 100 before."""

    joules: float = 5.0
    performance: float = 1.0
    spread: float = 0.5
    """Of cluster-level spreading, beside its weight in the profile. What a pod itself asks for counts in full."""
    headroom_ratio: float = 0.05
    """Share of a node that stays free, where there is a choice."""
    uncertainty: float = 1.0
    """Standard errors of a model that are added to what it predicts."""
    devices: float = 1.0
    """Of leaving cards and the like whole for pods that want many, and their nodes to pods that want any."""
    max_service_share: float = 1.0
    """Largest share of a service's pods on one node, where there is a choice."""
    sleeps: bool = False
    """Whether somebody sends empty nodes to sleep, those that can: then a pod on one forgoes what that would save."""


class SparsamPolicy:
    """Least joules for the work, within guards; the user's own preferences keep upstream's weights."""

    name = "sparsam"

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights = weights or Weights()
        self.row_columns: RowColumns | None = self._row_columns
        self._rooms = Rooms()
        self._scarcity = Scarcity(sleeps=self.weights.sleeps, headroom_ratio=self.weights.headroom_ratio)

    def profile(self, profile: Profile) -> Profile:
        """Without the scores that even resources out or fill nodes, which watts replace."""
        return replace(profile, weights={**profile.weights, BALANCE: 0, FIT: 0})

    def rank(self, view: View, pod: str) -> Ranking:
        """Joules, performance and spread beside the user's preferences."""
        weights, columns, feasible = self.weights, view.assessment.columns, view.feasible_rows
        parts = plugin_parts(view)
        own: dict[str, Any] = {
            "joules": fewest(self._price(view), feasible, weights.joules),
            "performance": columns["performance"],
            "tie": columns["tie"],
        }
        if "devices" in columns:
            own["devices"] = fewest(columns["devices"], feasible, weights.devices) + columns["packed"]
        if not view.assessment.demand.spread and "PodTopologySpread" in parts:
            # Nobody asked for the cluster-level spreading: it counts as the policy says.
            own["spread"] = (weights.spread - 1.0) * parts["PodTopologySpread"]
        if weights.max_service_share < 1.0:
            own["service share"] = -FULL * FULL * self._crowded(view)
        parts |= own
        return Ranking(summed(parts, 0.0), columns["watts"], parts)

    def _price(self, view: View) -> Floats:
        """What a pod costs on each node, in steps of `FINEST` watts: its own watts, its part of the node's being awake,
        and the room it takes.
        """
        demand, cost = view.assessment.demand, view.assessment.columns["cost"]
        taken = view.snapshot.room_of(demand)
        level = use_level(taken, view.snapshot.usage.expected_millicores(demand))
        room, opening = self._scarcity.prices(view.snapshot, level, batch=demand.is_batch), _opening(view)
        price = cost.astype(np.float64) if opening is None else cost + opening
        if room is not None:
            price += taken * room
        price *= 1.0 / FINEST
        return np.asarray(np.rint(price, out=price))

    def _row_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice | int) -> dict[str, Any]:
        power, usage = snapshot.power, snapshot.usage
        uses = (usage.expected_millicores(demand), usage.peak_millicores(demand))
        wakes = self.weights.sleeps or power.sleepers
        columns: dict[str, Any] = self._costs(demand, uses, power.seen(rows), wakes=wakes)
        if self._rooms.exist(snapshot):
            columns |= self._device_columns(snapshot, demand, rows)
        return columns

    def _device_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice | int) -> dict[str, Any]:
        if isinstance(rows, int):
            found = self._device_columns(snapshot, demand, slice(rows, rows + 1))
            return {name: column.item() for name, column in found.items()}
        filled = PACKED * self.weights.devices * packed(snapshot, demand, rows)
        return {"devices": self._rooms.taken(snapshot, demand, rows), "packed": filled}

    def _costs(
        self, demand: PodDemand, uses: tuple[float, float], nodes: Seen[Number], *, wakes: bool
    ) -> dict[str, Number]:
        """Of one node, or of each of many. `uses` are millicores, expected and at the peak.

        The tie decides at equal prices: first that no server has to be opened. Where opening one costs watts, then the
        fullest, so that those with little to do end up with nothing (best fit); else the emptiest, whose tasks have
        most room. Performance is full where a node's CPUs have room for its peaks and the pod's; less where not, or
        where tasks wait.
        """
        rows, facts, rises, smaller, larger = nodes
        weights, load = self.weights, facts.load
        expected, peak = uses
        width = width_of(facts, demand)
        filled = load + expected / width
        marginal, price = rises(rows, load, filled)
        facility = facts.facility / facts.speed if demand.is_batch else facts.facility
        opened, order = marginal - price, FILLING * filled
        if not weights.sleeps:
            order = order * (2.0 * (abs(opened) > FINEST * price) - 1.0)
        busiest = larger(load, facts.peak_load) + peak / width
        room = smaller(larger((1.0 - busiest) * (1.0 / max(weights.headroom_ratio, 1e-9)), 0.0), 1.0)
        found = {
            "watts": marginal,
            "cost": price * (1.0 + weights.uncertainty * facts.errors) * facts.doubt_ratio * facility,
            "performance": weights.performance * FULL * room * facts.ease,
            "tie": order - OPENING * larger(opened, 0.0),
        }
        if wakes:
            found["opening"] = idle_watts_added(facts, demand.lasts_seconds, sleeps=weights.sleeps) * facility
        return found

    def _crowded(self, view: View) -> Bools:
        """Nodes that would hold more than their share of the pod's service."""
        demand, snapshot = view.assessment.demand, view.snapshot
        selector = service_selector(demand)
        same = snapshot.population.count(Matching(namespace=demand.namespace, selector=selector))
        allowed = max(1.0, np.ceil(self.weights.max_service_share * (float(same.sum()) + 1.0)))
        return np.asarray(same + 1.0 > allowed)


class LeastIncrease(SparsamPolicy):
    """WAO's rule: the node whose predicted watts rise least."""

    name = "least-increase"

    def rank(self, view: View, pod: str) -> Ranking:
        """Watts alone."""
        watts = view.assessment.columns["watts"]
        return Ranking(-np.round(watts, DIGITS), watts)

    def _row_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice | int) -> dict[str, Any]:
        if isinstance(rows, int):
            return {"watts": self._increase(snapshot, demand, slice(rows, rows + 1)).item()}
        return {"watts": self._increase(snapshot, demand, rows)}

    def _increase(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> Floats:
        power, (load, added) = snapshot.power, loads(snapshot, demand, rows)
        return power.watts_at(rows, load + added) - power.watts_at(rows, load)


class Peaks(LeastIncrease):
    """PEAKS: the same by `K0 + K1 * exp(K2 * u)`, fitted to three points of each node's curve."""

    name = "peaks"

    def _increase(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> Floats:
        load, added = loads(snapshot, demand, rows)
        idle, half, full = (snapshot.power.level_watts(rows, step) for step in (0, STEPS // 2, STEPS))
        first, second = np.maximum(half - idle, 1e-9), np.maximum(full - half, 1e-9)
        # P(1/2) - P(0) = K1 (e^(K2/2) - 1) and P(1) - P(1/2) = K1 e^(K2/2) (e^(K2/2) - 1).
        growth = np.clip(second / first, 0.05, 20.0)
        growth = np.where(np.abs(growth - 1.0) < 1e-6, 1.0 + 1e-6, growth)
        k1, k2 = first / (growth - 1.0), 2.0 * np.log(growth)
        before, after = np.clip(load, 0.0, 1.0), np.clip(load + added, 0.0, 1.0)
        return np.asarray(k1 * (np.exp(k2 * after) - np.exp(k2 * before)))


def _opening(view: View) -> Floats | None:
    """The pod's part of what keeps a node awake that has no work yet; None where there is no such node.

    A node that is opened is filled by the pods that come after, as long as the cluster has so many: the pod's part is
    its share of the node, or of all that the cluster runs where that is less than a node.
    """
    columns, snapshot, demand = view.assessment.columns, view.snapshot, view.assessment.demand
    if "opening" not in columns or not columns["opening"].any():
        return None
    share, filled = np.zeros((2, len(snapshot.names)))
    for resource, amount in ((CPU, demand.scored_cpu_millicores), (MEMORY, demand.scored_memory_bytes)):
        capacity = np.maximum(snapshot.allocatable[resource].astype(np.float64), 1.0)
        share = np.maximum(share, amount / capacity)
        filled = np.maximum(filled, np.minimum((snapshot.scored_total[resource] + amount) / capacity, 1.0))
    part = np.minimum(share / np.maximum(filled, 1e-9), 1.0)
    return np.asarray(columns["opening"] * part)


def loads(snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> tuple[Floats, Floats]:
    """Utilization of each node now, and what the pod adds to it."""
    facts = snapshot.power.facts_of(rows)
    return facts.load, snapshot.usage.expected_millicores(demand) / width_of(facts, demand)


def width_of(facts: Facts[Number], demand: PodDemand) -> Number:
    """Millicores of each node as the pod sees them: a core of speed 1 is what requests are meant for.

    Batch takes all the time that its core has (see `PowerColumns.time_ratio`).
    """
    return facts.capacity_millicores if demand.is_batch else facts.capacity_millicores * facts.speed


def fewest(cost: Floats, feasible: Rows, weight: float) -> Floats:
    """100 for the least cost, less by the excess as a share of the most, so that a small excess costs little; weighted.

    That is `weight * 100 * (1 - (cost - least) / most)`.
    """
    of_interest = cost.take(feasible)
    most = float(np.maximum.reduce(of_interest, initial=0.0))
    if most <= 0.0:
        return np.full(cost.shape, weight * FULL)
    slope = weight * FULL / most
    return np.asarray((weight * FULL + slope * float(np.minimum.reduce(of_interest))) - slope * cost)
