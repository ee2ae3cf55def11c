"""A cluster that exists, as nodes, a trace and where each pod runs now: what a twin needs to replay it.

Pods that come with a node are part of the node (`clusternodes`), all others are the trace: those that are restarted as
services that were there throughout, those of Jobs as batch at the times at which they ran. Pods whose volumes tie them
to nodes carry that as a node selector on labels of our own (`reach`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sparsam.scheduling.columns import Floats, Ints
from sparsam.scheduling.demand import compile_pod, effective_requests
from sparsam.scheduling.powercolumns import SPEED_ANNOTATION
from sparsam.simulation.clusternodes import EmptyCluster, OwnLoad, prepared, usable
from sparsam.simulation.fleet import from_nodes
from sparsam.simulation.guess import Guess, guess
from sparsam.simulation.reach import Reach, Volumes
from sparsam.simulation.trace import Obj, Trace, UsageSeries
from sparsam.simulation.traces.podlist import ENDED, comes_with_node, end_of, is_batch, seconds_of, template_of
from sparsam.simulation.traces.rows import Templates

ASSUMED_USE_RATIO = 0.5
"""CPU that pods use as a share of what they request, where nothing was seen: an assumption."""
ASSUMED_USE_ERROR = 0.6
"""How far off that may be, as a share of it: an assumption too."""

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was seen of the use of pods and nodes in a window of time."""

    start_seconds: float
    """Since 1970."""
    end_seconds: float
    step_seconds: float
    source: str
    """In words."""
    pods: Mapping[Key, Floats] = field(default_factory=dict)
    """Cores in each step of the window, NaN where nothing was seen; a single value holds throughout."""
    nodes: Mapping[str, float] = field(default_factory=dict)
    """Mean cores of the whole node."""
    memory_bytes: Mapping[Key, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True, slots=True)
class Cluster:
    """All that a replay needs, and what it rests on."""

    nodes: tuple[Obj, ...]
    guesses: tuple[Guess, ...]
    """Of each node, before its own pods were added to its model."""
    trace: Trace
    node: Ints
    """On which of the nodes each pod runs, shape (pods,)."""
    memory_bytes: Floats
    """That each pod uses, NaN where unknown."""
    assumed_use: float
    """Share of all used CPU that is assumed and was not seen."""
    own_cores: float
    """CPU that the nodes' own pods and systems use."""
    notes: tuple[str, ...]
    """What was left out or assumed, in words."""
    budgets: tuple[Obj, ...] = ()
    """PodDisruptionBudgets."""

    @property
    def kinds(self) -> list[str]:
        """Of hardware, in the order of their first node."""
        return list(dict.fromkeys(each.kind for each in self.guesses))


def read_cluster(
    nodes: Iterable[Obj],
    pods: Iterable[Obj],
    use: Use,
    volumes: Volumes | None = None,
    *,
    budgets: Iterable[Obj] = (),
    sleep: str = "off",
) -> Cluster:
    """The cluster from API objects; `sleep` is how nodes sleep that do not state it. Raises EmptyCluster."""
    notes: list[str] = []
    kept = usable(list(nodes), notes)
    rows = {node["metadata"]["name"]: row for row, node in enumerate(kept)}
    own, working = _sorted_pods(pods, rows, notes)
    seen, reach = _Seen(use), Reach(kept, volumes or Volumes())
    reader = _Reader(use, rows, [_speed(node) for node in kept], seen, reach)
    found = reader.pods(working, notes)
    explained = np.bincount([each.node for each in found], [each.mean_cores for each in found], len(kept))
    loads = [
        _own_load(own.get(row, ()), seen, use.nodes.get(node["metadata"]["name"]), float(explained[row]))
        for row, node in enumerate(kept)
    ]
    guesses = tuple(guess(node) for node in kept)
    built = [
        prepared(node, guesses[row].model, loads[row], sleep=sleep, labels=reach.labels.get(row, {}))
        for row, node in enumerate(kept)
    ]
    if reach.tied:
        notes.append(f"{reach.tied} pods are tied to nodes by their volumes")
    return Cluster(
        nodes=tuple(from_nodes(built, "cluster").node_objects()),
        guesses=guesses,
        trace=_columns(found, reader.templates, use),
        node=np.array([each.node for each in found], dtype=np.int64),
        memory_bytes=np.array([each.memory_bytes for each in found]),
        assumed_use=seen.assumed_share,
        own_cores=sum(each.cores for each in loads),
        notes=(*notes, *seen.notes()),
        budgets=tuple(budgets),
    )


