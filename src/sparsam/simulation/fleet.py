"""Fleets of modelled servers: from a description as in a YAML file, from built-in generators, or from Node objects.

    name: example
    rackSize: 20
    servers:
    - {model: epyc-7742-2s, count: 100, sleep: suspended}
    - {model: xeon-platinum-8180-2s-performance, count: 50, memory: 384Gi, labels: {pool: old}}
    - {idleWatts: 90, maxWatts: 310, cpu: 64, memory: 256Gi, count: 10}

A server is a profile of the catalogue (`sparsam models list`) or stands for itself with idle and full-load watts. Its
core speed is its published operations per second and thread beside the median of the fleet's servers, unless stated.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sparsam.power.catalogue import Profile, profiles
from sparsam.power.model import encode
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION
from sparsam.power.sleep import ASSUMED
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION, SPEED_ANNOTATION
from sparsam.units import parse_bytes, parse_millicores

Obj = Mapping[str, Any]

RACK_LABEL = "sparsam.dev/rack"
TYPE_LABEL = "node.kubernetes.io/instance-type"
RACK_SIZE = 20
PODS = 110
GIBIBYTES_PER_THREAD = 4
MOST_SERVERS = 1_000_000
NO_SLEEP = "none"


class FleetError(ValueError):
    """A description that cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Server:
    """Servers of one kind in a fleet."""

    kind: str
    """Name of the profile, or what the description calls it."""
    count: int
    capacity: Mapping[str, str]
    power: Mapping[str, str]
    """Annotations that state the power model."""
    operations_per_thread: float | None
    speed: float | None
    """Stated core speed; None for that of the operations."""
    sleep: str
    labels: Mapping[str, str]
    taints: Sequence[Obj] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers in racks."""

    name: str
    servers: tuple[Server, ...]
    rack_size: int = RACK_SIZE

    @property
    def size(self) -> int:
        """How many servers there are."""
        return sum(server.count for server in self.servers)

    def nodes(self) -> list[dict[str, Any]]:
        """v1 Nodes, kinds taking turns so that every rack has some of each; objects share what they have in common."""
        speeds = self._speeds()
        left = [server.count for server in self.servers]
        found: list[dict[str, Any]] = []
        while any(left):
            for at, server in enumerate(self.servers):
                if left[at]:
                    left[at] -= 1
                    found.append(self._node(len(found), server, speeds[at]))
        return found

    def _node(self, number: int, server: Server, speed: float) -> dict[str, Any]:
        name = f"{self.name}-{number:05d}"
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            TYPE_LABEL: server.kind,
            RACK_LABEL: f"rack-{number // self.rack_size:04d}",
        }
        annotations = {**server.power, SPEED_ANNOTATION: f"{speed:.4f}"}
        if server.sleep != NO_SLEEP:
            annotations[SLEEP_ANNOTATION] = server.sleep
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {**labels, **server.labels}, "annotations": annotations},
            "spec": {"taints": list(server.taints)} if server.taints else {},
            "status": {"capacity": server.capacity, "allocatable": server.capacity},
        }

    def _speeds(self) -> list[float]:
        known = [
            np.full(server.count, server.operations_per_thread)
            for server in self.servers
            if server.operations_per_thread is not None
        ]
        median = float(np.median(np.concatenate(known))) if known else 1.0
        return [
            server.speed or (server.operations_per_thread / median if server.operations_per_thread else 1.0)
            for server in self.servers
        ]


def read_fleet(description: Any) -> Fleet:
    """A fleet from its description; raises FleetError naming the field."""
    if not isinstance(description, Mapping):
        raise FleetError("a fleet is a mapping with a name and servers")
    _known(description, ("name", "rackSize", "servers"), "")
    name = description.get("name", "fleet")
    if not isinstance(name, str) or not name:
        raise FleetError("name: must be a text")
    servers = description.get("servers")
    if not isinstance(servers, Sequence) or not servers or isinstance(servers, str):
        raise FleetError("servers: must be a list with at least one entry")
    found = tuple(_server(entry, f"servers[{number}]") for number, entry in enumerate(servers))
    fleet = Fleet(name, found, _count(description.get("rackSize", RACK_SIZE), "rackSize"))
    if fleet.size > MOST_SERVERS:
        raise FleetError(f"servers: {fleet.size} servers are more than {MOST_SERVERS}")
    return fleet


def built_in(name: str) -> Fleet:
    """A fleet by the name of a generator, such as rise-215 or uniform-100; raises FleetError."""
    if name in GENERATORS:
        return GENERATORS[name]()
    head, _, count = name.partition("-")
    if head == "uniform" and count.isdigit():
        return uniform(_count(int(count), name))
    raise FleetError(f"unknown fleet {name!r}; known are {', '.join(GENERATORS)}, uniform-N and files")


def of_profiles(name: str, counts: Mapping[str, int], sleep: str = "suspended") -> Fleet:
    """So many servers of each profile of the catalogue, with a data centre's memory rather than a benchmark's."""
    servers = [_of_profile(_profile(kind, kind), count, sleep) for kind, count in counts.items()]
    roomy = [{**each.capacity, "memory": f"{GIBIBYTES_PER_THREAD * int(each.capacity['cpu'])}Gi"} for each in servers]
    return Fleet(name, tuple(replace(each, capacity=room) for each, room in zip(servers, roomy, strict=True)))


def uniform(count: int) -> Fleet:
    """Equal servers."""
    return of_profiles(f"uniform-{count}", {"epyc-7742-2s": count})


def _alternating(name: str, kinds: Sequence[str], count: int) -> Fleet:
    """As many of each kind as of the next, half of them with a performance BIOS."""
    counts: dict[str, int] = {}
    for number in range(count):
        kind = kinds[number // 2 % len(kinds)] + ("-performance" if number % 2 else "")
        counts[kind] = counts.get(kind, 0) + 1
    return of_profiles(name, counts)


_RISE = ("xeon-e5-2660-2s", "xeon-e5-2699-v3-2s", "xeon-platinum-8180-2s", "epyc-7601-2s", "epyc-7742-1s")
_MIXED = (*_RISE, "xeon-e5-2699-v4-2s", "xeon-gold-6152-2s", "xeon-platinum-8280-2s", "xeon-platinum-8380-2s",
          "xeon-gold-6226r-2s", "epyc-7763-1s", "epyc-7773x-2s")  # fmt: skip
GENERATORS: Mapping[str, Callable[[], Fleet]] = {
    "rise-215": partial(_alternating, "rise-215", _RISE, 215),
    "mixed-2000": partial(_alternating, "mixed-2000", _MIXED, 2000),
}
"""Five server generations from 2012 to 2019, as a data centre has that renews a fifth of its servers at a time; and
twelve from 2012 to 2022."""


def _server(entry: Any, path: str) -> Server:
    if not isinstance(entry, Mapping):
        raise FleetError(f"{path}: must be a mapping")
    _known(entry, _SERVER_FIELDS, path)
    count = _count(entry.get("count", 1), f"{path}.count")
    sleep = entry.get("sleep", "suspended")
    if sleep not in (*ASSUMED, NO_SLEEP):
        raise FleetError(f"{path}.sleep: {sleep!r} is none of {', '.join((*ASSUMED, NO_SLEEP))}")
    base = _of_profile(_profile(entry["model"], f"{path}.model"), count, sleep) if "model" in entry else None
    power = dict(base.power) if base else _stated_power(entry, path)
    capacity = dict(base.capacity) if base else {"pods": str(PODS)}
    for name, value in {**_capacity(entry), **(entry.get("resources") or {})}.items():
        capacity[name] = _quantity(name, value, path)
    for name in ("cpu", "memory"):
        if name not in capacity:
            raise FleetError(f"{path}.{name}: must be stated where no model is")
    return Server(
        kind=str(entry.get("kind") or entry.get("model") or "server"),
        count=count,
        capacity=capacity,
        power=power,
        operations_per_thread=base.operations_per_thread if base else None,
        speed=_positive(entry["speed"], f"{path}.speed") if "speed" in entry else None,
        sleep=sleep,
        labels={str(key): str(value) for key, value in (entry.get("labels") or {}).items()},
        taints=tuple(entry.get("taints") or ()),
    )


_SERVER_FIELDS = (
    *("model", "kind", "count", "cpu", "memory", "pods", "resources", "idleWatts", "maxWatts"),
    *("speed", "sleep", "labels", "taints"),
)


def _of_profile(profile: Profile, count: int, sleep: str) -> Server:
    return Server(
        kind=profile.name,
        count=count,
        capacity={"cpu": str(profile.threads), "memory": f"{round(profile.memory_gb)}Gi", "pods": str(PODS)},
        power={MODEL_ANNOTATION: encode(profile.model).decode()},
        operations_per_thread=profile.operations_per_second / profile.threads,
        speed=None,
        sleep=sleep,
        labels={},
    )


def _profile(name: Any, path: str) -> Profile:
    known = {profile.name: profile for profile in profiles()}
    if name not in known:
        near = difflib.get_close_matches(str(name), known, 3, 0.5)
        hint = f"; do you mean {' or '.join(near)}?" if near else "; see: sparsam models list"
        raise FleetError(f"{path}: unknown server model {name!r}{hint}")
    return known[name]


def _stated_power(entry: Obj, path: str) -> dict[str, str]:
    watts = []
    for name in ("idleWatts", "maxWatts"):
        if name not in entry:
            raise FleetError(f"{path}: needs a model, or idleWatts and maxWatts")
        watts.append(_positive(entry[name], f"{path}.{name}"))
    if watts[0] > watts[1]:
        raise FleetError(f"{path}.maxWatts: {watts[1]:g} is below idleWatts {watts[0]:g}")
    return {IDLE_ANNOTATION: f"{watts[0]:g}", MAX_ANNOTATION: f"{watts[1]:g}"}


def _capacity(entry: Obj) -> dict[str, Any]:
    return {name: entry[name] for name in ("cpu", "memory", "pods") if name in entry}


def _quantity(name: str, value: Any, path: str) -> str:
    try:
        amount = parse_millicores(value) if name == "cpu" else parse_bytes(value)
    except (ValueError, TypeError) as error:
        raise FleetError(f"{path}.{name}: {error}") from error
    if amount <= 0:
        raise FleetError(f"{path}.{name}: {value!r} is not above zero")
    return str(value)


def _known(entry: Obj, fields: Sequence[str], path: str) -> None:
    for name in entry:
        if name not in fields:
            where = f"{path}.{name}" if path else str(name)
            raise FleetError(f"{where}: unknown field; known are {', '.join(fields)}")


def _count(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FleetError(f"{path}: {value!r} is not a whole number above zero")
    return value


def _positive(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
        raise FleetError(f"{path}: {value!r} is not a number above zero")
    return float(value)
