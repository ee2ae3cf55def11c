"""A trace: pods as columns, by the second at which they arrive, how long they stay and what they really use.

Operations return new traces and share what they do not change. Every trace that exists is sound: what contradicts
itself is refused when it is made, with the pod's row (from 1, in order of arrival) and the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sparsam.scheduling.columns import Bools, Floats, Ints, Rows
from sparsam.scheduling.demand import effective_requests
from sparsam.scheduling.placement import GROUP_LABEL
from sparsam.simulation.fleet import GPU_RESOURCE, GPU_SHARE_RESOURCE

Obj = Mapping[str, Any]

LARGEST_SERIES = 1 << 28
"""Values; a gigabyte of them."""


class BadTrace(ValueError):
    """What cannot be used, with its place."""

    def __init__(self, file: str, row: int | None, field: str, why: str) -> None:
        place = "" if row is None else f"row {row}, "
        super().__init__(f"{file}: {place}{field}: {why}")
        self.file, self.row, self.field, self.why = file, row, field, why


@dataclass(frozen=True, slots=True)
class UsageSeries:
    """Used CPU over time as shares of the request, one line for each pattern."""

    step_seconds: float
    values: npt.NDArray[np.float32]
    """Shape (patterns, steps); each value holds for a step, and after the last the first comes again."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Pod arrivals as columns. Shapes are (pods,) but for templates and series."""

    name: str
    templates: tuple[Obj, ...]
    """v1 Pods without a name: requests, constraints, labels, priority; equal pods share one."""
    template: Ints
    """Which of the templates."""
    arrival_seconds: Floats
    """Ascending, from 0."""
    duration_seconds: Floats
    """Infinite: until the end. Of batch work on a core of speed 1; a service holds its time whatever the node."""
    batch: Bools
    usage: Floats
    """Mean used CPU as a share of the request, in cores where nothing is requested; NaN: the usage model decides."""
    series: Ints
    """Line of `usage_series` that the pod reads from its own arrival on, instead of the constant; -1: none."""
    usage_series: UsageSeries | None
    horizon_seconds: float
    """When the trace ends; nothing arrives later."""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_series()

    def __len__(self) -> int:
        return len(self.template)

    @property
    def requested_cores(self) -> Floats:
        """CPU that each pod requests."""
        return self._requests("cpu")[self.template] / 1000.0

    @property
    def core_seconds(self) -> Floats:
        """CPU that each pod requests times its time within the horizon."""
        return self.requested_cores * self._stay()

    def mean_requested_cores(self) -> float:
        """CPU requested by the pods that are there, on average over the horizon if none has to wait."""
        return float(self.core_seconds.sum() / self.horizon_seconds) if self.horizon_seconds else 0.0

    def mean_requested_cards(self) -> float:
        """Cards and parts of cards, as the CPU above."""
        cards = np.maximum(self._requests(GPU_RESOURCE), self._requests(GPU_SHARE_RESOURCE) / 1000.0)[self.template]
        return float((cards * self._stay()).sum() / self.horizon_seconds) if self.horizon_seconds else 0.0

    def fits(self, nodes: Iterable[Mapping[str, int]]) -> Bools:
        """Which pods some node is large enough for, shape (pods,).

        Nodes are allocatable amounts by resource, CPU in millicores (see `Fleet.amounts`).
        """
        known = _kinds(nodes)
        fitting = [
            any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in known)
            for wanted in (effective_requests(pod["spec"]) for pod in self.templates)
        ]
        return np.array(fitting, np.bool_)[self.template]

    def check_fits(self, nodes: Iterable[Mapping[str, int]]) -> None:
        """Raises BadTrace for the first pod that is larger than every node; see `fits`."""
        known = _kinds(nodes)
        for row in np.flatnonzero(~self.fits(known))[:1].tolist():
            wanted = effective_requests(self.templates[self.template[row]]["spec"])
            name, most = _shortest(wanted, known)
            why = f"{wanted[name]}, but the largest node has {most} beside the rest"
            raise BadTrace(self.name, row + 1, f"requests {name}", why)

    def taken(self, rows: Rows | Bools) -> Trace:
        """The pods of some rows, in the order of arrival; templates that none of them has stay."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    def scaled(self, load: float, fleet_cores: float, fleet_cards: float = 0.0) -> Trace:
        """As many of the pods as request, on average over the horizon, a share `load` of a fleet's CPU.

        Or of its cards, where they request a larger share of these: no more than what is scarcest can be had.

        Too many: every n-th pod is kept in the order of their core-seconds, so sizes keep their distribution, the time
        of day keeps its shape, and the mean is off by no more than the largest pod. Too few: all pods come several
        times at the times they came, and a share of them as above once more. Pods of one group stay together.
        """
        mean = self.mean_requested_cores()
        if not (0.0 <= load < math.inf and 0.0 < fleet_cores < math.inf):
            raise ValueError(f"cannot scale to a load of {load:g} on {fleet_cores:g} cores")
        if not mean > 0.0:
            raise BadTrace(self.name, None, "requests cpu", "nobody requests any, so no load can be reached")
        if fleet_cards > 0.0:
            mean = max(mean, self.mean_requested_cards() * fleet_cores / fleet_cards)
        whole, share = divmod(load * fleet_cores / mean, 1.0)
        return merged([*[self] * int(whole), self.taken(self._share(share))], self.name)

    def compressed(self, factor: float, *, arrivals_only: bool = False) -> Trace:
        """All times divided, so that as much runs at once as before; or `arrivals_only`: load rises by the factor."""
        if not 0.0 < factor < math.inf:
            raise ValueError(f"cannot compress time by {factor:g}")
        sooner = replace(
            self, arrival_seconds=self.arrival_seconds / factor, horizon_seconds=self.horizon_seconds / factor
        )
        if arrivals_only:
            return sooner
        series = self.usage_series and replace(self.usage_series, step_seconds=self.usage_series.step_seconds / factor)
        return replace(sooner, duration_seconds=self.duration_seconds / factor, usage_series=series)

    def repeated(self, times: int) -> Trace:
        """The trace several times, end to end; pods that stay until the end come in the first round only."""
        if times < 1:
            raise ValueError(f"cannot repeat {times} times")
        again = self.taken(np.isfinite(self.duration_seconds))
        rounds = [self, *(again.shifted(number * self.horizon_seconds) for number in range(1, times))]
        return merged(rounds, self.name)

    def in_order(self, interval_seconds: float) -> Trace:
        """The pods one after the other at even steps, none of which ever ends: all are services then."""
        if not 0.0 < interval_seconds < math.inf:
            raise ValueError(f"cannot submit every {interval_seconds:g} s")
        pods = len(self)
        return replace(
            self,
            arrival_seconds=np.arange(pods, dtype=np.float64) * interval_seconds,
            duration_seconds=np.full(pods, np.inf),
            batch=np.zeros(pods, np.bool_),
            horizon_seconds=pods * interval_seconds,
        )

    def shifted(self, seconds: float) -> Trace:
        """Everything so much later; raises BadTrace where it would come before the start."""
        return replace(
            self, arrival_seconds=self.arrival_seconds + seconds, horizon_seconds=self.horizon_seconds + seconds
        )

    def between(self, start_seconds: float, end_seconds: float) -> Trace:
        """A part of the trace with its clock at 0; what runs when it starts arrives then with the time it has left."""
        if not 0.0 <= start_seconds < end_seconds < math.inf:
            raise ValueError(f"no time lies between {start_seconds:g} and {end_seconds:g} s")
        ends = self.arrival_seconds + self.duration_seconds
        there = self.taken(
            (self.arrival_seconds < end_seconds) & ((self.arrival_seconds >= start_seconds) | (ends > start_seconds))
        )
        past = np.maximum(start_seconds - there.arrival_seconds, 0.0)
        series, usage_series = _turned(there, past)
        return replace(
            there,
            arrival_seconds=np.maximum(there.arrival_seconds - start_seconds, 0.0),
            duration_seconds=there.duration_seconds - past,
            series=series,
            usage_series=usage_series,
            horizon_seconds=end_seconds - start_seconds,
        )

    def _requests(self, resource: str) -> Floats:
        """Of each template."""
        return np.array([effective_requests(pod["spec"]).get(resource, 0) for pod in self.templates], dtype=np.float64)

    def _stay(self) -> Floats:
        """Seconds of each pod within the horizon."""
        return np.minimum(self.duration_seconds, self.horizon_seconds - self.arrival_seconds)

    def _share(self, share: float) -> Bools:
        """A mask of pods that have about this share of the core-seconds, whole groups at a time."""
        names = [group_of(pod) for pod in self.templates]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
        group = np.array([numbers.get(name, -1) if name else -1 for name in names], dtype=np.int64)[self.template]
        alone = group < 0
        unit = np.where(alone, len(numbers) + np.cumsum(alone) - 1, group)
        work = np.bincount(unit, self.core_seconds, minlength=len(numbers) + int(alone.sum()))
        # Half a step of offset: the sum of every n-th of a sorted row is then nearest to the n-th part of the whole.
        place = np.floor(share * np.arange(len(work) + 1) + 0.5)
        kept = np.zeros(len(work), np.bool_)
        kept[np.argsort(work, kind="stable")] = np.diff(place) > 0.0
        return np.asarray(kept[unit])

    def _check_columns(self) -> None:
        pods = len(self.template)
        for name in _COLUMNS:
            if getattr(self, name).shape != (pods,):
                raise BadTrace(self.name, None, name, f"{getattr(self, name).shape} values for {pods} pods")
        arrival, stay, usage = self.arrival_seconds, self.duration_seconds, self.usage
        if not 0.0 <= self.horizon_seconds < math.inf:
            raise BadTrace(self.name, None, "horizon_seconds", f"{self.horizon_seconds:g} is no time to end at")
        self._refuse(
            "arrival_seconds", ~((arrival >= 0.0) & (arrival <= self.horizon_seconds)), "is not within 0 and the end"
        )
        self._refuse("arrival_seconds", np.diff(arrival, prepend=0.0) < 0.0, "is before the pod above it")
        self._refuse("duration_seconds", ~(stay >= 0.0), "is not a time to stay")
        self._refuse("usage", (usage < 0.0) | np.isinf(usage), "is not a share of the request")
        known = (self.template >= 0) & (self.template < len(self.templates))
        self._refuse("template", ~known, f"is none of the {len(self.templates)} templates")

    def _check_series(self) -> None:
        lines = 0
        if self.usage_series is not None:
            values, step = self.usage_series.values, self.usage_series.step_seconds
            if not (values.ndim == 2 and values.shape[1] and 0.0 < step < math.inf):
                raise BadTrace(self.name, None, "usage_series", f"shape {values.shape} in steps of {step:g} s")
            if not (np.isfinite(values).all() and (values >= 0.0).all()):
                raise BadTrace(self.name, None, "usage_series", "a value is no share of a request")
            lines = len(values)
        self._refuse("series", (self.series < -1) | (self.series >= lines), f"is none of the {lines} usage series")

    def _refuse(self, field: str, wrong: Bools, why: str) -> None:
        for row in np.flatnonzero(wrong)[:1].tolist():
            raise BadTrace(self.name, row + 1, field, f"{getattr(self, field)[row]:g} {why}")


_COLUMNS = ("template", "arrival_seconds", "duration_seconds", "batch", "usage", "series")


def merged(traces: Sequence[Trace], name: str = "") -> Trace:
    """All pods of several traces on one clock, until the last one ends.

    Equal pods share a template across traces. Groups of the same name in different traces stay different groups. Usage
    series must have the same step; raises ValueError where they cannot be put into one table.
    """
    if not traces:
        raise ValueError("no traces to merge")
    templates, places = _united([each.templates for each in traces])
    series, usage_series = _stacked(traces)
    columns = {
        "template": np.concatenate([place[each.template] for place, each in zip(places, traces, strict=True)]),
        "series": np.concatenate(series),
    }
    for field in ("arrival_seconds", "duration_seconds", "batch", "usage"):
        columns[field] = np.concatenate([getattr(each, field) for each in traces])
    order = np.argsort(columns["arrival_seconds"], kind="stable")
    return Trace(
        name=name or "+".join(each.name for each in traces),
        templates=templates,
        usage_series=usage_series,
        horizon_seconds=max(each.horizon_seconds for each in traces),
        **{field: values[order] for field, values in columns.items()},
    )


def group_of(pod: Obj) -> tuple[str, str] | None:
    """Namespace and name of the group that a pod is placed with, all or none."""
    metadata = pod.get("metadata") or {}
    name = (metadata.get("labels") or {}).get(GROUP_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def _united(all_templates: Sequence[tuple[Obj, ...]]) -> tuple[tuple[Obj, ...], list[Ints]]:
    """Templates without doubles, and for each trace where its own are among them."""
    numbers: dict[bytes, int] = {}
    templates: list[Obj] = []
    places, taken = [], set[tuple[str, str]]()
    for number, own in enumerate(all_templates, start=1):
        place = np.zeros(len(own), np.int64)
        for index, pod in enumerate(own):
            pod = _renamed(pod, f"-{number}") if group_of(pod) in taken else pod
            place[index] = numbers.setdefault(msgspec.json.encode(pod, order="deterministic"), len(templates))
            if place[index] == len(templates):
                templates.append(pod)
        taken |= {group for pod in own if (group := group_of(pod))}
        places.append(place)
    return tuple(templates), places


def _renamed(pod: Obj, suffix: str) -> Obj:
    """The pod in a group of another name."""
    metadata = pod["metadata"]
    labels = {**metadata["labels"], GROUP_LABEL: metadata["labels"][GROUP_LABEL] + suffix}
    return {**pod, "metadata": {**metadata, "labels": labels}}


def _stacked(traces: Sequence[Trace]) -> tuple[list[Ints], UsageSeries | None]:
    """Each trace's lines, and one table of all that are different, as wide as their periods have in common."""
    tables = list({id(each.usage_series): each.usage_series for each in traces if each.usage_series}.values())
    if not tables:
        return [each.series for each in traces], None
    if len({each.step_seconds for each in tables}) > 1:
        steps = ", ".join(f"{each.step_seconds:g}" for each in tables)
        raise ValueError(f"usage series in steps of {steps} s cannot be merged")
    width = math.lcm(*(each.values.shape[1] for each in tables))
    if width * sum(len(each.values) for each in tables) > LARGEST_SERIES:
        raise ValueError(
            f"usage series of such different lengths cannot be merged: they repeat after {width} steps only"
        )
    first = dict(zip(map(id, tables), np.cumsum([0, *(len(each.values) for each in tables)]).tolist(), strict=False))
    values = np.concatenate([np.tile(each.values, (1, width // each.values.shape[1])) for each in tables])
    lines = [np.where(each.series < 0, -1, each.series + first.get(id(each.usage_series), 0)) for each in traces]
    return lines, UsageSeries(tables[0].step_seconds, values)


def _turned(trace: Trace, past: Floats) -> tuple[Ints, UsageSeries | None]:
    """Lines for pods that have read some of theirs: of each such pod its own, turned by whole steps."""
    table = trace.usage_series
    late = np.flatnonzero((past > 0.0) & (trace.series >= 0))
    if table is None or not len(late):
        return trace.series, table
    turns = np.floor(past[late] / table.step_seconds).astype(np.int64)
    width = table.values.shape[1]
    added = table.values[trace.series[late, None], (np.arange(width) + turns[:, None]) % width]
    series = trace.series.copy()
    series[late] = len(table.values) + np.arange(len(late))
    return series, replace(table, values=np.concatenate([table.values, added]))


def _kinds(nodes: Iterable[Mapping[str, int]]) -> list[Mapping[str, int]]:
    """Each kind of node once."""
    return list({tuple(sorted(node.items())): node for node in nodes}.values())


def _shortest(wanted: Mapping[str, int], nodes: Sequence[Mapping[str, int]]) -> tuple[str, int]:
    """The resource that is scarcest for a pod on the nodes that come nearest to it, and the most of it there."""
    lacking = [[name for name, amount in wanted.items() if node.get(name, 0) < amount] for node in nodes]
    fewest = min((len(names) for names in lacking), default=0)
    near = [(names[0], node) for names, node in zip(lacking, nodes, strict=True) if len(names) == fewest]
    if not near:
        return next(iter(wanted)), 0
    name = near[0][0]
    return name, max(node.get(name, 0) for first, node in near if first == name)
