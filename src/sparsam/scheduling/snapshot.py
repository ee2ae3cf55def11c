"""The cluster as NumPy columns: one place (row) in each for a node, updated per event.

Labels, taints, host ports and resource names are interned to small integers, so that a filter is one comparison
over all nodes. Rows of removed nodes are reused; `alive` says which rows count. Two logs tell which rows changed: what
a node is (`static`), and what stands on it (`dynamic`).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sparsam.objects.selectors import LabelSelector, label_selector_from_map, parse_label_selector_object
from sparsam.scheduling.columns import ABSENT, Bools, ChangeLog, Floats, Interned, Ints, Rows, cells, grown, with_lines
from sparsam.scheduling.demand import WITH_THE_NODE, HostPort, PodDemand, Taint, amount_of, compile_pod
from sparsam.scheduling.images import Images
from sparsam.scheduling.labels import Labels
from sparsam.scheduling.podterms import PodClass
from sparsam.scheduling.population import Population
from sparsam.scheduling.powercolumns import PowerColumns
from sparsam.scheduling.storage import Storage
from sparsam.scheduling.usage import LEVELS, Usage, use_level
from sparsam.scheduling.wishes import Wishes

Obj = Mapping[str, Any]

CPU, MEMORY, STORAGE, PODS = range(4)
BASIC_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
FIRST_ROWS = 16
BESIDE_CHANGES = 256
"""After so many changes of nodes it is looked anew how much CPU they have beside memory and places for pods."""
_BY_LABELS = ("Service", "ReplicationController")
"""Their selectors are plain labels; other kinds have LabelSelectors."""
ENDED = ("Succeeded", "Failed")


class Resident(NamedTuple):
    """A pod that counts on a node."""

    key: str
    """`namespace/name`."""
    node: str
    demand: PodDemand
    priority: int = 0
    started: str = ""
    """RFC 3339, empty for one that has not started."""
    terminating: bool = False
    preemptible: bool = True

    @property
    def kind(self) -> PodClass:
        """What selectors see of it."""
        return self.demand.kind._replace(terminating=True) if self.terminating else self.demand.kind


class Snapshot:
    """Columns of shape (rows,) or (things, rows); `names[row]` is the node's name, empty for a free row."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: dict[str, int] = {}
        self.static, self.dynamic = ChangeLog(), ChangeLog()
        self.resources = Interned(BASIC_RESOURCES)
        self.taints, self.ports, self.labels = Interned(), Interned(), Labels()
        self.alive: Bools = np.zeros(0, np.bool_)
        self.unschedulable: Bools = np.zeros(0, np.bool_)
        self.allocatable: Ints = np.zeros((len(BASIC_RESOURCES), 0), np.int64)
        self.requested: Ints = np.zeros((len(BASIC_RESOURCES), 0), np.int64)
        self.scored: Ints = np.zeros((2, 0), np.int64)
        """cpu and memory requests with upstream's stand-ins for pods that ask for none (100m, 200Mi)."""
        self.scored_total = [0, 0]
        """Of all nodes."""
        self.use_levels: Floats = np.zeros((LEVELS + 1, 0))
        """Room that pods take (`room_of`) by the share of it that they are expected to use, in millicores."""
        self.level_pods = [0] * (LEVELS + 1)
        """Pods of each such share."""
        self.usual_levels: Floats = np.zeros(LEVELS + 1)
        """What all pods of the cluster together usually take, likewise, where somebody remembers that."""
        self.tainted: Bools = np.zeros((0, 0), np.bool_)
        self.port_users: Ints = np.zeros((0, 0), np.int64)
        self.tie_rank: Ints = np.zeros(0, np.int64)
        """Fixed pseudo-random rank of each node by its name: breaks ties the same way whatever the row order."""
        self.population = Population()
        self.images = Images()
        self.power = PowerColumns()
        self.usage = Usage()
        self.wishes = Wishes()
        """What pods want of cards and the like."""
        self.storage = Storage()
        self.services: dict[str, dict[str, LabelSelector]] = {}
        """What Services select, by namespace and name."""
        self.owners: dict[tuple[str, str, str], LabelSelector] = {}
        """What controllers of pods select, by namespace, kind and name."""
        self.selectors_version = 0
        self.replicas: Counter[tuple[str, tuple[str, str]]] = Counter()
        """Pods on nodes by namespace and owner."""
        self.residents: list[dict[str, Resident]] = []
        """The pods of each row by key."""
        self.nominees: dict[str, Resident] = {}
        """Pods for which room is being made on a node: no pod of lower or equal priority may take it."""
        self._free: list[int] = []
        self._find_cells()
        self._expected: dict[str, tuple[int, float, float]] = {}
        """As each pod was counted: its level of use, its room, and the millicores that it would use on its node."""
        self._beside: tuple[tuple[int, int], float, float] = ((0, -1), 0.0, 0.0)
        self._placed: dict[str, Resident] = {}
        self._homeless: dict[str, Resident] = {}

    def node_count(self) -> int:
        """Nodes that count."""
        return len(self.rows)

    # -- nodes ----------------------------------------------------------------------------------------------

    def set_node(self, node: Obj) -> None:
        """Add a node or take over its changes; pods seen before their node are counted now.

        Raises ValueError on quantities that are none, and leaves the node as it was.
        """
        name = node["metadata"]["name"]
        status, spec = node.get("status", {}), node.get("spec", {})
        stated = status.get("allocatable") or status.get("capacity") or {}
        allocatable = {each: amount_of(each, text) for each, text in stated.items()}
        fresh = name not in self.rows
        row = self.rows[name] if not fresh else self._take_row(name)
        self.alive[row] = True
        self.unschedulable[row] = bool(spec.get("unschedulable"))
        self._set_allocatable(row, allocatable)
        self.labels.set_row(row, node["metadata"].get("labels") or {})
        self._set_taints(row, spec.get("taints") or ())
        self.images.set_row(row, status.get("images") or ())
        annotations = node["metadata"].get("annotations") or {}
        self.power.set_node(row, name, annotations, float(self.allocatable[CPU, row]))
        self.static.add(row)
        if fresh:
            for resident in [each for each in self._homeless.values() if each.node == name]:
                del self._homeless[resident.key]
                self._place(resident)

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods wait for it to come back."""
        row = self.rows.get(name)
        if row is None:
            return
        for resident in list(self.residents[row].values()):
            self._displace(resident)
            self._homeless[resident.key] = resident
        del self.rows[name]
        self.names[row] = ""
        self._free.append(row)
        for column in (self.alive, self.unschedulable, self.allocatable, self.tainted):
            column[..., row] = 0
        self.labels.set_row(row, {})
        self.images.set_row(row, ())
        self.power.clear(name)
        self.static.add(row)

    # -- pods -----------------------------------------------------------------------------------------------

    def set_pod(self, pod: Obj) -> None:
        """Count a bound pod on its node, or stop counting one that ended; unbound pods are ignored.

        Raises ValueError on a pod that cannot be compiled.
        """
        metadata = pod["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        node, status = pod["spec"].get("nodeName"), pod.get("status") or {}
        if not node or status.get("phase") in ENDED:
            self.remove_pod(key)
            return
        resident = Resident(
            key=key,
            node=node,
            demand=compile_pod(pod),
            priority=pod["spec"].get("priority") or 0,
            started=status.get("startTime") or "",
            terminating="deletionTimestamp" in metadata,
        )
        self.assume(resident)

    def confirm(self, pod: Obj) -> None:
        """A pod that counts on its node already is there, and asks for what it asked for: only its state may be new."""
        metadata, status = pod["metadata"], pod.get("status") or {}
        known = self._placed[f"{metadata['namespace']}/{metadata['name']}"]
        started, terminating = status.get("startTime") or "", "deletionTimestamp" in metadata
        self.assume(known._replace(started=started, terminating=terminating))

    def assume(self, resident: Resident) -> None:
        """Count a pod on a node from now on, wherever it was counted before."""
        known = self._placed.get(resident.key) or self._homeless.get(resident.key)
        if known is not None:
            if known == resident:
                return
            if resident.key in self._placed and known._replace(started=resident.started) == resident:
                # When it started matters to whoever looks for victims, and changes no count.
                self._placed[resident.key] = self.residents[self.rows[resident.node]][resident.key] = resident
                return
            self.remove_pod(resident.key)
        if resident.node in self.rows:
            self._place(resident)
        else:
            self._homeless[resident.key] = resident

    def remove_pod(self, key: str) -> None:
        """Stop counting a pod."""
        self._homeless.pop(key, None)
        resident = self._placed.get(key)
        if resident is not None:
            self._displace(resident)

    def resident(self, key: str) -> Resident | None:
        """The pod as it counts on a node."""
        return self._placed.get(key)

    def request_vector(self, demand: PodDemand) -> Ints:
        """The demand in the order of the resource columns, shape (resources,); a new resource adds a column."""
        numbers = [self.resources.number(name) for name, _ in demand.requests]
        self._fit_resources()
        vector = np.zeros(len(self.resources), np.int64)
        vector[numbers] = [amount for _, amount in demand.requests]
        vector[PODS] = 1
        return vector

    def colliding_ports(self, wanted: Iterable[HostPort]) -> list[int]:
        """Lines of `port_users` that would collide with the host ports."""
        return [number for known, number in self.ports.numbers.items() for port in wanted if port.collides(known)]

    # -- what they depend on --------------------------------------------------------------------------------

    def set_power(self, name: str, status: Obj | None) -> None:
        """Take over the `status` of a node's NodePower; None forgets it."""
        row = self.power.set_state(name, status)
        if row is not None:
            self.dynamic.add(row)

    def set_asleep(self, row: int, asleep: bool) -> None:
        """A node was sent to sleep and takes no pods, or is on its way up: then it counts as awake."""
        self.power.set_asleep(row, asleep)
        self.dynamic.add(row)

    def observe_loads(self, rows: Rows, load: Floats) -> None:
        """Take over what the meters of many nodes saw, 0..1."""
        self.power.observe(rows, load)
        self.dynamic.add_all()

    def observe_inlets(self, rows: Rows, celsius: Floats) -> None:
        """Take over the temperature of the air at many nodes' inlets."""
        for row in self.power.observe_inlets(rows, celsius).tolist():
            self.dynamic.add(row)

    def set_selector(self, obj: Obj) -> None:
        """Take over what a Service or a controller of pods selects, for cluster-level spreading."""
        selector = (obj.get("spec") or {}).get("selector")
        kind, namespace, name = obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]
        compiled = label_selector_from_map(selector) if kind in _BY_LABELS else parse_label_selector_object(selector)
        if kind == "Service":
            self.services.setdefault(namespace, {})[name] = compiled
        else:
            self.owners[namespace, kind, name] = compiled
        self.selectors_version += 1

    def remove_selector(self, obj: Obj) -> None:
        """Forget one."""
        kind, namespace, name = obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]
        if kind == "Service":
            self.services.get(namespace, {}).pop(name, None)
        else:
            self.owners.pop((namespace, kind, name), None)
        self.selectors_version += 1

    def room_of(self, demand: PodDemand) -> float:
        """Millicores that a pod takes away from others: its request, or what goes with its memory or its place.

        As on the better half of the servers by watts per unit of work: a server with a hundred cores and places for a
        hundred pods has no room left for others once a hundred small ones are there (the dominant share; Ghodsi et al.,
        "Dominant resource fairness", NSDI 2011).
        """
        key = (self.node_count(), self.static.end // BESIDE_CHANGES)
        if self._beside[0] != key:
            self._beside = (key, *self._cpu_beside())
        _, of_byte, of_place = self._beside
        return max(float(demand.scored_cpu_millicores), demand.scored_memory_bytes * of_byte, of_place)

    def _cpu_beside(self) -> tuple[float, float]:
        """Millicores for each byte and for each pod, on the better half of the servers."""
        rows = np.flatnonzero(self.alive & (self.allocatable[[CPU, MEMORY, PODS]] > 0).all(axis=0))
        if not len(rows):
            return 0.0, 0.0
        cpu = self.allocatable[CPU, rows].astype(np.float64)
        order = np.argsort(self.power.unit_watts(rows, cpu), kind="stable")
        half = order[: int(np.searchsorted(np.cumsum(cpu[order]), cpu.sum() / 2.0)) + 1]
        weights = cpu[half]
        of_byte, of_place = (weights / self.allocatable[resource, rows[half]] for resource in (MEMORY, PODS))
        return float(np.average(of_byte, weights=weights)), float(np.average(of_place, weights=weights))

    # -- inside ---------------------------------------------------------------------------------------------

    def _place(self, resident: Resident) -> None:
        row = self.rows[resident.node]
        self._placed[resident.key] = resident
        self.residents[row][resident.key] = resident
        self.replicas[resident.demand.namespace, resident.demand.owner] += 1
        self._count(row, resident, +1)
        if resident.demand.devices and self.wishes.see(resident.demand):
            self.dynamic.add_all()

    def _displace(self, resident: Resident) -> None:
        row = self.rows[resident.node]
        del self._placed[resident.key]
        del self.residents[row][resident.key]
        self.replicas[resident.demand.namespace, resident.demand.owner] -= 1
        self._count(row, resident, -1)

    def _count(self, row: int, resident: Resident, sign: int) -> None:
        demand, numbers = resident.demand, self.resources.numbers
        for name, amount in demand.requests:
            number = numbers.get(name, ABSENT)
            if not 0 <= number < len(self.requested):
                number = self.resources.number(name)
                self._fit_resources()
            self.requested_at[number, row] += sign * amount
        self.requested_at[PODS, row] += sign
        cpu, memory = sign * demand.scored_cpu_millicores, sign * demand.scored_memory_bytes
        self._scored_at[CPU, row] += cpu
        self._scored_at[MEMORY, row] += memory
        self.scored_total[CPU] += cpu
        self.scored_total[MEMORY] += memory
        for port in demand.ports:
            number = self.ports.number(port)
            if number >= len(self.port_users):
                self.port_users = with_lines(self.port_users, len(self.ports))
            self.port_users[number, row] += sign
        if demand.volumes:
            self.storage.count(row, demand.namespace, demand.volumes, sign)
        if sign > 0:
            used = self.usage.expected_millicores(demand)
            expected = used * self.power.time_ratio(row, batch=demand.is_batch)
            room = self.room_of(demand)
            level = use_level(room, used)
            self._expected[resident.key] = (level, room, expected)
        else:
            level, room, expected = self._expected.pop(resident.key)
        self._levels_at[level, row] += sign * room
        self.level_pods[level] += sign
        self.power.count(row, expected, sign, holds=demand.owner[0] not in WITH_THE_NODE)
        self.population.add(row, resident.kind, demand.terms, sign)
        self.dynamic.add(row)

    def _find_cells(self) -> None:
        """Pods come and go one at a time."""
        self.requested_at, self.allocatable_at = cells(self.requested), cells(self.allocatable)
        self._scored_at, self._levels_at = cells(self.scored), cells(self.use_levels)

    def _set_allocatable(self, row: int, allocatable: Mapping[str, int]) -> None:
        numbers = [self.resources.number(name) for name in allocatable]
        self._fit_resources()
        self.allocatable[:, row] = 0
        self.allocatable[numbers, row] = list(allocatable.values())

    def _fit_resources(self) -> None:
        if len(self.allocatable) < len(self.resources):
            self.allocatable = with_lines(self.allocatable, len(self.resources))
            self.requested = with_lines(self.requested, len(self.resources))
            self._find_cells()

    def _set_taints(self, row: int, taints: Iterable[Obj]) -> None:
        numbers = [self.taints.number(Taint(t["key"], t.get("value", ""), t["effect"])) for t in taints]
        if len(self.tainted) < len(self.taints):
            self.tainted = with_lines(self.tainted, len(self.taints))
        self.tainted[:, row] = False
        self.tainted[numbers, row] = True

    def _take_row(self, name: str) -> int:
        if not self._free:
            self._grow(max(FIRST_ROWS, 2 * len(self.names)))
        row = self._free.pop()
        self.names[row] = name
        self.rows[name] = row
        self.tie_rank[row] = zlib.crc32(name.encode())
        return row

    def _grow(self, rows: int) -> None:
        extra = rows - len(self.names)
        self._free += range(rows - 1, len(self.names) - 1, -1)
        self.names += [""] * extra
        self.residents += [{} for _ in range(extra)]
        for name in (
            *("alive", "unschedulable", "allocatable", "requested", "scored", "use_levels"),
            *("tainted", "port_users", "tie_rank"),
        ):
            setattr(self, name, grown(getattr(self, name), rows))
        self._find_cells()
        self.labels.grow(rows)
        self.population.grow(rows)
        self.images.grow(rows)
        self.power.grow(rows)
