"""The cluster as NumPy columns: one row per node, updated per event.

Labels, taints, host ports and resource names are interned to small integers, so that a filter is one comparison
over all nodes. Rows of removed nodes are reused; `alive` says which rows count.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparsam.power.nodemodel import ends_as_learned, node_ends
from sparsam.power.server import ServerPower
from sparsam.scheduling.demand import HostPort, PodDemand, Taint, compile_pod
from sparsam.units import parse_bytes, parse_millicores

Obj = Mapping[str, Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CPU, MEMORY, STORAGE, PODS = range(4)
BASIC_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
ABSENT = -1
FIRST_ROWS = 16


class Interned:
    """Names to dense small integers, first come first numbered."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.numbers: dict[Any, int] = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.numbers)

    def number(self, name: Any) -> int:
        """The number of a name, given on first sight."""
        return self.numbers.setdefault(name, len(self.numbers))

    def known(self, name: Any) -> int:
        """The number of a name, or ABSENT."""
        return self.numbers.get(name, ABSENT)


class _Placed(NamedTuple):
    """A pod as it counts on its node."""

    row: int
    node: str
    demand: PodDemand


@dataclass(slots=True)
class Snapshot:
    """Columns of shape (rows,) or (rows, things); `names[row]` is the node's name, empty for a free row."""

    names: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    resources: Interned = field(default_factory=lambda: Interned(BASIC_RESOURCES))
    taints: Interned = field(default_factory=Interned)
    ports: Interned = field(default_factory=Interned)
    label_values: Interned = field(default_factory=Interned)
    labels: dict[str, Ints] = field(default_factory=dict)
    """Label key to the interned value on each node, ABSENT where the node has no such label."""
    alive: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    unschedulable: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    allocatable: Ints = field(default_factory=lambda: np.zeros((0, len(BASIC_RESOURCES)), np.int64))
    requested: Ints = field(default_factory=lambda: np.zeros((0, len(BASIC_RESOURCES)), np.int64))
    scored: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """cpu and memory requests with upstream's stand-ins for pods that ask for none (100m, 200Mi)."""
    tainted: Bools = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    port_users: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    idle_watts: Floats = field(default_factory=lambda: np.zeros(0))
    max_watts: Floats = field(default_factory=lambda: np.zeros(0))
    watts_estimated: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    tie_rank: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Fixed pseudo-random rank of each node by its name: breaks ties the same way whatever the row order."""
    _calibrated: dict[str, ServerPower] = field(default_factory=dict)
    _model_states: dict[str, Obj] = field(default_factory=dict)
    _placed: dict[str, _Placed] = field(default_factory=dict)
    _homeless: dict[str, tuple[str, PodDemand]] = field(default_factory=dict)
    _demands: dict[PodDemand, PodDemand] = field(default_factory=dict)

    def node_count(self) -> int:
        """Nodes that count."""
        return len(self.rows)

    def set_node(self, node: Obj) -> None:
        """Add a node or take over its changes; pods seen before their node are counted now."""
        name = node["metadata"]["name"]
        fresh = name not in self.rows
        row = self.rows[name] if not fresh else self._take_row(name)
        status, spec = node.get("status", {}), node.get("spec", {})
        self.alive[row] = True
        self.unschedulable[row] = bool(spec.get("unschedulable"))
        self._set_allocatable(row, status.get("allocatable") or status.get("capacity") or {})
        self._set_labels(row, node["metadata"].get("labels", {}))
        self._set_taints(row, spec.get("taints", ()))
        threads = max(float(self.allocatable[row, CPU]) / 1000.0, 1.0)
        self._calibrated[name] = node_ends(node["metadata"].get("annotations", {}), threads)
        self._set_power(name)
        if fresh:
            for key, (home, demand) in list(self._homeless.items()):
                if home == name:
                    del self._homeless[key]
                    self._place(key, name, demand)

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods wait for it to come back."""
        row = self.rows.pop(name, None)
        self._calibrated.pop(name, None)
        if row is None:
            return
        for key, placed in list(self._placed.items()):
            if placed.row == row:
                del self._placed[key]
                self._homeless[key] = (name, placed.demand)
        self.names[row] = ""
        for column in (self.alive, self.unschedulable, self.allocatable, self.requested, self.scored, self.tainted):
            column[row] = 0
        self.port_users[row] = 0
        for values in self.labels.values():
            values[row] = ABSENT

    def set_model_state(self, name: str, state: Obj | None) -> None:
        """Take over what a node's meter finds of its model (`status.model` of its NodePower); None forgets it."""
        if state is None:
            self._model_states.pop(name, None)
        else:
            self._model_states[name] = state
        if name in self.rows:
            self._set_power(name)

    def set_pod(self, pod: Obj) -> None:
        """Count a bound pod on its node, or stop counting one that ended; unbound pods are ignored."""
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        node = pod["spec"].get("nodeName")
        if not node or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            self.remove_pod(key)
            return
        self.assume(key, node, compile_pod(pod))

    def assume(self, key: str, node: str, demand: PodDemand) -> None:
        """Count a pod on a node from now on, wherever it was counted before."""
        known = self._placed.get(key)
        if known and known.node == node and known.demand == demand:
            return
        self.remove_pod(key)
        # Replicas ask for the same: one copy serves them all.
        demand = self._demands.setdefault(demand, demand)
        if node in self.rows:
            self._place(key, node, demand)
        else:
            self._homeless[key] = (node, demand)

    def remove_pod(self, key: str) -> None:
        """Stop counting a pod."""
        self._homeless.pop(key, None)
        placed = self._placed.pop(key, None)
        if placed:
            self._count(placed.row, placed.demand, -1)

    def request_vector(self, demand: PodDemand) -> Ints:
        """The demand in the order of the resource columns, shape (resources,); a new resource adds a column."""
        numbers = [self.resources.number(name) for name, _ in demand.requests]
        self._fit_columns()
        vector = np.zeros(len(self.resources), np.int64)
        vector[numbers] = [amount for _, amount in demand.requests]
        vector[PODS] = 1
        return vector

    def port_numbers(self, demand: PodDemand) -> list[int]:
        """Column numbers of the ports that would collide with the demand's host ports."""
        return [number for known, number in self.ports.numbers.items() for port in demand.ports if port.collides(known)]

    def _place(self, key: str, node: str, demand: PodDemand) -> None:
        row = self.rows[node]
        self._placed[key] = _Placed(row, node, demand)
        self._count(row, demand, +1)

    def _count(self, row: int, demand: PodDemand, sign: int) -> None:
        vector = self.request_vector(demand)
        self.requested[row] += sign * vector
        self.scored[row] += sign * np.array((demand.scored_cpu_millicores, demand.scored_memory_bytes))
        for port in demand.ports:
            number = self._port_column(port)
            self.port_users[row, number] += sign

    def _port_column(self, port: HostPort) -> int:
        number = self.ports.number(port)
        if number >= self.port_users.shape[1]:
            self.port_users = _widen(self.port_users, len(self.ports))
        return number

    def _set_allocatable(self, row: int, allocatable: Mapping[str, str]) -> None:
        parsed = {
            name: parse_millicores(text) if name == "cpu" else parse_bytes(text) for name, text in allocatable.items()
        }
        numbers = [self.resources.number(name) for name in parsed]
        self._fit_columns()
        self.allocatable[row] = 0
        self.allocatable[row, numbers] = list(parsed.values())

    def _fit_columns(self) -> None:
        if self.allocatable.shape[1] < len(self.resources):
            self.allocatable = _widen(self.allocatable, len(self.resources))
            self.requested = _widen(self.requested, len(self.resources))

    def _set_labels(self, row: int, labels: Mapping[str, str]) -> None:
        for key, values in self.labels.items():
            if key not in labels:
                values[row] = ABSENT
        for key, value in labels.items():
            if key not in self.labels:
                self.labels[key] = np.full(len(self.names), ABSENT, np.int64)
            self.labels[key][row] = self.label_values.number(value)

    def _set_taints(self, row: int, taints: Any) -> None:
        numbers = [self.taints.number(Taint(t["key"], t.get("value", ""), t["effect"])) for t in taints or ()]
        if self.tainted.shape[1] < len(self.taints):
            self.tainted = _widen(self.tainted, len(self.taints))
        self.tainted[row] = False
        self.tainted[row, numbers] = True

    def _set_power(self, name: str) -> None:
        row, power = self.rows[name], self._calibrated[name]
        if name in self._model_states:
            power = ends_as_learned(power, self._model_states[name])
        self.idle_watts[row], self.max_watts[row] = power.idle_watts, power.max_watts
        self.watts_estimated[row] = power.estimated

    def _take_row(self, name: str) -> int:
        if "" not in self.names:
            self._grow(max(FIRST_ROWS, 2 * len(self.names)))
        row = self.names.index("")
        self.names[row] = name
        self.rows[name] = row
        self.tie_rank[row] = zlib.crc32(name.encode())
        return row

    def _grow(self, rows: int) -> None:
        extra = rows - len(self.names)
        self.names += [""] * extra
        for name in (
            *("alive", "unschedulable", "allocatable", "requested", "scored", "tainted", "port_users"),
            *("idle_watts", "max_watts", "watts_estimated", "tie_rank"),
        ):
            column = getattr(self, name)
            added = np.zeros((extra, *column.shape[1:]), column.dtype)
            setattr(self, name, np.concatenate((column, added)))
        for key, values in self.labels.items():
            self.labels[key] = np.concatenate((values, np.full(extra, ABSENT, np.int64)))


def _widen(matrix: Any, columns: int) -> Any:
    added = np.zeros((matrix.shape[0], columns - matrix.shape[1]), matrix.dtype)
    return np.concatenate((matrix, added), axis=1)
