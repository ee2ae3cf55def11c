"""What pods and nodes use, from two looks at an agent's resource metrics. Pure.

An agent's `/metrics/resource` (kubelet's, in Prometheus' text format) holds cumulative CPU seconds, each with the time
it was read at; the rate between two looks is the use that the metrics API shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sparsam.clock import format_time
from sparsam.objects.kinds import NODE_METRICS, POD_METRICS
from sparsam.objects.strategy import Obj

_LINE = re.compile(r"^(\w+?)_(cpu_usage_seconds_total|memory_working_set_bytes)(?:\{(.*)\})? (\S+) (\d+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Key = tuple[str, str, str]
"""Namespace, pod, container; all empty for the node."""
NODE: Key = ("", "", "")


@dataclass(slots=True)
class Sample:
    """One node or container at a moment (milliseconds since the epoch)."""

    time_milliseconds: int = 0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that an agent said at once."""

    samples: dict[Key, Sample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Use:
    """The use between two looks."""

    cpu_cores: float
    memory_bytes: int
    time_milliseconds: int
    window_milliseconds: int

    def amounts(self) -> dict[str, str]:
        """As quantities, in the units that metrics-server writes."""
        nanocores = round(self.cpu_cores * 1e9)
        return {"cpu": f"{nanocores}n" if nanocores else "0", "memory": f"{self.memory_bytes >> 10}Ki"}


def parse(text: str) -> Look:
    """A look from Prometheus' text; lines about other things are passed over."""
    look = Look()
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found or found[1] not in ("node", "container"):
            continue
        labels = dict(_LABEL.findall(found[3] or ""))
        key = (labels.get("namespace", ""), labels.get("pod", ""), labels.get("container", ""))
        sample = look.samples.setdefault(key, Sample())
        if found[2].startswith("cpu"):
            sample.cpu_seconds, sample.time_milliseconds = float(found[4]), int(found[5])
        else:
            sample.memory_bytes = int(float(found[4]))
    return look


def use_between(older: Look, newer: Look, key: Key) -> Use | None:
    """The use of one key; None when it was not there both times or its counter began anew."""
    before, after = older.samples.get(key), newer.samples.get(key)
    if before is None or after is None or after.cpu_seconds < before.cpu_seconds:
        return None
    window = after.time_milliseconds - before.time_milliseconds
    if window <= 0:
        return None
    cores = (after.cpu_seconds - before.cpu_seconds) * 1000.0 / window
    return Use(cores, after.memory_bytes, after.time_milliseconds, window)


def node_metrics(node: Obj, older: Look, newer: Look) -> Obj | None:
    """A NodeMetrics object, or None when there is no rate yet."""
    use = use_between(older, newer, NODE)
    if use is None:
        return None
    head = {"kind": NODE_METRICS.kind, "apiVersion": NODE_METRICS.api_version, "metadata": _metadata(node, use)}
    return {**head, **_moment(use), "usage": use.amounts()}


def pod_metrics(pod: Obj, older: Look, newer: Look) -> Obj | None:
    """A PodMetrics object, or None when a running container has no rate yet."""
    uses = dict(_containers(pod, older, newer))
    known = [(name, use) for name, use in uses.items() if use is not None]
    if not known or len(known) < len(uses):
        return None
    latest = max((use for _, use in known), key=lambda use: use.time_milliseconds)
    head = {"kind": POD_METRICS.kind, "apiVersion": POD_METRICS.api_version, "metadata": _metadata(pod, latest)}
    return {
        **head,
        **_moment(latest),
        "containers": [{"name": name, "usage": use.amounts()} for name, use in known],
    }


def _containers(pod: Obj, older: Look, newer: Look) -> Iterator[tuple[str, Use | None]]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    for each in status.get("containerStatuses") or ():
        if (each.get("state") or {}).get("running") is not None:
            name = each["name"]
            yield name, use_between(older, newer, (metadata["namespace"], metadata["name"], name))


def _metadata(obj: Obj, use: Use) -> Obj:
    metadata = obj["metadata"]
    result: Obj = {"name": metadata["name"]}
    if metadata.get("namespace"):
        result["namespace"] = metadata["namespace"]
    result["creationTimestamp"] = _stamp(use.time_milliseconds)
    if metadata.get("labels"):
        result["labels"] = metadata["labels"]
    return result


def _moment(use: Use) -> Obj:
    return {"timestamp": _stamp(use.time_milliseconds), "window": f"{use.window_milliseconds / 1000:g}s"}


def _stamp(milliseconds: int) -> str:
    return format_time(datetime.fromtimestamp(milliseconds / 1000, UTC))
