"""Fleets: which servers a digital twin has, as Node objects that the scheduler reads like any cluster's.

A fleet is described by groups of one server model of the catalogue each (`sparsam models list`), or by Node objects of
a cluster that exists. Racks are filled group by group. Ready-made fleets are in `fleets`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import msgspec
import numpy as np

from sparsam.objects.names import dns_subdomain_errors
from sparsam.power.catalogue import Profile, profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.power.sleep import ASSUMED
from sparsam.scheduling.demand import amount_of
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION, SPEED_ANNOTATION
from sparsam.units import parse_bytes, parse_millicores

Obj = Mapping[str, Any]

HOSTNAME_LABEL = "kubernetes.io/hostname"
ZONE_LABEL = "topology.kubernetes.io/zone"
INSTANCE_LABEL = "node.kubernetes.io/instance-type"
RACK_LABEL = "sparsam.dev/rack"
GPU_LABEL = "nvidia.com/gpu.product"
GPU_RESOURCE = "nvidia.com/gpu"
GPU_SHARE_RESOURCE = "sparsam.dev/gpu-milli"
"""Thousandths of cards; a node has it beside the whole cards, and who wants a whole card asks for both."""

EVICTION_BYTES = 100 << 20
"""Memory that the kubelet keeps free by default (`evictionHard`)."""

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class BadFleet(ValueError):
    """What cannot be used, with its place."""

    def __init__(self, file: str, field: str, why: str) -> None:
        super().__init__(f"{file}: {field}: {why}")
        self.file, self.field, self.why = file, field, why


class Reserved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a node its own daemons keep."""

    cpu: str = "0"
    memory: str = "0"


