"""What a place on a node with cards is worth to the pods that want cards: fragmentation, weighted by what is wanted.

Pods that want devices (extended resources such as cards) are few kinds: so many cards, so much CPU beside them, perhaps
a certain model of card. A node has room for so many pods of each kind; a pod that is placed there takes some of that
room away, most where it breaks up a whole node or stands on the model that others insist on. What it takes is counted
as a share of all the cluster's room for the kind, and kinds weigh as often as pods of theirs were seen.

The idea of judging a node by what typical pods can no longer use of it is that of fragmentation gradient descent (Weng
and others, "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC
2023). Taking shares of each kind's room is ours: it makes the cards dear that few nodes have and many pods want.
"""

from __future__ import annotations

import numpy as np

from sparsam.scheduling.columns import Bools, Floats, Ints, Rows, clipped
from sparsam.scheduling.demand import HARD_EFFECTS, PodDemand
from sparsam.scheduling.nodematch import required_mask, untolerated
from sparsam.scheduling.snapshot import CPU, MEMORY, Snapshot
from sparsam.scheduling.view import FULL

PRIOR_PODS = 8.0
"""How many pods seen outweigh what is assumed before any was: some want one device of a node, some all of them."""
SMALLEST = 1e-9


class Rooms:
    """The cluster's room for each kind, and what a pod would take of it."""

    def __init__(self) -> None:
        self._key: tuple[int, ...] = ()
        self._resources, self._exist = 0, False
        self._asks: Floats = np.zeros((0, 0))
        self._allowed: Bools = np.zeros((0, 0), np.bool_)
        self._weights: Floats = np.zeros(0)
        self._numbers: Ints = np.zeros(0, np.int64)
        """Of CPU, memory and all devices among the resources."""
        self._prior_weight = 0.0
        self._prior_room: Floats = np.ones((2, 1))

    def exist(self, snapshot: Snapshot) -> bool:
        """Whether anything in the cluster has or wants devices."""
        if self._resources != len(snapshot.resources):
            self._resources = len(snapshot.resources)
            self._exist = any("/" in name for name in snapshot.resources.numbers)
        return self._exist

    def taken(self, snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> Floats:
        """What the pod takes away on each node: shares of the room of kinds, weighted by their frequency."""
        self._renew(snapshot)
        numbers = self._numbers
        capacity = snapshot.allocatable[numbers][:, rows].astype(np.float64)
        free = np.maximum(capacity - snapshot.requested[numbers][:, rows], 0.0)
        asked = snapshot.request_vector(demand)[numbers].astype(np.float64)[:, None]
        left = np.maximum(free - asked, 0.0)
        allowed = self._allowed[:, rows]
        seen = np.where(allowed, _fits(self._asks, free) - _fits(self._asks, left), 0.0)
        unit, whole = (_prior(capacity, free) - _prior(capacity, left)) / self._prior_room
        return np.asarray(self._weights @ seen + self._prior_weight * (unit + whole))

    def _renew(self, snapshot: Snapshot) -> None:
        key = (len(snapshot.names), snapshot.static.end, len(snapshot.resources), snapshot.wishes.version)
        if key == self._key:
            return
        self._key = key
        names = snapshot.resources.numbers
        devices = [number for name, number in names.items() if "/" in name]
        self._numbers = np.array([CPU, MEMORY, *devices], np.int64)
        frequent = snapshot.wishes.frequent()
        self._asks = np.zeros((len(frequent), len(self._numbers)))
        self._allowed = np.zeros((len(frequent), len(snapshot.names)), np.bool_)
        for line, seen in enumerate(frequent):
            self._asks[line, :2] = seen.millicores / seen.pods, seen.memory_bytes / seen.pods
            self._asks[line, 2:] = snapshot.request_vector(seen.demand)[devices]
            every = slice(None)
            self._allowed[line] = required_mask(snapshot, seen.demand, every)
            self._allowed[line] &= untolerated(snapshot, seen.demand, HARD_EFFECTS, every) == 0
        capacity = snapshot.allocatable[self._numbers].astype(np.float64)
        capacity[:, ~snapshot.alive] = 0.0
        room = np.where(self._allowed, _fits(self._asks, capacity), 0.0).sum(axis=1)
        total = snapshot.wishes.pods + PRIOR_PODS
        self._weights = np.array([seen.pods for seen in frequent]) / total / np.maximum(room, 1.0)
        self._prior_weight = PRIOR_PODS / total
        self._prior_room = np.maximum(_prior(capacity, capacity).sum(axis=1, keepdims=True), 1.0)


def packed(snapshot: Snapshot, demand: PodDemand, rows: Rows | slice) -> Floats:
    """0 to 100: how full the pod makes the devices of a node that it asks for; 0 throughout for one that asks for none.

    Whole nodes are left for pods that want all cards of one, even where no step of `Rooms` tells two nodes apart.
    """
    names = [(snapshot.resources.number(name), amount) for name, amount in demand.devices]
    share = np.zeros(snapshot.alive[rows].shape)
    for number, amount in names:
        if number < len(snapshot.allocatable):
            capacity = np.maximum(snapshot.allocatable[number, rows].astype(np.float64), 1.0)
            share += clipped((snapshot.requested[number, rows] + amount) / capacity) / len(names)
    return np.asarray(FULL * share)


def _fits(asks: Floats, free: Floats) -> Floats:
    """How many pods of each kind fit into what is free, shape (kinds, rows); `free` has shape (resources, rows)."""
    found = np.full((len(asks), free.shape[1]), np.inf)
    for line, column in zip(free, asks.T, strict=True):
        wanted = np.flatnonzero(column > 0.0)
        found[wanted] = np.minimum(found[wanted], line / column[wanted, None])
    return np.floor(np.where(np.isfinite(found), found, 0.0) + SMALLEST)


def _prior(capacity: Floats, free: Floats) -> Floats:
    """Room for single devices with their part of CPU and memory, and for pods that want all of a node's; (2, rows)."""
    devices = capacity[2:]
    there = devices > 0.0
    most = np.maximum(devices, 1.0)
    beside = np.minimum(*(free[:2] / np.maximum(capacity[:2], 1.0)))
    units = np.where(there, np.floor(np.minimum(free[2:], beside * devices) + SMALLEST) / most, 0.0)
    whole = np.where(there, free[2:] >= devices, False)
    return np.stack((units.sum(axis=0), whole.sum(axis=0).astype(np.float64)))
