"""Recorded CPU use of virtual machines, as services with usage series.

PlanetLab: one wide row for a VM and its day, in per cent every five minutes. Bitbrains (GWA-T-12): one long row for an
interval of a VM, and a second table with the VMs' sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sparsam.simulation.trace import Obj, UsageSeries
from sparsam.simulation.traces.rows import (
    Arrival,
    BadField,
    Columns,
    Reading,
    Row,
    Source,
    Templates,
    amount,
    number,
    pod,
)

STEP_SECONDS = 300.0
DAY_SECONDS = 86_400.0
STEPS = int(DAY_SECONDS / STEP_SECONDS)
PLANETLAB_COLUMNS = ("day", "vm_id", *(f"u_{300 * step}s" for step in range(STEPS)))
INTERVAL_COLUMNS = ("vm_id", "t_s", "duration_s", "cpu_util")
VM_COLUMNS = ("vm_id", "start_s", "stop_s", "cpu_count", "memory_mib")
PLANETLAB_REQUESTS = {"cpu": "1", "memory": "1Gi"}
"""The trace tells no sizes; these are ours."""

Shares = npt.NDArray[np.float32]


def read_planetlab(
    rows: Iterable[Row], file: str, *, requests: Mapping[str, str] = PLANETLAB_REQUESTS, lenient: bool = False
) -> Reading:
    """Each VM is a pod for one day. The recorded days, which do not follow each other, are put end to end."""
    source, templates, columns = Source(file, lenient), Templates(), Columns()
    for name, text in requests.items():
        amount(name, name, text)
    template = templates.number("vm", lambda: pod(requests, labels={"app": "planetlab"}))
    days: dict[str, int] = {}
    lines: list[Shares] = []

    def parse(row: Row) -> tuple[str, Shares]:
        day = str(row["day"])
        if not day:
            raise BadField("day", "is empty")
        shares = _percentages(row)
        source.once("vm_id", str(row["vm_id"]), day)
        return day, shares

    for day, shares in source.tabled(rows, parse, PLANETLAB_COLUMNS):
        start = DAY_SECONDS * days.setdefault(day, len(days))
        columns.add(Arrival(template, start, DAY_SECONDS, usage=float(shares.mean()), series=len(lines)))
        lines.append(shares)
    table = UsageSeries(STEP_SECONDS, np.stack(lines)) if lines else None
    return source.reading(columns.trace(file, templates, usage_series=table))


def read_bitbrains(
    intervals: Iterable[Row], vms: Iterable[Row], file: str, vms_file: str, *, lenient: bool = False
) -> Reading:
    """Each VM is a pod from its start to its stop that requests all of its size.

    Within an interval use is constant; a hole in the monitoring is filled with the value before it.
    """
    source, templates, columns = Source(vms_file, lenient), Templates(), Columns()

    def parse(row: Row) -> _Vm:
        vm = _vm(row)
        source.once("vm_id", vm.name)
        return vm

    known = {each.name: each for each in source.tabled(vms, parse, VM_COLUMNS)}
    _read_intervals(known, intervals, measured := Source(file, lenient))
    origin = min((each.start for each in known.values()), default=0.0)
    lines = [each.shares() for each in known.values()]
    for line, each in enumerate(known.values()):
        template = templates.number((each.cpus, each.mebibytes), each.pod)
        mean = float(lines[line].mean())
        columns.add(Arrival(template, each.start - origin, each.stop - each.start, usage=mean, series=line))
    trace = columns.trace(file, templates, usage_series=_table(lines))
    return Reading(trace, source.skipped + measured.skipped, source.complaint or measured.complaint)


@dataclass(slots=True)
class _Vm:
    name: str
    start: float
    stop: float
    cpus: float
    mebibytes: float
    intervals: list[tuple[float, float, float]] = field(default_factory=list)
    """Start, end and share of capacity."""

    def pod(self) -> Obj:
        """That requests all of its size."""
        return pod({"cpu": f"{self.cpus:g}", "memory": f"{self.mebibytes:.0f}Mi"}, labels={"app": "bitbrains"})

    def shares(self) -> Shares:
        """Use at steps from the start to the stop: of the last interval that began by the middle of the step."""
        steps = max(math.ceil((self.stop - self.start) / STEP_SECONDS), 1)
        if not self.intervals:
            return np.zeros(steps, np.float32)
        starts, _, used = np.array(sorted(self.intervals)).T
        middles = self.start + STEP_SECONDS * (np.arange(steps) + 0.5)
        place = np.searchsorted(starts, middles, "right") - 1
        return np.asarray(used[np.maximum(place, 0)], np.float32)


def _vm(row: Row) -> _Vm:
    name = str(row["vm_id"])
    start, stop = _signed(row, "start_s"), _signed(row, "stop_s")
    if stop < start:
        raise BadField("stop_s", f"{stop:g} is before start_s {start:g}")
    cpus = number(row, "cpu_count")
    if not cpus:
        raise BadField("cpu_count", "a VM without CPUs")
    return _Vm(name, start, stop, cpus, number(row, "memory_mib"))


def _read_intervals(known: Mapping[str, _Vm], rows: Iterable[Row], source: Source) -> None:
    def parse(row: Row) -> tuple[_Vm, tuple[float, float, float]]:
        vm = known.get(str(row["vm_id"]))
        if vm is None:
            raise BadField("vm_id", f"{row['vm_id']} is none of the VMs")
        end, length = _signed(row, "t_s"), number(row, "duration_s")
        return vm, (end - length, end, number(row, "cpu_util"))

    for vm, interval in source.tabled(rows, parse, INTERVAL_COLUMNS):
        vm.intervals.append(interval)


def _table(lines: list[Shares]) -> UsageSeries | None:
    """As wide as the longest line; shorter ones begin again, which nobody reads since their VM has stopped."""
    if not lines:
        return None
    width = max(map(len, lines))
    return UsageSeries(STEP_SECONDS, np.stack([np.resize(line, width) for line in lines]))


def _percentages(row: Row) -> Shares:
    cells = [row[name] for name in PLANETLAB_COLUMNS[2:]]
    try:
        shares = np.array(cells, dtype=np.float32) / np.float32(100.0)
    except (TypeError, ValueError):
        shares = np.full(STEPS, np.nan, np.float32)
    if not (np.isfinite(shares).all() and shares.min() >= 0.0):
        for name in PLANETLAB_COLUMNS[2:]:
            number(row, name)
    return shares


def _signed(row: Row, name: str) -> float:
    """A time that may lie before the first sample."""
    cell = row[name]
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise BadField(name, f"{cell!r} is not a number") from None
    if not math.isfinite(value):
        raise BadField(name, f"{cell} is not a finite number")
    return value
