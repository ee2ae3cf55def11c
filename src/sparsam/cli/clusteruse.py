"""What pods and nodes of a cluster use: over days from Prometheus, at this moment from the metrics API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import numpy as np
import yarl

from sparsam.cli.clusters import Objects
from sparsam.cli.prometheus import BadAnswer, Window, read_matrix
from sparsam.cli.tables import BadInput
from sparsam.power.curves import Floats
from sparsam.simulation.cluster import Key, Use
from sparsam.units import parse_bytes, parse_quantity

Obj = Mapping[str, Any]

STEP_SECONDS = 300
PIECE_SECONDS = 86400.0
"""A week of thousands of pods is too much for one answer."""
POD_QUERY = (
    'sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!="",container!="POD",pod!=""}[10m]))'
)
NODE_QUERY = 'sum by (node, instance) (rate(container_cpu_usage_seconds_total{id="/"}[10m]))'


@dataclass(slots=True)
class _Table:
    """Values by key, put into the steps of a window as they come. A rate looks back: it is of the step before."""

    start: float
    steps: int
    rows: dict[Any, Floats] = field(default_factory=dict)

    def add(self, key: Any, moments: Floats, values: Floats) -> None:
        row = self.rows.setdefault(key, np.full(self.steps, np.nan))
        place = np.round((moments - self.start) / STEP_SECONDS).astype(np.int64) - 1
        within = (place >= 0) & (place < self.steps)
        row[place[within]] = values[within]


def use_from_prometheus(url: str, objects: Objects, days: float, now: float, progress: Callable[[float], None]) -> Use:
    """The use of the last days; raises BadInput where there is none to be had."""
    steps = max(round(days * 86400.0 / STEP_SECONDS), 1)
    start = now - steps * STEP_SECONDS
    try:
        pods, nodes = asyncio.run(_tables(url, start, steps, progress))
    except BadAnswer as error:
        raise BadInput(f"--prometheus {url}: {error}") from error
    if not pods.rows:
        raise BadInput(
            f"--prometheus {url}: no container_cpu_usage_seconds_total with pods in {days:g} days; "
            "does it scrape the kubelets' /metrics/cadvisor? Leave --prometheus out to go by present use or requests"
        )
    seen_days = max(np.isfinite(row).sum() for row in pods.rows.values()) * STEP_SECONDS / 86400.0
    return Use(
        start_seconds=start,
        end_seconds=now,
        step_seconds=float(STEP_SECONDS),
        source=f"Prometheus, up to {seen_days:.1f} of {days:g} days in steps of {STEP_SECONDS} s",
        pods=pods.rows,
        nodes=_mean_cores(nodes, objects),
    )


def use_of_now(objects: Objects, days: float, now: float) -> Use:
    """Present use where the metrics API is served, else none."""
    pods: dict[Key, Floats] = {}
    memory: dict[Key, float] = {}
    for each in objects.pod_metrics or ():
        key = (each["metadata"]["namespace"], each["metadata"]["name"])
        used = [one.get("usage") or {} for one in each.get("containers") or ()]
        pods[key] = np.array([sum(float(parse_quantity(one.get("cpu", "0"))) for one in used)])
        memory[key] = float(sum(parse_bytes(one.get("memory", "0")) for one in used))
    nodes = {
        each["metadata"]["name"]: float(parse_quantity((each.get("usage") or {}).get("cpu", "0")))
        for each in objects.node_metrics or ()
    }
    return Use(
        start_seconds=now - days * 86400.0,
        end_seconds=now,
        step_seconds=float(STEP_SECONDS),
        source="as the metrics API shows it at this moment, taken to hold throughout",
        pods=pods,
        nodes=nodes,
        memory_bytes=memory,
    )


def merged_use(days: Use, moment: Use) -> Use:
    """Use over days, with what only this moment tells: pods that Prometheus does not know, and memory."""
    return replace(
        days,
        pods={**moment.pods, **days.pods},
        nodes={**moment.nodes, **days.nodes},
        memory_bytes=moment.memory_bytes,
    )


async def _tables(url: str, start: float, steps: int, progress: Callable[[float], None]) -> tuple[_Table, _Table]:
    pods, nodes = _Table(start, steps), _Table(start, steps)
    whole = steps * STEP_SECONDS
    _check(url)
    async with aiohttp.ClientSession() as session:
        for done in np.arange(0.0, whole, PIECE_SECONDS).tolist():
            last = min(done + PIECE_SECONDS, whole)
            window = Window(start + done + STEP_SECONDS, start + last, STEP_SECONDS)
            for labels, moments, values in await read_matrix(session, url, POD_QUERY, window):
                pods.add((labels.get("namespace", ""), labels.get("pod", "")), moments, values)
            for labels, moments, values in await read_matrix(session, url, NODE_QUERY, window):
                nodes.add((labels.get("node", ""), labels.get("instance", "")), moments, values)
            progress(last / whole)
    return pods, nodes


def _check(url: str) -> None:
    try:
        sound = yarl.URL(url).scheme in ("http", "https") and yarl.URL(url).host
    except ValueError:
        sound = None
    if not sound:
        raise BadAnswer("is not an address such as http://prometheus:9090")


def _mean_cores(table: _Table, objects: Objects) -> dict[str, float]:
    """Of the cluster's nodes, which series name by a label or by their address."""
    names: dict[str, str] = {}
    for node in objects.nodes:
        name = node["metadata"]["name"]
        names[name] = name
        for each in (node.get("status") or {}).get("addresses") or ():
            names.setdefault(each["address"], name)
    found: dict[str, float] = {}
    for (label, instance), row in table.rows.items():
        host = instance.rpartition(":")[0] or instance
        name = names.get(label) or names.get(host.strip("[]")) or names.get(instance)
        if name and np.isfinite(row).any():
            found[name] = float(np.nanmean(row))
    return found
