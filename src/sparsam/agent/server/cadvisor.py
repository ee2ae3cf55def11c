"""`/metrics/cadvisor`: the series that dashboards and rules written for cAdvisor ask for, with its labels. Pure.

Containers carry their names; a pod's own group, its sandbox's network and the node (`id="/"`) have empty ones, as
everybody's queries expect. What cAdvisor offers beyond these is left out, not faked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sparsam.agent.machine import Machine
from sparsam.agent.podspec import container_spec, reported_status
from sparsam.agent.resources import qos_class, quota, shares
from sparsam.agent.server.groups import NANOSECONDS, Interface, Usage
from sparsam.agent.server.text import Sample, family
from sparsam.agent.server.usage import Snapshot
from sparsam.units import parse_bytes, parse_millicores

Obj = dict[str, Any]
Labels = dict[str, str]

_CPU_PERIOD_MICROSECONDS = 100_000
_FAMILIES = {
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed in seconds."),
    "container_cpu_user_seconds_total": ("counter", "Cumulative user cpu time consumed in seconds."),
    "container_cpu_system_seconds_total": ("counter", "Cumulative system cpu time consumed in seconds."),
    "container_cpu_cfs_periods_total": ("counter", "Number of elapsed enforcement period intervals."),
    "container_cpu_cfs_throttled_periods_total": ("counter", "Number of throttled period intervals."),
    "container_cpu_cfs_throttled_seconds_total": ("counter", "Total time duration the container has been throttled."),
    "container_memory_usage_bytes": ("gauge", "Current memory usage in bytes, including all memory."),
    "container_memory_working_set_bytes": ("gauge", "Current working set in bytes."),
    "container_memory_rss": ("gauge", "Size of RSS in bytes."),
    "container_memory_cache": ("gauge", "Number of bytes of page cache memory."),
    "container_memory_max_usage_bytes": ("gauge", "Maximum memory usage recorded in bytes."),
    "container_memory_failures_total": ("counter", "Cumulative count of memory allocation failures."),
    "container_fs_usage_bytes": ("gauge", "Number of bytes that are consumed by the container on this filesystem."),
    "container_fs_inodes_total": ("gauge", "Number of inodes of the filesystem."),
    "container_fs_inodes_free": ("gauge", "Number of available inodes of the filesystem."),
    "container_fs_limit_bytes": ("gauge", "Number of bytes that can be consumed on this filesystem."),
    "container_network_receive_bytes_total": ("counter", "Cumulative count of bytes received."),
    "container_network_receive_packets_total": ("counter", "Cumulative count of packets received."),
    "container_network_receive_errors_total": ("counter", "Cumulative count of errors while receiving."),
    "container_network_receive_packets_dropped_total": ("counter", "Cumulative count of packets dropped receiving."),
    "container_network_transmit_bytes_total": ("counter", "Cumulative count of bytes transmitted."),
    "container_network_transmit_packets_total": ("counter", "Cumulative count of packets transmitted."),
    "container_network_transmit_errors_total": ("counter", "Cumulative count of errors while transmitting."),
    "container_network_transmit_packets_dropped_total": ("counter", "Cumulative count of packets dropped sending."),
    "container_processes": ("gauge", "Number of processes and threads in the group."),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds."),
    "container_last_seen": ("gauge", "Last time a container was seen."),
    "container_spec_cpu_period": ("gauge", "CPU period of the container."),
    "container_spec_cpu_quota": ("gauge", "CPU quota of the container."),
    "container_spec_cpu_shares": ("gauge", "CPU share of the container."),
    "container_spec_memory_limit_bytes": ("gauge", "Memory limit for the container."),
    "container_scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise."),
    "machine_cpu_cores": ("gauge", "Number of logical CPU cores."),
    "machine_memory_bytes": ("gauge", "Amount of memory installed on the machine."),
    "machine_scrape_error": ("gauge", "1 if there was an error while getting machine metrics, 0 otherwise."),
}


def cadvisor_metrics(pods: Iterable[Obj], snapshot: Snapshot, machine: Machine) -> str:
    """Everything in Prometheus' text format."""
    samples: dict[str, list[Sample]] = {name: [] for name in _FAMILIES}
    for name, sample in _all(pods, snapshot, machine):
        samples[name].append(sample)
    return "".join(family(name, *_FAMILIES[name], found) for name, found in samples.items())


def _all(pods: Iterable[Obj], snapshot: Snapshot, machine: Machine) -> Iterator[tuple[str, Sample]]:
    yield from _node(snapshot, machine)
    for pod in pods:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        where = {"namespace": metadata["namespace"], "pod": metadata["name"]}
        path = snapshot.pod_paths.get(uid, "")
        if uid in snapshot.pods:
            group = _labels("", path, "", "", where)
            yield from _use(group, snapshot.pods[uid])
            sandbox = snapshot.sandboxes.get(uid, "")
            moment = snapshot.time_nanoseconds // 1_000_000
            outer = _labels("", f"{path}/{sandbox}" if sandbox else path, "", sandbox, where)
            yield from _network(outer, snapshot.pod_interfaces.get(uid) or (), moment)
        for (owner, name), usage in sorted(snapshot.containers.items()):
            if owner == uid:
                yield from _container(pod, name, usage, path, where)


