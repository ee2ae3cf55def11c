"""From rows to columns: cells that are checked, templates that equal pods share, and who is left out."""

from __future__ import annotations

import csv
import math
import zlib
from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sparsam.scheduling.demand import amount_of
from sparsam.simulation.trace import BadTrace, Obj, Trace, UsageSeries

IMAGE = "registry.k8s.io/pause:3.10"
"""For pods whose trace tells none: nothing is ever run, but a Pod has an image."""

SHORT = "\0"
"""Stands in the cells that a row of a text file lacks at its end; no cell of one can hold it."""

MOST_ROWS = 20_000_000
"""Of a file: what some gigabytes of memory hold."""

Row = Mapping[str, Any]
Record = TypeVar("Record")
Parsed = TypeVar("Parsed")


class BadField(ValueError):
    """What is wrong with a row; its number is added by whoever counts."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name, self.why = name, why


@dataclass(frozen=True, slots=True)
class Reading:
    """A trace, and what of its file it lacks."""

    trace: Trace
    skipped: int = 0
    """Rows that could not be used; only if leniently read."""
    complaint: BadTrace | None = None
    """What was wrong with the first of them."""


class Arrival(NamedTuple):
    """One pod, or several equal ones."""

    template: int
    arrival_seconds: float
    duration_seconds: float = math.inf
    batch: bool = False
    usage: float = math.nan
    series: int = -1
    copies: int = 1


@dataclass(slots=True)
class Source:
    """The rows of one file."""

    file: str
    lenient: bool = False
    skipped: int = 0
    complaint: BadTrace | None = None
    _names: set[Hashable] = field(default_factory=set)

    def once(self, column: str, name: str, *others: Hashable) -> None:
        """Raises BadField where a row before had this name, and the same of what else tells pods apart."""
        key = (name, *others)
        if key in self._names:
            raise BadField(column, f"{name!r} is in a row before it, too")
        self._names.add(key)

    def parsed(self, records: Iterable[Record], parse: Callable[[Record], Parsed | None]) -> Iterator[Parsed]:
        """What `parse` makes of each record but None; what it refuses with BadField is refused here, or counted."""
        for number, record in enumerate(self._whole(records), start=1):
            try:
                found = parse(record)
            except BadField as error:
                complaint = BadTrace(self.file, number, error.name, error.why)
                if not self.lenient:
                    raise complaint from None
                self.skipped += 1
                self.complaint = self.complaint or complaint
            else:
                if found is not None:
                    yield found

    def tabled(
        self, rows: Iterable[Row], parse: Callable[[Row], Parsed | None], required: Collection[str]
    ) -> Iterator[Parsed]:
        """The same for rows of a table that must have these columns."""
        return self.parsed(self._with_columns(rows, required), _strictly(parse))

    def reading(self, trace: Trace) -> Reading:
        """The trace with the count of what it lacks."""
        return Reading(trace, self.skipped, self.complaint)

    def _whole(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records; a file that breaks off or is no text is no trace, however lenient."""
        number = 1
        try:
            for record in records:
                if number > MOST_ROWS:
                    raise BadTrace(self.file, number, "the file", f"has more than {MOST_ROWS:,} rows; cut it by time")
                yield record
                number += 1
        except (EOFError, OSError, zlib.error, csv.Error, UnicodeDecodeError) as error:
            raise BadTrace(self.file, number, "the file", f"cut off or damaged: {error}") from error

    def _with_columns(self, rows: Iterable[Row], required: Collection[str]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            if not number and (missing := [name for name in required if name not in row]):
                there = ", ".join(str(name) for name in list(row)[:12])
                raise BadTrace(self.file, None, "the header", f"no column {', '.join(missing)}; there are {there}")
            yield row


@dataclass(slots=True)
class Templates:
    """Pods that are made once for each key."""

    pods: list[Obj] = field(default_factory=list)
    _numbers: dict[Hashable, int] = field(default_factory=dict)

    def number(self, key: Hashable, make: Callable[[], Obj]) -> int:
        """The place of the pod with this key."""
        known = self._numbers.get(key)
        if known is None:
            pod = make()
            known = self._numbers[key] = len(self.pods)
            self.pods.append(pod)
        return known


@dataclass(slots=True)
class Columns:
    """Arrivals in any order."""

    template: array[int] = field(default_factory=lambda: array("q"))
    arrival_seconds: array[float] = field(default_factory=lambda: array("d"))
    duration_seconds: array[float] = field(default_factory=lambda: array("d"))
    batch: array[int] = field(default_factory=lambda: array("b"))
    usage: array[float] = field(default_factory=lambda: array("d"))
    series: array[int] = field(default_factory=lambda: array("q"))

    def add(self, arrival: Arrival) -> None:
        """Append a pod."""
        for _ in range(arrival.copies):
            self.template.append(arrival.template)
            self.arrival_seconds.append(arrival.arrival_seconds)
            self.duration_seconds.append(arrival.duration_seconds)
            self.batch.append(arrival.batch)
            self.usage.append(arrival.usage)
            self.series.append(arrival.series)

    def trace(
        self, file: str, templates: Templates, *, usage_series: UsageSeries | None = None, horizon_seconds: float = 0.0
    ) -> Trace:
        """The pods by their arrival; the trace ends when the last of them does, or at the horizon if that is later."""
        if not self.template:
            raise BadTrace(file, None, "rows", "not one pod")
        arrival, stay = np.array(self.arrival_seconds), np.array(self.duration_seconds)
        order = np.argsort(arrival, kind="stable")
        ends = arrival + np.where(np.isfinite(stay), stay, 0.0)
        return Trace(
            name=file,
            templates=tuple(templates.pods),
            template=np.array(self.template)[order],
            arrival_seconds=arrival[order],
            duration_seconds=stay[order],
            batch=np.array(self.batch, np.bool_)[order],
            usage=np.array(self.usage)[order],
            series=np.array(self.series)[order],
            usage_series=usage_series,
            horizon_seconds=max(float(ends.max()), horizon_seconds),
        )


def number(row: Row, name: str, otherwise: float | None = None) -> float:
    """A cell that is finite and not negative; `otherwise` where it is empty. Raises BadField."""
    cell = row.get(name)
    if cell is None or cell == "":
        if otherwise is None:
            raise BadField(name, "is empty")
        return otherwise
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise BadField(name, f"{cell!r} is not a number") from None
    if cell.__class__ is str and "_" in cell:
        raise BadField(name, f"{cell!r} is not a number")
    if not 0.0 <= value < math.inf:
        raise BadField(name, f"{cell} is negative" if value < 0.0 else f"{cell} is not a finite number")
    return value


def amount(name: str, resource: str, text: str) -> str:
    """A quantity as it stands, if it is one. Raises BadField."""
    try:
        amount_of(resource, text)
    except ValueError as error:
        raise BadField(name, str(error)) from None
    return text


def pod(
    requests: Mapping[str, str],
    *,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Obj:
    """A v1 Pod of one container, without a name."""
    metadata: dict[str, Any] = {"namespace": namespace}
    if labels:
        metadata["labels"] = dict(labels)
    container = {"name": "main", "image": IMAGE, "resources": {"requests": dict(requests)}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**(spec or {}), "containers": [container]},
    }


def _strictly(parse: Callable[[Row], Parsed | None]) -> Callable[[Row], Parsed | None]:
    """As `csv.DictReader` tells it: cells beyond the last column are under None, and absent ones are `SHORT`."""

    def checked(row: Row) -> Parsed | None:
        if None in row:
            raise BadField("the row", "more cells than columns")
        if SHORT in row.values():
            raise BadField("the row", "fewer cells than columns")
        return parse(row)

    return checked
