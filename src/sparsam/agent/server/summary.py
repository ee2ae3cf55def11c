"""The kubelet's Summary API and its resource metrics, built from snapshots. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.podspec import is_terminal
from sparsam.agent.server.disks import PodDisk
from sparsam.agent.server.groups import NANOSECONDS, Interface, Usage
from sparsam.agent.server.text import Sample, family
from sparsam.agent.server.usage import FileSystem, Snapshot

Obj = dict[str, Any]
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


def summary(
    node_name: str,
    pods: Iterable[Obj],
    older: Snapshot,
    newer: Snapshot,
    *,
    started: str,
    disks: Mapping[str, PodDisk] | None = None,
) -> Obj:
    """`/stats/summary`; `started` says since when the node runs. Pods that are through are left out."""
    moment = _stamp(newer.time_nanoseconds)
    node: Obj = {
        "nodeName": node_name,
        "startTime": started,
        "cpu": _cpu(newer.node, older.node),
        "memory": {
            **_memory(newer.node),
            "availableBytes": max(0, newer.memory_bytes - newer.node.memory_working_set_bytes),
        },
        "fs": _whole(newer.file_system, moment),
        "runtime": {
            "imageFs": _part(newer.file_system, moment, newer.images_bytes, newer.images_inodes),
            "containerFs": _part(newer.file_system, moment, _layers(newer), _layer_inodes(newer)),
        },
        "rlimit": {"time": moment, "maxpid": newer.processes.limit, "curproc": newer.processes.running},
        "systemContainers": list(_system(older, newer, started)),
    }
    if newer.swap_bytes:
        node["swap"] = {
            "time": moment,
            "swapAvailableBytes": newer.swap_free_bytes,
            "swapUsageBytes": newer.swap_bytes - newer.swap_free_bytes,
        }
    if newer.interfaces:
        node["network"] = _network(newer.interfaces, moment)
    live = [pod for pod in pods if not is_terminal(pod)]
    return {"node": node, "pods": [_pod(pod, older, newer, (disks or {}).get(pod["metadata"]["uid"])) for pod in live]}


def _system(older: Snapshot, newer: Snapshot, started: str) -> Iterator[Obj]:
    if newer.agent is not None:
        own = {"cpu": _cpu(newer.agent, older.agent), "memory": _memory(newer.agent)}
        yield {"name": "kubelet", "startTime": started, **own}
    uses = list(newer.pods.values())
    if uses:
        total = Usage(
            time_nanoseconds=newer.time_nanoseconds,
            cpu_nanoseconds=sum(each.cpu_nanoseconds for each in uses),
            memory_usage_bytes=sum(each.memory_usage_bytes for each in uses),
            memory_working_set_bytes=sum(each.memory_working_set_bytes for each in uses),
            memory_rss_bytes=sum(each.memory_rss_bytes for each in uses),
        )
        yield {"name": "pods", "startTime": started, "cpu": _cpu(total, None), "memory": _memory(total)}


def _pod(pod: Obj, older: Snapshot, newer: Snapshot, disk: PodDisk | None) -> Obj:
    metadata = pod["metadata"]
    uid, moment = metadata["uid"], _stamp(newer.time_nanoseconds)
    containers = list(_containers_of(uid, newer))
    result: Obj = {
        "podRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": uid},
        "startTime": (pod.get("status") or {}).get("startTime") or metadata.get("creationTimestamp"),
        "containers": [_container(pod, name, usage, (older, newer), disk) for name, usage in containers],
    }
    usage = newer.pods.get(uid)
    if usage is not None:
        result["cpu"], result["memory"] = _cpu(usage, older.pods.get(uid)), _memory(usage)
        result["process_stats"] = {"process_count": usage.processes}
    interfaces = newer.pod_interfaces.get(uid)
    if interfaces:
        result["network"] = _network(interfaces, moment)
    if disk is not None:
        result["volume"] = [_volume(name, use, metadata["namespace"], moment) for name, use in disk.volumes.items()]
        logs = sum(each.bytes for each in disk.logs.values())
        layers = sum(each.layer_bytes or 0 for _, each in containers)
        inodes = sum(each.inodes for each in disk.logs.values()) + sum(each.layer_inodes for _, each in containers)
        result["ephemeral-storage"] = _part(newer.file_system, moment, disk.files + logs + layers, inodes)
    return result


def _container(pod: Obj, name: str, usage: Usage, looks: tuple[Snapshot, Snapshot], disk: PodDisk | None) -> Obj:
    older, newer = looks
    before, moment = older.containers.get((pod["metadata"]["uid"], name)), _stamp(usage.time_nanoseconds)
    result: Obj = {"name": name, "startTime": _started(pod, name), "cpu": _cpu(usage, before), "memory": _memory(usage)}
    if usage.layer_bytes is not None:
        result["rootfs"] = _part(newer.file_system, moment, usage.layer_bytes, usage.layer_inodes)
    if disk is not None and name in disk.logs:
        result["logs"] = _part(newer.file_system, moment, disk.logs[name].bytes, disk.logs[name].inodes)
    return result


def _layers(snapshot: Snapshot) -> int:
    return sum(each.layer_bytes or 0 for each in snapshot.containers.values())


def _layer_inodes(snapshot: Snapshot) -> int:
    return sum(each.layer_inodes for each in snapshot.containers.values())


def _whole(room: FileSystem, moment: str) -> Obj:
    return _part(room, moment, room.capacity_bytes - room.available_bytes, room.inodes - room.inodes_free)


def _part(room: FileSystem, moment: str, used_bytes: int, inodes_used: int) -> Obj:
    """Somebody's use of the node's file system."""
    return {
        "time": moment,
        "availableBytes": room.available_bytes,
        "capacityBytes": room.capacity_bytes,
        "usedBytes": used_bytes,
        "inodes": room.inodes,
        "inodesFree": room.inodes_free,
        "inodesUsed": inodes_used,
    }


def _volume(name: str, use: VolumeUse, namespace: str, moment: str) -> Obj:
    result: Obj = {
        "name": name,
        "time": moment,
        "availableBytes": use.available_bytes,
        "capacityBytes": use.capacity_bytes,
        "usedBytes": use.used_bytes,
        "inodes": use.inodes,
        "inodesFree": use.inodes_free,
        "inodesUsed": use.inodes_used,
    }
    return {**result, "pvcRef": {"name": use.claim, "namespace": namespace}} if use.claim else result


def _network(interfaces: Iterable[Interface], moment: str) -> Obj:
    """All interfaces, and in front the one that counts: eth0, or else the first."""
    entries = [
        {
            "name": each.name,
            "rxBytes": each.rx_bytes,
            "rxErrors": each.rx_errors,
            "txBytes": each.tx_bytes,
            "txErrors": each.tx_errors,
        }
        for each in interfaces
    ]
    first = next((entry for entry in entries if entry["name"] == "eth0"), entries[0])
    return {"time": moment, **first, "interfaces": entries}


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
    if before is None or usage.time_nanoseconds <= before.time_nanoseconds or usage.run_id != before.run_id:
        return None
    if usage.cpu_nanoseconds < before.cpu_nanoseconds:
        return None
    elapsed = usage.time_nanoseconds - before.time_nanoseconds
    return (usage.cpu_nanoseconds - before.cpu_nanoseconds) * NANOSECONDS // elapsed


def _memory(usage: Usage) -> Obj:
    return {
        "time": _stamp(usage.time_nanoseconds),
        "usageBytes": usage.memory_usage_bytes,
        "workingSetBytes": usage.memory_working_set_bytes,
        "rssBytes": usage.memory_rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
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
    return datetime.fromtimestamp(nanoseconds // NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resource_metrics(pods: Iterable[Obj], snapshot: Snapshot) -> str:
    """`/metrics/resource` in Prometheus' text format."""
    samples: dict[str, list[Sample]] = {name: [] for name in _METRICS}

    def add(kind: str, labels: dict[str, str], usage: Usage) -> None:
        moment = usage.time_nanoseconds // 1_000_000
        cpu_seconds = usage.cpu_nanoseconds / NANOSECONDS
        samples[f"{kind}_cpu_usage_seconds_total"].append(Sample(labels, cpu_seconds, moment))
        samples[f"{kind}_memory_working_set_bytes"].append(Sample(labels, usage.memory_working_set_bytes, moment))

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
                samples["container_start_time_seconds"].append(Sample({"container": name, **labels}, seconds))
    failed = Sample({}, 0 if snapshot.complete else 1)
    samples["resource_scrape_error"] = samples["scrape_error"] = [failed]
    return "".join(family(name, kind, f"[STABLE] {text}", samples[name]) for name, (kind, text) in _METRICS.items())
