"""Job logs in the Standard Workload Format of the Parallel Workloads Archive (version 2.2), as groups of pods.

A job of n processors becomes n pods of one processor that are placed all or none. Jobs that were cancelled before they
started are no work and left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sparsam.scheduling.placement import GROUP_LABEL
from sparsam.simulation.trace import Obj
from sparsam.simulation.traces.rows import Arrival, BadField, Columns, Reading, Source, Templates, pod

# The 18 fields of a line, in order; -1 stands for unknown.
FIELDS = (
    *("job_number", "submit_time", "wait_time", "run_time", "allocated_processors", "average_cpu_time"),
    *("used_memory", "requested_processors", "requested_time", "requested_memory", "status", "user", "group"),
    *("executable", "queue", "partition", "preceding_job", "think_time"),
)
CANCELLED = 5
LARGEST_JOB = 1_000_000
"""Processors."""
HEADER = re.compile(r";\s*([A-Za-z]\w*):\s*(.*?)\s*\Z")


@dataclass(frozen=True, slots=True)
class SwfReading:
    """A trace, and what the head of its file says (`MaxProcs`, `UnixStartTime`, `Computer`, ...)."""

    reading: Reading
    header: Mapping[str, str]


def read_swf(lines: Iterable[str], file: str, *, lenient: bool = False) -> SwfReading:
    """Lines of a log; complaints count lines, the head included."""
    source, templates, columns = Source(file, lenient), Templates(), Columns()
    header: dict[str, str] = {}

    def parse(line: str) -> Arrival | None:
        text = line.strip()
        if text.startswith(";"):
            if match := HEADER.match(text):
                header.setdefault(match[1], match[2])
            return None
        return _arrival(_fields(text), templates) if text else None

    for arrival in source.parsed(lines, parse):
        columns.add(arrival)
    return SwfReading(source.reading(columns.trace(file, templates)), MappingProxyType(header))


def _fields(text: str) -> dict[str, float]:
    cells = text.split()
    if len(cells) != len(FIELDS):
        raise BadField("the line", f"{len(cells)} fields instead of {len(FIELDS)}")
    found = {}
    for name, cell in zip(FIELDS, cells, strict=True):
        try:
            found[name] = float(cell)
        except ValueError:
            raise BadField(name, f"{cell!r} is not a number") from None
        if not math.isfinite(found[name]):
            raise BadField(name, f"{cell} is not a finite number")
    return found


def _arrival(job: Mapping[str, float], templates: Templates) -> Arrival | None:
    run, processors = job["run_time"], job["requested_processors"]
    if processors <= 0.0:
        processors = job["allocated_processors"]
    if job["status"] == CANCELLED and (run <= 0.0 or processors <= 0.0):
        return None
    if job["submit_time"] < 0.0:
        raise BadField("submit_time", f"{job['submit_time']:g} is negative")
    if run < 0.0:
        raise BadField("run_time", "unknown" if run == -1.0 else f"{run:g} is negative")
    if not (1.0 <= processors <= LARGEST_JOB and processors.is_integer()):
        raise BadField("requested_processors", f"a job of {processors:g} processors")
    used = job["average_cpu_time"]
    return Arrival(
        _template(job, int(processors), templates),
        job["submit_time"],
        run,
        batch=True,
        usage=min(used / run, 1.0) if run > 0.0 and used >= 0.0 else math.nan,
        copies=int(processors),
    )


def _template(job: Mapping[str, float], processors: int, templates: Templates) -> int:
    kibibytes = job["requested_memory"] if job["requested_memory"] > 0.0 else job["used_memory"]
    requests = {"cpu": "1"} | ({"memory": f"{kibibytes:.0f}Ki"} if kibibytes > 0.0 else {})
    group = f"job-{job['job_number']:.0f}" if processors > 1 else ""

    def make() -> Obj:
        return pod(requests, labels={GROUP_LABEL: group} if group else None)

    return templates.number((group, requests.get("memory")), make)
