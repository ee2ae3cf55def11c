"""What a hollow node writes: its Node, Lease and NodePower, and the status of pods that run in name only. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.hollow.node import HollowNode, State
from sparsam.scheduling.demand import effective_requests
from sparsam.units import parse_millicores

Obj = dict[str, Any]

LABEL = "sparsam.dev/hollow"
RUN_ANNOTATION = "sparsam.dev/run-seconds"
WORK_ANNOTATION = "sparsam.dev/work-seconds"
USAGE_ANNOTATION = "sparsam.dev/cpu-usage"
_POD_ANNOTATIONS = (RUN_ANNOTATION, WORK_ANNOTATION, USAGE_ANNOTATION)
ENDED = ("Succeeded", "Failed")
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40

_NODE_ADDRESSES = ipaddress.IPv4Network("100.64.0.0/10")
_POD_ADDRESSES = ipaddress.IPv4Network("172.16.0.0/12")
"""Nobody answers there: a hollow node has no network."""
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def node_object(node: Mapping[str, Any], fleet: str, number: int, moment: datetime) -> Obj:
    """The Node to register: what the fleet says of it, and what any node has."""
    name, metadata, capacity = node["metadata"]["name"], node["metadata"], node["status"]["capacity"]
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    address = address_of_node(number)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**labels, **(metadata.get("labels") or {}), LABEL: fleet},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "spec": dict(node.get("spec") or {}),
        "status": {
            "capacity": capacity,
            "allocatable": node["status"].get("allocatable") or capacity,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "hollow://1",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.37.0+sparsam",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "hollow",
                "systemUUID": "",
            },
            "conditions": node_conditions(State.AWAKE, moment),
        },
    }


def node_conditions(state: State, moment: datetime) -> list[Obj]:
    """Ready while awake."""
    words = ("True", "KubeletReady", "kubelet is posting ready status")
    if state is not State.AWAKE:
        words = ("False", f"Node{state}", f"the hollow node is {state}")
    time = format_time(moment)
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": time,
            "lastTransitionTime": time,
        }
        for kind, status, reason, message in (*_CONDITIONS, ("Ready", *words))
    ]


def lease_object(name: str, uid: str, renew_time: str) -> Obj:
    """A node's heartbeat."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renew_time},
    }


def power_status(node: HollowNode, now: float, moment: datetime) -> Obj:
    """`status` of the node's NodePower: modelled, so estimated."""
    pods = node.pod_watts()
    of_pods = sum(pods.values())
    return {
        "time": format_time(moment),
        "state": str(node.state),
        "watts": round(node.watts, 3),
        "idleWatts": round(node.watts - of_pods, 3),
        "podWatts": round(of_pods, 3),
        "systemWatts": 0.0,
        "unattributedWatts": 0.0,
        "joules": round(node.joules(now), 1),
        "utilization": round(node.utilization, 4),
        "source": "hollow",
        "covers": "wall",
        "provenance": "estimated",
        "note": "modelled: nothing runs on this node but in name",
        "pods": [
            {
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": uid,
                "watts": round(pods[uid], 3),
                "cpuCores": round(pod.millicores / 1000.0, 4),
            }
            for uid, pod in node.running.items()
        ],
    }


def slim_node(node: Obj) -> Obj:
    """What a hollow node must remember of its Node."""
    metadata = node["metadata"]
    kept = {name: metadata[name] for name in ("name", "uid", "resourceVersion")}
    return {"metadata": {**kept, "annotations": metadata.get("annotations") or {}}}