class Group(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Servers of one model, bought together."""

    model: str
    """Of the catalogue; `-performance` at its end means the other BIOS profile."""
    count: AtLeastOne
    name: str = ""
    """How nodes' names begin; the model when empty."""
    memory: str = ""
    """What the catalogue's server had when empty."""
    pods: AtLeastOne = 110
    gpus: NotNegative = 0
    gpu_model: str = ""
    sleep: str = ""
    """How an idle server can sleep (`power.sleep.ASSUMED`); empty: not at all."""
    speed: float = 0.0
    """Work of a core beside that of the fleet's core in the middle; 0: as the catalogue's operations tell."""
    reserved: Reserved = Reserved()
    labels: dict[str, str] = {}
    taints: tuple[dict[str, Any], ...] = ()

    def names(self) -> list[str]:
        """Of the nodes."""
        digits = max(3, len(str(self.count)))
        return [f"{self.name or self.model}-{number:0{digits}}" for number in range(1, self.count + 1)]


class Fleet(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Groups of servers, and nodes that are already objects."""

    name: str
    groups: tuple[Group, ...] = ()
    nodes_per_rack: NotNegative = 20
    """0: no racks."""
    zones: tuple[str, ...] = ()
    """Racks are dealt out to them in turn."""
    nodes: tuple[dict[str, Any], ...] = ()
    """Node objects taken as they are, after those of the groups."""

    def node_objects(self) -> list[Obj]:
        """All nodes, ready to be scheduled on; equal fleets give equal nodes."""
        usual = self._usual_ops()
        built: list[Obj] = []
        for group in self.groups:
            profile = find_profile(group.model)
            status, annotations = _status(group, profile), _annotations(group, profile, usual)
            for name in group.names():
                labels = _labels(group, name) | self._place(len(built)) | group.labels
                built.append(_node(name, labels, annotations, group.taints, status))
        return built + [self._racked(node, len(built) + number) for number, node in enumerate(self.nodes)]

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return sum(group.count for group in self.groups) + len(self.nodes)

    def amounts(self) -> list[dict[str, int]]:
        """What the nodes can allocate: millicores of CPU, bytes or whole units of all else."""
        return [
            {name: amount_of(name, text) for name, text in node["status"]["allocatable"].items()}
            for node in self.node_objects()
        ]

    def cores(self) -> float:
        """Allocatable CPU of all nodes."""
        return sum(node["cpu"] for node in self.amounts()) / 1000.0

    def cards(self) -> float:
        """Whole cards of all nodes."""
        return float(sum(node.get(GPU_RESOURCE, 0) for node in self.amounts()))

    def _usual_ops(self) -> float:
        """Speed of the core in the middle of the fleet."""
        models = [(find_profile(group.model), group.count) for group in self.groups]
        found = [(profile.ssj_ops_per_thread, profile.threads * count) for profile, count in models]
        if not found:
            return math.nan
        ops, threads = map(np.array, zip(*sorted(found), strict=True))
        return float(ops[np.searchsorted(np.cumsum(threads), threads.sum() / 2.0)])

    def _place(self, number: int) -> dict[str, str]:
        if not self.nodes_per_rack:
            return {}
        rack = number // self.nodes_per_rack
        zone = {ZONE_LABEL: self.zones[rack % len(self.zones)]} if self.zones else {}
        return {RACK_LABEL: f"rack-{rack + 1:02}"} | zone

    def _racked(self, node: Obj, number: int) -> Obj:
        """In a rack, where the node does not say in which."""
        metadata = node["metadata"]
        labels = self._place(number) | (metadata.get("labels") or {})
        return {**node, "metadata": {**metadata, "labels": labels}}


def parse_fleet(document: Any, file: str) -> Fleet:
    """A fleet from a YAML or JSON document; raises BadFleet."""
    try:
        fleet = msgspec.convert(document, Fleet)
    except msgspec.ValidationError as error:
        why, _, field = str(error).partition(" - at `$")
        raise BadFleet(file, field.strip(".`") or "the document", why) from error
    if not (fleet.groups or fleet.nodes):
        raise BadFleet(file, "groups", "a fleet without nodes")
    if fleet.zones and not fleet.nodes_per_rack:
        raise BadFleet(file, "zones", "racks are dealt out to zones, and nodesPerRack is 0")
    for number, group in enumerate(fleet.groups):
        _check_group(group, file, f"groups[{number}]")
    for number, node in enumerate(fleet.nodes):
        _check_node(node, file, f"nodes[{number}]")
    _check_names(fleet, file)
    return fleet


def from_nodes(nodes: Iterable[Obj], name: str) -> Fleet:
    """The fleet that a cluster's Node objects tell of: amounts, labels, taints and power models; raises BadFleet."""
    kept = tuple(_bare(node) if isinstance(node, Mapping) else node for node in nodes)
    return parse_fleet({"name": name, "nodes": kept, "nodesPerRack": 0}, name)


def find_profile(model: str) -> Profile:
    """A server of the catalogue; raises ValueError with the names that come near."""
    known = {one.name: one for one in profiles()}
    if model not in known:
        raise ValueError(near(model, known))
    return known[model]


def near(name: str, known: Iterable[str]) -> str:
    """That a name is unknown, and which ones are like it."""
    names = list(known)
    close = [each for each in names if name.lower() in each] if name else []
    close += [each for each in get_close_matches(name.lower(), names, n=5) if each not in close]
    return f"no {name!r}" + (f"; did you mean {', '.join(close[:5])}?" if close else "")


def _node(name: str, labels: Obj, annotations: Obj, taints: Sequence[Obj], status: Obj) -> Obj:
    spec = {"taints": list(taints)} if taints else {}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


def _labels(group: Group, name: str) -> dict[str, str]:
    gpu = {GPU_LABEL: group.gpu_model} if group.gpu_model else {}
    return {HOSTNAME_LABEL: name, INSTANCE_LABEL: group.model} | gpu


def _annotations(group: Group, profile: Profile, usual_ops: float) -> dict[str, str]:
    speed = f"{group.speed or profile.ssj_ops_per_thread / usual_ops:.4g}"
    sleep = {SLEEP_ANNOTATION: group.sleep} if group.sleep else {}
    return {MODEL_ANNOTATION: encode(profile.model).decode(), SPEED_ANNOTATION: speed} | sleep


def _status(group: Group, profile: Profile) -> dict[str, dict[str, str]]:
    gpus = gpu_amounts(group.gpus)
    millicores, left = _left(group, profile)
    memory = parse_bytes(_memory(group, profile))
    return {
        "capacity": {"cpu": str(profile.threads), "memory": f"{memory >> 10}Ki", "pods": str(group.pods)} | gpus,
        "allocatable": {"cpu": f"{millicores}m", "memory": f"{left >> 10}Ki", "pods": str(group.pods)} | gpus,
    }


def _left(group: Group, profile: Profile) -> tuple[int, int]:
    """Millicores and bytes for pods."""
    memory = parse_bytes(_memory(group, profile))
    millicores = 1000 * profile.threads - parse_millicores(group.reserved.cpu)
    return millicores, memory - parse_bytes(group.reserved.memory) - EVICTION_BYTES


def gpu_amounts(gpus: int) -> dict[str, str]:
    """Cards as resources: whole ones, and thousandths of them."""
    return {GPU_RESOURCE: str(gpus), GPU_SHARE_RESOURCE: str(1000 * gpus)} if gpus else {}


def _memory(group: Group, profile: Profile) -> str:
    return group.memory or f"{profile.memory_gb:g}Gi"


def _check_group(group: Group, file: str, field: str) -> None:
    try:
        profile = find_profile(group.model)
    except ValueError as error:
        raise BadFleet(file, f"{field}.model", str(error)) from None
    for name, text in (
        ("memory", _memory(group, profile)),
        ("reserved.cpu", group.reserved.cpu),
        ("reserved.memory", group.reserved.memory),
    ):
        try:
            amount_of(name.rpartition(".")[2], text)
        except ValueError as error:
            raise BadFleet(file, f"{field}.{name}", str(error)) from None
    for name, left in zip(("cpu", "memory"), _left(group, profile), strict=True):
        if left <= 0:
            raise BadFleet(file, f"{field}.reserved.{name}", "nothing is left for pods")
    if group.sleep and group.sleep not in ASSUMED:
        raise BadFleet(file, f"{field}.sleep", f"{group.sleep!r} is none of {', '.join(ASSUMED)}")
    if not 0.0 <= group.speed < math.inf:
        raise BadFleet(file, f"{field}.speed", f"{group.speed:g} is no speed")
    if group.gpu_model and not group.gpus:
        raise BadFleet(file, f"{field}.gpuModel", "a model, but no gpus")


def _check_node(node: Obj, file: str, field: str) -> None:
    metadata = node.get("metadata")
    if not (isinstance(metadata, Mapping) and isinstance(metadata.get("name"), str)):
        raise BadFleet(file, f"{field}.metadata.name", "a node has a name")
    status = node.get("status")
    amounts = status.get("allocatable") if isinstance(status, Mapping) else None
    if not (isinstance(amounts, Mapping) and {"cpu", "memory", "pods"} <= amounts.keys()):
        raise BadFleet(file, f"{field}.status.allocatable", f"{metadata['name']} states no cpu, memory and pods")
    for name, text in amounts.items():
        try:
            amount_of(name, text)
        except ValueError as error:
            raise BadFleet(file, f"{field}.status.allocatable", f"{name}: {error}") from None


def _check_names(fleet: Fleet, file: str) -> None:
    owners: dict[str, str] = {}
    owned = [(f"groups[{number}].name", group.names()) for number, group in enumerate(fleet.groups)]
    owned += [(f"nodes[{number}].metadata.name", [node["metadata"]["name"]]) for number, node in enumerate(fleet.nodes)]
    for field, names in owned:
        for name in names:
            if name in owners:
                raise BadFleet(file, field, f"node {name} is already in {owners[name]}")
            owners[name] = field
        if field.startswith("groups") and (wrong := dns_subdomain_errors(names[-1])):
            raise BadFleet(file, field, f"{names[-1]!r}: {wrong[0]}")


def _bare(node: Obj) -> Obj:
    """What the twin takes of a node: neither addresses nor images nor who wrote what."""
    metadata, spec, status = (node.get(name) or {} for name in ("metadata", "spec", "status"))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {name: metadata[name] for name in ("name", "labels", "annotations") if name in metadata},
        "spec": {name: spec[name] for name in ("taints", "unschedulable") if name in spec},
        "status": {name: status[name] for name in ("capacity", "allocatable") if name in status},
    }
