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
from sparsam.scheduling.columns import Bools, Floats, Rows, clipped
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.devices import Rooms, packed
from sparsam.scheduling.policy import Ranking, plugin_total
from sparsam.scheduling.population import Matching
from sparsam.scheduling.powercolumns import UNTRUSTED_RATIO, PowerColumns
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.scarcity import Scarcity
from sparsam.scheduling.snapshot import CPU, MEMORY, Snapshot
from sparsam.scheduling.usage import service_selector, use_level
from sparsam.scheduling.view import FULL, View

DIGITS = 4
"""Watts are compared to so many digits, so that the order of additions decides nothing."""
OPENING, FILLING = 1e-3, 1e-4
"""What decides between equals, in points: far below what a watt counts."""
PACKED = 0.5
"""What filling a node's devices counts beside what the pod takes of others' room there."""
SATURATED_PRESSURE = 0.5
"""Share of time in which some task waits for a CPU from which on a node is as good as full: an assumption."""


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
        weights, columns, feasible = self.weights, view.assessment.columns, view.feasible
        total, _, parts = plugin_total(view)
        own: dict[str, Any] = {
            "joules": weights.joules * fewest(self._price(view), feasible),
            "performance": weights.performance * columns["performance"],
            "tie": columns["tie"],
        }
        if self._rooms.any:
            own["devices"] = weights.devices * (fewest(columns["devices"], feasible) + PACKED * columns["packed"])
        if not view.assessment.demand.spread and "PodTopologySpread" in parts:
            # Nobody asked for the cluster-level spreading: it counts as the policy says.
            own["spread"] = (weights.spread - 1.0) * parts["PodTopologySpread"]
        if weights.max_service_share < 1.0:
            own["service share"] = -FULL * FULL * self._crowded(view)
        return Ranking(total + sum(own.values()), columns["watts"], {**parts, **own})

    def _price(self, view: View) -> Floats:
        """What a pod costs on each node: its own watts, its part of the node's being awake, and the room it takes."""
        demand, cost = view.assessment.demand, view.assessment.columns["cost"]
        taken = view.snapshot.room_of(demand)
        level = use_level(taken, view.snapshot.usage.expected_millicores(demand))
        room, opening = self._scarcity.prices(view.snapshot, level), _opening(view)
        if opening is None and room is None:
            return np.asarray(cost)
        price = cost if opening is None else cost + opening
        if room is not None:
            price = price + taken * (room / view.snapshot.power.speed if demand.is_batch else room)
        return np.asarray(np.round(price, DIGITS))

    def _row_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> dict[str, Any]:
        power, weights = snapshot.power, self.weights
        capacity = capacity_of(snapshot, rows)
        speed = power.speed[rows]
        load, width = load_of(snapshot, rows, capacity), capacity if demand.is_batch else capacity * speed
        added = snapshot.usage.expected_millicores(demand) / width
        marginal, price = power.rises_at(rows, load, load + added)
        warm = power.warm_watts(rows, load, added)
        if warm is not None:
            marginal, price = marginal + warm, price + warm
        doubted = price * (1.0 + weights.uncertainty * power.errors[rows])
        doubted = np.where(power.untrusted[rows], doubted * UNTRUSTED_RATIO, doubted)
        awake = power.idle_watts_added(rows, demand.lasts_seconds, sleeps=weights.sleeps)
        facility = power.facility[rows] / speed if demand.is_batch else power.facility[rows]
        peak = np.maximum(load, power.peak_load[rows]) + snapshot.usage.peak_millicores(demand) / width
        # Half the memory: thousands of pods' columns are kept.
        return {
            "watts": marginal.astype(np.float32),
            "cost": (doubted * facility).round(DIGITS).astype(np.float32),
            "opening": (awake * facility).round(DIGITS).astype(np.float32),
            "performance": self._performance(power, rows, peak).astype(np.float32),
            "devices": self._rooms.taken(snapshot, demand, rows).astype(np.float32),
            "packed": packed(snapshot, demand, rows).astype(np.float32),
            "tie": self._tie(marginal, price, load + added).astype(np.float32),
        }

    def _tie(self, marginal: Floats, price: Floats, filled: Floats) -> Floats:
        """What decides at equal prices: first that no server has to be opened.

        Where opening one costs watts, then the fullest, so that those with little to do end up with nothing (best fit);
        else the emptiest, whose tasks have most room.
        """
        opening = marginal - price
        packs = (np.abs(opening) > 10.0**-DIGITS * price) | self.weights.sleeps
        return np.asarray(FILLING * np.where(packs, filled, -filled) - OPENING * np.maximum(opening, 0.0))

    def _performance(self, power: PowerColumns, rows: Rows | slice, peak: Floats) -> Floats:
        """100 where a node's CPUs have room for its peaks and the pod's; less where not, or where tasks wait."""
        headroom = max(self.weights.headroom_ratio, 1e-9)
        room = clipped((1.0 - peak) / headroom)
        return np.asarray(FULL * room * (1.0 - clipped(power.pressure[rows] / SATURATED_PRESSURE)))

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

    def _row_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> dict[str, Any]:
        load, added = loads(snapshot, demand, rows)
        power = snapshot.power
        return {"watts": power.watts_at(rows, load + added) - power.watts_at(rows, load)}