def _own_load(pods: Sequence[Obj], seen: _Seen, whole: float | None, explained: float) -> OwnLoad:
    """Of a node that uses so many cores as a whole, of which pods that are free to move explain some."""
    cores, requests = 0.0, {"pods": len(pods)}
    for pod in pods:
        wanted = effective_requests(pod["spec"])
        cores += float(seen.cores(pod, wanted.get("cpu", 0) / 1000.0).mean())
        for name, amount in wanted.items():
            requests[name] = requests.get(name, 0) + amount
    # What no pod explains is the system's; where less is seen of the node than of its own pods, these count.
    return OwnLoad(cores if whole is None else max(whole - explained, cores), requests)


def _sorted_pods(
    pods: Iterable[Obj], rows: Mapping[str, int], notes: list[str]
) -> tuple[dict[int, list[Obj]], list[Obj]]:
    """Pods that come with nodes by their node, and those that came with work; others are counted."""
    own: dict[int, list[Obj]] = {}
    working, waiting, strangers, replaced = [], 0, 0, 0
    for pod in pods:
        name, phase = pod["spec"].get("nodeName"), (pod.get("status") or {}).get("phase")
        ended, batch = phase in ENDED, is_batch(pod["metadata"], pod["spec"])
        if comes_with_node(pod["metadata"]):
            if name in rows and not ended:
                own.setdefault(rows[name], []).append(pod)
        elif ended and not batch:
            replaced += 1
        elif not name:
            waiting += 1
        elif name not in rows:
            strangers += 1
        else:
            working.append(pod)
    for count, what in (
        (waiting, "pods that wait for a node were left out"),
        (strangers, "pods on nodes that were left out were left out too"),
        (replaced, "pods that failed and were replaced were left out"),
    ):
        if count:
            notes.append(f"{count} {what}")
    return own, working


@dataclass(slots=True)
class _Pod:
    """A pod on its way into the trace."""

    template: int
    node: int
    arrival_seconds: float
    duration_seconds: float
    """On a core of speed 1."""
    batch: bool
    cores: Floats
    """On cores of speed 1, for each step of the window or once for all of it."""
    mean_cores: float
    """On its own node over the window, with the time before and after it."""
    memory_bytes: float


class _Seen:
    """Looks up use, and counts what had to be assumed."""

    def __init__(self, use: Use) -> None:
        self._use = use
        self._by_source = {"seen": 0, "assumed": 0}
        self._cores = {"seen": 0.0, "assumed": 0.0}

    def cores(self, pod: Obj, requested_cores: float) -> Floats:
        """Cores that a pod uses, without gaps; shape (steps,) or (1,)."""
        found = self._use.pods.get(_key(pod["metadata"]))
        kind = "assumed" if found is None or np.isnan(found).all() else "seen"
        if found is None or kind == "assumed":
            filled = np.array([ASSUMED_USE_RATIO * requested_cores])
        else:
            filled = np.where(np.isnan(found), np.nanmean(found), found)
        self._by_source[kind] += 1
        self._cores[kind] += float(filled.mean())
        return filled

    @property
    def assumed_share(self) -> float:
        """Of all use."""
        total = sum(self._cores.values())
        return self._cores["assumed"] / total if total else 0.0

    def notes(self) -> list[str]:
        """What was assumed, in words."""
        seen, assumed = self._by_source["seen"], self._by_source["assumed"]
        told = [f"CPU use of {seen} pods: {self._use.source}"] if seen else []
        if assumed:
            told.append(
                f"CPU use of {assumed} pods was not seen: {ASSUMED_USE_RATIO:.0%} of their requests are assumed, "
                f"give or take {ASSUMED_USE_ERROR:.0%} of that"
            )
        return told