def _node(snapshot: Snapshot, machine: Machine) -> Iterator[tuple[str, Sample]]:
    moment = snapshot.time_nanoseconds // 1_000_000
    identity = {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}
    yield "machine_cpu_cores", Sample(identity, machine.cpus)
    yield "machine_memory_bytes", Sample(identity, machine.memory_bytes)
    yield "machine_scrape_error", Sample({}, 0)
    yield "container_scrape_error", Sample({}, 0 if snapshot.complete else 1)
    root = _labels("", "/", "", "", {"namespace": "", "pod": ""})
    yield from _use(root, snapshot.node)
    yield from _network(root, snapshot.interfaces, moment)
    room, device = snapshot.file_system, {**root, "device": "root"}
    yield "container_fs_usage_bytes", Sample(device, room.capacity_bytes - room.available_bytes, moment)
    yield "container_fs_limit_bytes", Sample(device, room.capacity_bytes, moment)
    yield "container_fs_inodes_total", Sample(device, room.inodes, moment)
    yield "container_fs_inodes_free", Sample(device, room.inodes_free, moment)


def _container(pod: Obj, name: str, usage: Usage, path: str, where: Mapping[str, str]) -> Iterator[tuple[str, Sample]]:
    spec, status = container_spec(pod, name) or {}, reported_status(pod, name) or {}
    image = status.get("image") or spec.get("image") or ""
    labels = _labels(name, f"{path}/{usage.run_id}", image, usage.run_id, where)
    moment = usage.time_nanoseconds // 1_000_000
    yield from _use(labels, usage)
    if usage.layer_bytes is not None:
        yield "container_fs_usage_bytes", Sample({**labels, "device": ""}, usage.layer_bytes, moment)
    started = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    if started:
        yield "container_start_time_seconds", Sample(labels, datetime.fromisoformat(started).timestamp(), moment)
    yield "container_last_seen", Sample(labels, usage.time_nanoseconds // NANOSECONDS, moment)
    yield from ((each, Sample(labels, value, moment)) for each, value in _spec(pod, spec))


def _spec(pod: Obj, spec: Obj) -> Iterator[tuple[str, float]]:
    resources = spec.get("resources") or {}
    limits = resources.get("limits") or {}
    requests = {**limits, **(resources.get("requests") or {})}
    yield "container_spec_cpu_period", _CPU_PERIOD_MICROSECONDS
    if limits.get("cpu"):
        yield "container_spec_cpu_quota", quota(parse_millicores(limits["cpu"]))
    best_effort = qos_class(pod) == "BestEffort"
    wanted = 0 if best_effort or not requests.get("cpu") else parse_millicores(requests["cpu"])
    yield "container_spec_cpu_shares", shares(wanted)
    yield "container_spec_memory_limit_bytes", parse_bytes(limits["memory"]) if limits.get("memory") else 0


def _use(labels: Labels, usage: Usage) -> Iterator[tuple[str, Sample]]:
    moment = usage.time_nanoseconds // 1_000_000

    def sample(value: float, **more: str) -> Sample:
        return Sample({**labels, **more}, value, moment)

    yield "container_cpu_usage_seconds_total", sample(usage.cpu_nanoseconds / NANOSECONDS, cpu="total")
    yield "container_cpu_user_seconds_total", sample(usage.cpu_user_nanoseconds / NANOSECONDS)
    yield "container_cpu_system_seconds_total", sample(usage.cpu_system_nanoseconds / NANOSECONDS)
    if usage.periods:
        yield "container_cpu_cfs_periods_total", sample(usage.periods)
        yield "container_cpu_cfs_throttled_periods_total", sample(usage.throttled_periods)
        yield "container_cpu_cfs_throttled_seconds_total", sample(usage.throttled_nanoseconds / NANOSECONDS)
    yield "container_memory_usage_bytes", sample(usage.memory_usage_bytes)
    yield "container_memory_working_set_bytes", sample(usage.memory_working_set_bytes)
    yield "container_memory_rss", sample(usage.memory_rss_bytes)
    yield "container_memory_cache", sample(usage.memory_cache_bytes)
    if usage.memory_peak_bytes:
        yield "container_memory_max_usage_bytes", sample(usage.memory_peak_bytes)
    for kind, count in (("pgfault", usage.page_faults), ("pgmajfault", usage.major_page_faults)):
        yield "container_memory_failures_total", sample(count, failure_type=kind, scope="hierarchy")
    if usage.processes:
        yield "container_processes", sample(usage.processes)


def _network(labels: Labels, interfaces: Iterable[Interface], moment: int) -> Iterator[tuple[str, Sample]]:
    for each in interfaces:
        own = {**labels, "interface": each.name}
        for way, counts in (
            ("receive", (each.rx_bytes, each.rx_packets, each.rx_errors, each.rx_dropped)),
            ("transmit", (each.tx_bytes, each.tx_packets, each.tx_errors, each.tx_dropped)),
        ):
            for what, count in zip(("bytes", "packets", "errors", "packets_dropped"), counts, strict=True):
                yield f"container_network_{way}_{what}_total", Sample(own, count, moment)


def _labels(container: str, path: str, image: str, name: str, where: Mapping[str, str]) -> Labels:
    return {"container": container, "id": path, "image": image, "name": name, **where}
