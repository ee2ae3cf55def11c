"""What the agent tells of itself: its metrics, its settings, and which pods the engine runs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsam.agent.config import AgentConfig
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.node_object import KUBELET_VERSION
from sparsam.agent.registry import ProbeCount
from sparsam.agent.runtime import Container
from sparsam.agent.server.access import ALLOWED_SECONDS, DENIED_SECONDS, TOKEN_SECONDS
from sparsam.agent.server.disks import PodDisk
from sparsam.agent.server.text import Sample, family
from sparsam.clock import go_duration

Obj = dict[str, Any]

_VOLUME_FAMILIES = {
    "kubelet_volume_stats_available_bytes": "Number of available bytes in the volume",
    "kubelet_volume_stats_capacity_bytes": "Capacity in bytes of the volume",
    "kubelet_volume_stats_inodes": "Maximum number of inodes in the volume",
    "kubelet_volume_stats_inodes_free": "Number of free inodes in the volume",
    "kubelet_volume_stats_inodes_used": "Number of used inodes in the volume",
    "kubelet_volume_stats_used_bytes": "Number of used bytes in the volume",
}


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """The agent at a moment."""

    node_name: str
    running_pods: int
    containers: Iterable[Container]
    cpu_seconds: float
    resident_bytes: int
    started_seconds: float
    disks: Mapping[str, PodDisk] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Of pods, by uid."""


def kubelet_metrics(facts: OwnFacts) -> str:
    """The kubelet's own series that are cheap to have, in Prometheus' text format."""
    states = Counter(container.state.value for container in facts.containers)
    text = family("kubelet_node_name", "gauge", "The node's name. The count is always 1.", [_one(node=facts.node_name)])
    text += family(
        "kubelet_running_pods",
        "gauge",
        "Number of pods that have a running pod sandbox",
        [Sample({}, facts.running_pods)],
    )
    text += family(
        "kubelet_running_containers",
        "gauge",
        "Number of containers by state",
        [Sample({"container_state": state}, count) for state, count in sorted(states.items())],
    )
    text += family(
        "kubernetes_build_info", "gauge", "Constant 1, labelled by version.", [_one(git_version=KUBELET_VERSION)]
    )
    volumes: dict[str, list[Sample]] = {name: [] for name in _VOLUME_FAMILIES}
    for name, sample in _volumes(facts):
        volumes[name].append(sample)
    text += "".join(family(name, "gauge", _VOLUME_FAMILIES[name], found) for name, found in volumes.items())
    for name, kind, words, value in (
        ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", facts.cpu_seconds),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", facts.resident_bytes),
        ("process_start_time_seconds", "gauge", "Start time of the process since unix epoch.", facts.started_seconds),
    ):
        text += family(name, kind, words, [Sample({}, value)])
    return text


def _one(**labels: str) -> Sample:
    return Sample(labels, 1)


def _volumes(facts: OwnFacts) -> Iterator[tuple[str, Sample]]:
    seen: dict[tuple[str, str], VolumeUse] = {}
    for uid, disk in facts.disks.items():
        for use in disk.volumes.values():
            if use.claim and uid in facts.namespaces:
                seen[facts.namespaces[uid], use.claim] = use
    for (namespace, claim), use in sorted(seen.items()):
        labels = {"namespace": namespace, "persistentvolumeclaim": claim}
        values = (
            use.available_bytes,
            use.capacity_bytes,
            use.inodes,
            use.inodes_free,
            use.inodes_used,
            use.used_bytes,
        )
        yield from ((name, Sample(labels, value)) for name, value in zip(_VOLUME_FAMILIES, values, strict=True))


def probe_metrics(counts: Iterable[ProbeCount]) -> str:
    """`/metrics/probes`."""
    samples = [
        Sample(
            {
                "container": each.container,
                "namespace": each.namespace,
                "pod": each.pod,
                "pod_uid": each.uid,
                "probe_type": each.kind.capitalize(),
                "result": each.result,
            },
            each.count,
        )
        for each in counts
    ]
    words = "Cumulative number of a liveness, readiness or startup probe for a container by result."
    return family("prober_probe_total", "counter", words, samples)


def running_pods(pods: Iterable[tuple[Obj, Iterable[Container]]]) -> Obj:
    """`/runningpods/`: what the engine runs, with no more than it knows."""
    items = []
    for pod, containers in pods:
        runs = [{"name": each.name, "image": each.image, "resources": {}} for each in containers if each.running]
        metadata = {name: pod["metadata"][name] for name in ("name", "namespace", "uid")}
        if runs:
            items.append(
                {"metadata": {**metadata, "creationTimestamp": None}, "spec": {"containers": runs}, "status": {}}
            )
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def settings(config: AgentConfig) -> Obj:
    """`/configz`: the settings in upstream's names, as far as we have them."""
    floors = config.floors
    found: Obj = {
        "address": config.node_ip,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": go_duration(TOKEN_SECONDS)},
            "x509": {"clientCAFile": str(config.ca or "")},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {
                "cacheAuthorizedTTL": go_duration(ALLOWED_SECONDS),
                "cacheUnauthorizedTTL": go_duration(DENIED_SECONDS),
            },
        },
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [config.cluster_dns],
        "clusterDomain": config.cluster_domain,
        "containerLogMaxFiles": config.log_max_files,
        "containerLogMaxSize": f"{config.log_max_bytes >> 20}Mi",
        "evictionHard": {
            "memory.available": f"{floors.memory_bytes >> 20}Mi",
            "nodefs.available": f"{floors.disk_ratio:.0%}",
            "pid.available": f"{floors.pids_ratio:.0%}",
        },
        "evictionPressureTransitionPeriod": "5m0s",
        "fileCheckFrequency": "1s",
        "kubeReserved": {
            "cpu": f"{config.reserved_cpu_millicores}m",
            "memory": f"{config.reserved_memory_bytes >> 20}Mi",
        },
        "maxPods": config.max_pods,
        "nodeLeaseDurationSeconds": config.lease_seconds,
        "nodeStatusReportFrequency": go_duration(config.status_seconds),
        "nodeStatusUpdateFrequency": "10s",
        "podCIDR": config.pod_cidrs[0],
        "port": config.port,
        "syncFrequency": go_duration(config.refresh_seconds),
        "tlsCertFile": str(config.serving_cert or ""),
        "tlsPrivateKeyFile": str(config.serving_key or ""),
    }
    if config.static_pods is not None:
        found["staticPodPath"] = str(config.static_pods)
    return {"kubeletconfig": found}