class Peaks(LeastIncrease):
    """PEAKS: the same by `K0 + K1 * exp(K2 * u)`, fitted to three points of each node's curve."""

    name = "peaks"

    def _row_columns(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> dict[str, Any]:
        load, added = loads(snapshot, demand, rows)
        idle, half, full = (snapshot.power.level_watts(rows, step) for step in (0, STEPS // 2, STEPS))
        first, second = np.maximum(half - idle, 1e-9), np.maximum(full - half, 1e-9)
        # P(1/2) - P(0) = K1 (e^(K2/2) - 1) and P(1) - P(1/2) = K1 e^(K2/2) (e^(K2/2) - 1).
        growth = np.clip(second / first, 0.05, 20.0)
        growth = np.where(np.abs(growth - 1.0) < 1e-6, 1.0 + 1e-6, growth)
        k1, k2 = first / (growth - 1.0), 2.0 * np.log(growth)
        before, after = np.clip(load, 0.0, 1.0), np.clip(load + added, 0.0, 1.0)
        return {"watts": k1 * (np.exp(k2 * after) - np.exp(k2 * before))}


def _opening(view: View) -> Floats | None:
    """The pod's part of what keeps a node awake that has no work yet; None where there is no such node.

    A node that is opened is filled by the pods that come after, as long as the cluster has so many: the pod's part is
    its share of the node, or of all that the cluster runs where that is less than a node.
    """
    columns, snapshot, demand = view.assessment.columns, view.snapshot, view.assessment.demand
    if not columns["opening"].any():
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
    capacity = capacity_of(snapshot, rows)
    # A core of speed 1 is what requests are meant for (see `PowerColumns.time_ratio`).
    width = capacity if demand.is_batch else capacity * snapshot.power.speed[rows]
    return load_of(snapshot, rows, capacity), snapshot.usage.expected_millicores(demand) / width


def capacity_of(snapshot: Snapshot, rows: Rows | slice) -> Floats:
    """Millicores that pods may have of each node."""
    return np.asarray(np.maximum(snapshot.allocatable[CPU, rows], 1).astype(np.float64))


def load_of(snapshot: Snapshot, rows: Rows | slice, capacity: Floats) -> Floats:
    """Utilization of each node now, by what its pods are expected to use and what was seen beyond that."""
    millicores = snapshot.power.expected_millicores[rows] + snapshot.power.unexplained_millicores[rows]
    return clipped(millicores / capacity)


def fewest(cost: Floats, feasible: Bools) -> Floats:
    """100 for the least cost, less by the excess as a share of the most, so that a small excess costs little."""
    of_interest = cost[feasible]
    most = float(of_interest.max(initial=0.0))
    if most <= 0.0:
        return np.full(cost.shape, float(FULL))
    return np.asarray(FULL * (1.0 - (cost - float(of_interest.min())) / most), dtype=np.float64)