def slim_pod(pod: Obj) -> Obj:
    """What a hollow node must remember of a pod: the rest may be large and is of no use here."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    known = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    annotations = metadata.get("annotations") or {}
    kept = {name: metadata[name] for name in known if name in metadata}
    kept["annotations"] = {name: annotations[name] for name in _POD_ANNOTATIONS if name in annotations}
    slim = {name: spec[name] for name in ("nodeName", "restartPolicy", "activeDeadlineSeconds") if name in spec}
    slim["containers"] = [
        {name: each[name] for name in ("name", "image", "command", "args") if name in each}
        for each in spec["containers"]
    ]
    return {
        "metadata": kept,
        "spec": slim,
        "status": {name: status[name] for name in ("phase", "startTime") if name in status},
        "millicores": _used_millicores(annotations, spec),
    }


def _used_millicores(annotations: Mapping[str, str], spec: Obj) -> float:
    try:
        return float(parse_millicores(annotations[USAGE_ANNOTATION]))
    except (KeyError, ValueError):
        return float(effective_requests(spec).get("cpu", 0))


def started_status(pod: Obj, node_address: str, pod_address: str, moment: datetime) -> Obj:
    """The status of a pod whose containers have just been started."""
    time = format_time(moment)
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    return {
        "phase": "Running",
        "startTime": time,
        "hostIP": node_address,
        "hostIPs": [{"ip": node_address}],
        "podIP": pod_address,
        "podIPs": [{"ip": pod_address}],
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": time} for kind in conditions],
        "containerStatuses": [
            _container(pod, each, {"running": {"startedAt": time}}) for each in pod["spec"]["containers"]
        ],
    }


def ended_status(pod: Obj, moment: datetime) -> Obj:
    """The status of a pod that has run its time."""
    late = _ends_after(pod, 1.0)[1]
    time, started = format_time(moment), pod["status"].get("startTime") or format_time(moment)
    exit_code, reason = (137, "Error") if late else (0, "Completed")
    ended = {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": time}
    status: Obj = {
        "phase": "Failed" if late else "Succeeded",
        "conditions": [
            {
                "type": kind,
                "status": "False",
                "reason": "PodFailed" if late else "PodCompleted",
                "lastTransitionTime": time,
            }
            for kind in ("Ready", "ContainersReady")
        ],
        "containerStatuses": [_container(pod, each, {"terminated": ended}) for each in pod["spec"]["containers"]],
    }
    if late:
        status |= {
            "reason": "DeadlineExceeded",
            "message": "Pod was active on the node longer than the specified deadline",
        }
    return status


def _container(pod: Obj, container: Obj, state: Obj) -> Obj:
    name, image, runs = container["name"], container["image"], "running" in state
    return {
        "name": name,
        "image": image,
        "imageID": f"hollow://{image}",
        "containerID": f"hollow://{pod['metadata']['uid']}/{name}",
        "ready": runs,
        "started": runs,
        "restartCount": 0,
        "lastState": {},
        "state": state,
    }


def ends_at(pod: Obj, speed: float) -> datetime | None:
    """When a running pod ends of itself; None for never. Work on a faster core ends sooner."""
    seconds, _ = _ends_after(pod, speed)
    if not math.isfinite(seconds) or "startTime" not in pod["status"]:
        return None
    try:
        return parse_time(pod["status"]["startTime"]) + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _ends_after(pod: Obj, speed: float) -> tuple[float, bool]:
    """Seconds that the pod runs, and whether its deadline ends it."""
    annotations, spec = pod["metadata"]["annotations"], pod["spec"]
    seconds = _seconds(annotations.get(RUN_ANNOTATION))
    seconds = min(seconds, _seconds(annotations.get(WORK_ANNOTATION)) / speed)
    if math.isinf(seconds) and spec.get("restartPolicy", "Always") != "Always":
        seconds = max((_sleeps(each) for each in spec["containers"]), default=math.inf)
    deadline = float(spec.get("activeDeadlineSeconds") or math.inf)
    return min(seconds, deadline), deadline < seconds


def _sleeps(container: Obj) -> float:
    """The seconds of `sleep SECONDS`, the one command whose length shows; any other runs for ever."""
    words: Sequence[str] = [*(container.get("command") or ()), *(container.get("args") or ())]
    return _seconds(words[1]) if len(words) == 2 and words[0].rpartition("/")[2] == "sleep" else math.inf


def _seconds(text: str | None) -> float:
    try:
        value = float(text or "inf")
    except ValueError:
        return math.inf
    return value if value >= 0.0 else math.inf


def address_of_node(number: int) -> str:
    """The address of the fleet's node of this number."""
    return str(_NODE_ADDRESSES[number + 1])


def address_of_pod(number: int) -> str:
    """An address for the pod of this number; used anew once all have had their turn."""
    return str(_POD_ADDRESSES[1 + number % (_POD_ADDRESSES.num_addresses - 2)])