@dataclass(slots=True)
class _Reader:
    """From pods to rows of a trace."""

    use: Use
    rows: Mapping[str, int]
    speeds: Sequence[float]
    seen: _Seen
    reach: Reach
    templates: Templates = field(default_factory=Templates)

    def pods(self, pods: Sequence[Obj], notes: list[str]) -> list[_Pod]:
        """In the order of arrival; raises EmptyCluster where none is left."""
        found, bad = [], 0
        for pod in pods:
            try:
                one = self._pod(pod)
            except ValueError:
                bad += 1
                continue
            if one is not None:
                found.append(one)
        if bad:
            notes.append(f"{bad} pods that could not be read were left out")
        if not found:
            raise EmptyCluster("no pod ran in the time that is looked at, but those that come with nodes")
        jobs = sum(each.batch for each in found)
        notes.append(f"{len(found) - jobs} pods are taken to run throughout, {jobs} are batch work of Jobs")
        return sorted(found, key=lambda each: each.arrival_seconds)

    def _pod(self, pod: Obj) -> _Pod | None:
        """None for a pod that ran at another time."""
        metadata, spec, use = pod["metadata"], pod["spec"], self.use
        row, batch = self.rows[spec["nodeName"]], is_batch(metadata, spec)
        arrival, stay = self._times(pod) if batch else (0.0, math.inf)
        if not (stay > 0.0 and arrival < use.seconds):
            return None
        if chosen := self.reach.selector(pod, row):
            spec = {**spec, "nodeSelector": {**(spec.get("nodeSelector") or {}), **chosen}}
        template = template_of(metadata, spec, self.templates)
        cores = self.seen.cores(pod, effective_requests(spec).get("cpu", 0) / 1000.0)
        # A service does what it is asked: on a core of speed 1 that takes as much longer as this one is faster. Batch
        # takes its whole core on either, and there longer.
        speed = self.speeds[row]
        return _Pod(
            template=template,
            node=row,
            arrival_seconds=arrival,
            duration_seconds=stay * speed if batch else stay,
            batch=batch,
            cores=cores if batch else cores * speed,
            mean_cores=float(cores.mean()) * min(stay, use.seconds - arrival) / use.seconds,
            memory_bytes=use.memory_bytes.get(_key(metadata), math.nan),
        )

    def _times(self, pod: Obj) -> tuple[float, float]:
        """From the start of the window, and for how long; what still runs does so until the end."""
        metadata, status = pod["metadata"], pod.get("status") or {}
        start = seconds_of(status, "status", "startTime") or seconds_of(metadata, "metadata", "creationTimestamp")
        arrival = max((start or 0.0) - self.use.start_seconds, 0.0)
        end = end_of(metadata, status)
        return arrival, math.inf if end is None else end - self.use.start_seconds - arrival


def _key(metadata: Obj) -> Key:
    return metadata.get("namespace", "default"), metadata["name"]


def _columns(found: Sequence[_Pod], templates: Templates, use: Use) -> Trace:
    scored = np.array([max(compile_pod(each).scored_cpu_millicores, 1) / 1000.0 for each in templates.pods])
    template = np.array([each.template for each in found], dtype=np.int64)
    # The world counts use as a share of the request, or of its stand-in.
    shares = [each.cores / scored[each.template] for each in found]
    follows = [number for number, each in enumerate(found) if len(each.cores) > 1 and not each.batch]
    series = np.full(len(found), -1, dtype=np.int64)
    series[follows] = np.arange(len(follows))
    table = None
    if follows:
        table = UsageSeries(use.step_seconds, np.array([shares[number] for number in follows], dtype=np.float32))
    return Trace(
        name="cluster",
        templates=tuple(_counted(each) for each in templates.pods),
        template=template,
        arrival_seconds=np.array([each.arrival_seconds for each in found]),
        duration_seconds=np.array([each.duration_seconds for each in found]),
        batch=np.array([each.batch for each in found], dtype=np.bool_),
        usage=np.array([float(share.mean()) for share in shares]),
        series=series,
        usage_series=table,
        horizon_seconds=use.seconds,
    )


def _counted(template: Obj) -> Obj:
    """A pod that states a CPU request of nothing at all asks for a thousandth of a core, so that use has a measure."""
    if compile_pod(template).scored_cpu_millicores:
        return template
    first, *rest = template["spec"]["containers"]
    resources = first.get("resources") or {}
    asked = {**resources, "requests": {**(resources.get("requests") or {}), "cpu": "1m"}}
    return {**template, "spec": {**template["spec"], "containers": [{**first, "resources": asked}, *rest]}}


def _speed(node: Obj) -> float:
    try:
        speed = float((node["metadata"].get("annotations") or {}).get(SPEED_ANNOTATION) or 1.0)
    except ValueError:
        return 1.0
    return speed if 0.0 < speed < math.inf else 1.0
