"""The Node object of this machine, as upstream's node agent reports one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sparsam.agent.config import AgentConfig
from sparsam.agent.eviction import DISK, MEMORY, PIDS
from sparsam.agent.images import go_architecture
from sparsam.agent.machine import Machine
from sparsam.agent.podspec import Obj
from sparsam.agent.runtime import Image
from sparsam.objects.localvolumes import ROOT_ANNOTATION
from sparsam.objects.strategies.resources import is_extended

KUBELET_VERSION = "v1.37.0+sparsam"
_MAX_IMAGES = 50
_NODE_LEASE_NAMESPACE = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """The container engine as the node reports it; `fault` is empty when all is well."""

    name: str
    version: str
    fault: str = ""


def node_object(config: AgentConfig) -> Obj:
    """What the node registers with, without its status."""
    architecture = go_architecture()
    labels = {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        **config.labels,
    }
    node: Obj = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels,
            "annotations": {ROOT_ANNOTATION: str(config.volumes_dir), **config.annotations},
        },
        "spec": {"podCIDR": config.pod_cidrs[0], "podCIDRs": list(config.pod_cidrs)},
    }
    if config.taints:
        node["spec"]["taints"] = [
            {"key": taint.key, "effect": taint.effect, **({"value": taint.value} if taint.value else {})}
            for taint in config.taints
        ]
    return node


def node_status(config: AgentConfig, machine: Machine, engine: EngineHealth, images: Iterable[Image]) -> Obj:
    """The status, without its conditions."""
    return {
        "capacity": capacity(config, machine),
        "allocatable": allocatable(config, machine),
        "addresses": [
            *({"type": "InternalIP", "address": ip} for ip in config.node_ips),
            {"type": "Hostname", "address": config.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": {
            "architecture": go_architecture(),
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"{engine.name}://{engine.version}",
            "kernelVersion": machine.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
        },
        "images": [
            {"names": [*image.digests, *image.tags], "sizeBytes": image.size_bytes}
            for image in list(images)[:_MAX_IMAGES]
            if image.digests or image.tags
        ],
    }


def capacity(config: AgentConfig, machine: Machine) -> dict[str, str]:
    """All the machine has."""
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.ephemeral_bytes // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": f"{machine.hugepages_2mi_bytes >> 20}Mi" if machine.hugepages_2mi_bytes else "0",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(config.max_pods),
    }


def allocatable(config: AgentConfig, machine: Machine) -> dict[str, str]:
    """What pods may ask for: a tenth of the disk and the configured reservation stay with the node."""
    total = capacity(config, machine)
    reserved_cpu = min(config.reserved_cpu_millicores, machine.cpus * 500)
    reserved_memory = min(config.reserved_memory_bytes, machine.memory_bytes // 2)
    return {
        **total,
        "cpu": f"{machine.cpus * 1000 - reserved_cpu}m" if reserved_cpu else total["cpu"],
        "ephemeral-storage": str(machine.ephemeral_bytes * 9 // 10),
        "memory": f"{(machine.memory_bytes - reserved_memory) // 1024}Ki",
    }


def with_extended(status: Obj, old: Obj) -> Obj:
    """The status with the resources that others announced in the old one's capacity: pods may ask for all of them."""
    found = {name: amount for name, amount in (old.get("capacity") or {}).items() if is_extended(name)}
    return status | {part: status[part] | found for part in ("capacity", "allocatable")}


def node_conditions(old: Iterable[Obj], pressed: Collection[str], engine: EngineHealth, moment: str) -> list[Obj]:
    """Pressure and readiness; a transition time moves only with its status. `pressed` are conditions that hold."""
    before = {condition["type"]: condition for condition in old}
    memory, disk, pids = (condition in pressed for condition in (MEMORY, DISK, PIDS))
    wanted = (
        ("MemoryPressure", memory, *_words(memory, "InsufficientMemory", "SufficientMemory", "memory available")),
        ("DiskPressure", disk, *_disk_words(disk)),
        ("PIDPressure", pids, *_words(pids, "InsufficientPID", "SufficientPID", "PID available")),
        ("Ready", not engine.fault, *_ready_words(engine.fault)),
    )
    return [
        _condition(kind, (true, reason, message), before.get(kind), moment) for kind, true, reason, message in wanted
    ]


def lease_object(config: AgentConfig, node: Obj, renew_time: str) -> Obj:
    """The node's heartbeat."""
    metadata = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": config.node_name,
            "namespace": _NODE_LEASE_NAMESPACE,
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": config.node_name,
            "leaseDurationSeconds": config.lease_seconds,
            "renewTime": renew_time,
        },
    }


def _condition(kind: str, wanted: tuple[bool, str, str], old: Obj | None, moment: str) -> Obj:
    true, reason, message = wanted
    status = "True" if true else "False"
    since = old.get("lastTransitionTime") if old is not None and old.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": since or moment,
        "reason": reason,
        "message": message,
    }


def _words(pressure: bool, bad: str, good: str, what: str) -> tuple[str, str]:
    if pressure:
        return f"KubeletHas{bad}", f"kubelet has insufficient {what}"
    return f"KubeletHas{good}", f"kubelet has sufficient {what}"


def _disk_words(pressure: bool) -> tuple[str, str]:
    if pressure:
        return "KubeletHasDiskPressure", "kubelet has disk pressure"
    return "KubeletHasNoDiskPressure", "kubelet has no disk pressure"


def _ready_words(fault: str) -> tuple[str, str]:
    return ("KubeletNotReady", fault) if fault else ("KubeletReady", "kubelet is posting ready status")
