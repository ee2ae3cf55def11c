"""The rows of what is measured: the use of nodes and pods."""

from __future__ import annotations

from datetime import datetime

from sparsam.apiserver.tables.columns import Cells, Obj, Printer, columns, name_of
from sparsam.units import parse_quantity


def _node(obj: Obj, _now: datetime) -> Cells:
    return [name_of(obj), *_amounts([obj["usage"]]), obj["window"]]


def _pod(obj: Obj, _now: datetime) -> Cells:
    return [name_of(obj), *_amounts([each["usage"] for each in obj["containers"]]), obj["window"]]


def _amounts(usages: list[dict[str, str]]) -> list[str]:
    totals = (sum(parse_quantity(usage[name]) for usage in usages) for name in ("cpu", "memory"))
    cpu, memory = totals
    return [f"{round(cpu * 1_000_000_000)}n", f"{int(memory) >> 10}Ki"]


_COLUMNS = columns("cpu", "memory", "Window")
PRINTERS = {
    ("metrics.k8s.io", "NodeMetrics"): Printer(_COLUMNS, _node),
    ("metrics.k8s.io", "PodMetrics"): Printer(_COLUMNS, _pod),
}
