"""The rows of what is measured, and of what is made of it: the use of nodes and pods, their watts, models, policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sparsam.apiserver.tables.columns import (
    AGE,
    NONE,
    UNKNOWN,
    Cells,
    Obj,
    Printer,
    age,
    columns,
    joined,
    name_of,
    since,
    wide,
)
from sparsam.units import parse_quantity


def _node(obj: Obj, _now: datetime) -> Cells:
    return [name_of(obj), *_amounts([obj["usage"]]), obj["window"]]


def _pod(obj: Obj, _now: datetime) -> Cells:
    return [name_of(obj), *_amounts([each["usage"] for each in obj["containers"]]), obj["window"]]


def _amounts(usages: list[dict[str, str]]) -> list[str]:
    totals = (sum(parse_quantity(usage[name]) for usage in usages) for name in ("cpu", "memory"))
    cpu, memory = totals
    return [f"{round(cpu * 1_000_000_000)}n", f"{int(memory) >> 10}Ki"]


def _node_power(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    figures = [_watts(status, name) for name in ("watts", "idleWatts", "podWatts", "systemWatts", "unattributedWatts")]
    error = status.get("errorRatio")
    return [
        name_of(obj),
        *figures,
        status.get("provenance") or UNKNOWN,
        UNKNOWN if error is None else f"{error:.0%}",
        since(status.get("time"), now),
        status.get("source") or NONE,
        f"{status.get('joules', 0.0) / 3.6e6:.3f}",
    ]


def _watts(status: Mapping[str, Any], name: str) -> str:
    return f"{status[name]:.1f}" if name in status else UNKNOWN


def _server_model(obj: Obj, now: datetime) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    model = spec.get("model") or {}
    ratios = [each["meanRatio"] for each in model.get("errorByLevel") or () if "meanRatio" in each]
    accepted = [each.get("status", "") for each in status.get("conditions") or () if each.get("type") == "Accepted"]
    return [
        name_of(obj),
        model.get("family", ""),
        f"{sum(ratios) / len(ratios):.1%}" if ratios else UNKNOWN,
        joined(accepted, UNKNOWN),
        str(len(status.get("nodes") or ())),
        age(obj, now),
        model.get("source") or NONE,
        model.get("date") or NONE,
    ]


def _power_policy(obj: Obj, now: datetime) -> Cells:
    spec = obj.get("spec") or {}
    return [name_of(obj), spec.get("policy") or "sparsam", spec.get("mode") or "active", age(obj, now)]


_COLUMNS = columns("cpu", "memory", "Window")
_MODEL_COLUMNS = columns("Family", "Error", "Accepted", "Nodes", AGE, wide("Source"), wide("Date"))
_POWER_COLUMNS = columns(
    "Watts", "Idle", "Pods", "System", "Unattributed", "Provenance", "Error", "Seen", wide("Source"), wide("kWh")
)
PRINTERS = {
    ("power.sparsam.dev", "PowerPolicy"): Printer(columns("Policy", "Mode", AGE), _power_policy),
    ("metrics.k8s.io", "NodeMetrics"): Printer(_COLUMNS, _node),
    ("metrics.k8s.io", "PodMetrics"): Printer(_COLUMNS, _pod),
    ("power.sparsam.dev", "ServerModel"): Printer(_MODEL_COLUMNS, _server_model),
    ("power.sparsam.dev", "NodePower"): Printer(_POWER_COLUMNS, _node_power),
}
