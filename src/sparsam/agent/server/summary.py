"""The kubelet's Summary API and its resource metrics, built from snapshots. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sparsam.agent.server.usage import Snapshot, Usage

Obj = dict[str, Any]
_NANOSECONDS = 10**9
_METRICS = {
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the container in core-seconds"),
    "container_memory_working_set_bytes": ("gauge", "Current working set of the container in bytes"),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds"),
    "node_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the node in core-seconds"),
    "node_memory_working_set_bytes": ("gauge", "Current working set of the node in bytes"),
    "pod_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the pod in core-seconds"),
    "pod_memory_working_set_bytes": ("gauge", "Current working set of the pod in bytes"),
    "resource_scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
    "scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
}


def summary(node_name: str, pods: Iterable[Obj], older: Snapshot, newer: Snapshot, *, started: str) -> Obj:
    """`/stats/summary`; `started` says since when the node runs."""
    room = newer.file_system
    node: Obj = {
        "nodeName": node_name,
        "startTime": started,
        "cpu": _cpu(newer.node, older.node),
        "memory": {
            **_memory(newer.node),
            "availableBytes": max(0, newer.memory_bytes - newer.node.memory_working_set_bytes),
        },
        "fs": {
            "time": _stamp(newer.time_nanoseconds),
            "availableBytes": room.available_bytes,
            "capacityBytes": room.capacity_bytes,
            "usedBytes": room.capacity_bytes - room.available_bytes,
            "inodes": room.inodes,
            "inodesFree": room.inodes_free,
            "inodesUsed": room.inodes - room.inodes_free,
        },
    }
    return {"node": node, "pods": [_pod(pod, older, newer) for pod in pods]}


def _pod(pod: Obj, older: Snapshot, newer: Snapshot) -> Obj:
    metadata = pod["metadata"]
    uid = metadata["uid"]
    result: Obj = {
        "podRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": uid},
        "startTime": (pod.get("status") or {}).get("startTime") or metadata.get("creationTimestamp"),
        "containers": [_container(pod, name, usage, older) for name, usage in _containers_of(uid, newer)],
    }
    usage = newer.pods.get(uid)
    if usage is not None:
        result["cpu"], result["memory"] = _cpu(usage, older.pods.get(uid)), _memory(usage)
    return result


def _container(pod: Obj, name: str, usage: Usage, older: Snapshot) -> Obj:
    before = older.containers.get((pod["metadata"]["uid"], name))
    result: Obj = {
        "name": name,
        "startTime": _started(pod, name),
        "cpu": _cpu(usage, before),
        "memory": _memory(usage),
    }
    if usage.layer_bytes is not None:
        result["rootfs"] = {"time": _stamp(usage.time_nanoseconds), "usedBytes": usage.layer_bytes}
    return result


def _containers_of(uid: str, snapshot: Snapshot) -> Iterator[tuple[str, Usage]]:
    for (owner, name), usage in sorted(snapshot.containers.items()):
        if owner == uid:
            yield name, usage


def _cpu(usage: Usage, before: Usage | None) -> Obj:
    result = {"time": _stamp(usage.time_nanoseconds), "usageCoreNanoSeconds": usage.cpu_nanoseconds}
    rate = nano_cores(usage, before)
    return result if rate is None else {**result, "usageNanoCores": rate}


def nano_cores(usage: Usage, before: Usage | None) -> int | None:
    """The rate between two looks; None when there is nothing to compare with, such as another run of a container."""
    if before is None or usage.time_nanoseconds <= before.time_nanoseconds:
        return None
    if usage.cpu_nanoseconds < before.cpu_nanoseconds:
        return None
    elapsed = usage.time_nanoseconds - before.time_nanoseconds
    return (usage.cpu_nanoseconds - before.cpu_nanoseconds) * _NANOSECONDS // elapsed


def _memory(usage: Usage) -> Obj:
    return {
        "time": _stamp(usage.time_nanoseconds),
        "usageBytes": usage.memory_usage_bytes,
        "workingSetBytes": usage.memory_working_set_bytes,
        "rssBytes": usage.memory_rss_bytes,
    }


def _started(pod: Obj, name: str) -> str | None:
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(kind) or ():
            if each["name"] == name:
                started: str | None = ((each.get("state") or {}).get("running") or {}).get("startedAt")
                return started
    return None


def _stamp(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // _NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resource_metrics(pods: Iterable[Obj], snapshot: Snapshot) -> str:
    """`/metrics/resource` in Prometheus' text format."""
    samples: dict[str, list[str]] = {name: [] for name in _METRICS}

    def add(kind: str, labels: dict[str, str], usage: Usage) -> None:
        moment = usage.time_nanoseconds // 1_000_000
        text = _labels(labels)
        cpu_seconds = usage.cpu_nanoseconds / _NANOSECONDS
        samples[f"{kind}_cpu_usage_seconds_total"].append(f"{text} {cpu_seconds!r} {moment}")
        samples[f"{kind}_memory_working_set_bytes"].append(f"{text} {usage.memory_working_set_bytes} {moment}")

    add("node", {}, snapshot.node)
    for pod in pods:
        metadata = pod["metadata"]
        labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
        if metadata["uid"] in snapshot.pods:
            add("pod", labels, snapshot.pods[metadata["uid"]])
        for name, usage in _containers_of(metadata["uid"], snapshot):
            add("container", {"container": name, **labels}, usage)
            started = _started(pod, name)
            if started:
                seconds = datetime.fromisoformat(started).timestamp()
                samples["container_start_time_seconds"].append(f"{_labels({'container': name, **labels})} {seconds!r}")
    failed = 0 if snapshot.complete else 1
    samples["resource_scrape_error"] = samples["scrape_error"] = [f" {failed}"]
    return "".join(_family(name, lines) for name, lines in samples.items() if lines)


def _family(name: str, lines: list[str]) -> str:
    kind, text = _METRICS[name]
    head = f"# HELP {name} [STABLE] {text}\n# TYPE {name} {kind}\n"
    return head + "".join(f"{name}{line}\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    # Names of pods, namespaces and containers need no escaping.
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{{{inner}}}" if inner else ""
