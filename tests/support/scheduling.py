"""Builders for scheduling tests."""

from typing import Any


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **extra: Any) -> dict[str, Any]:
    """A Node; `extra` may hold labels, taints, annotations, unschedulable and further allocatable resources."""
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "100Gi"}
    allocatable.update(extra.get("resources", {}))
    return {
        "metadata": {"name": name, "labels": extra.get("labels", {}), "annotations": extra.get("annotations", {})},
        "spec": {"taints": extra.get("taints", []), "unschedulable": extra.get("unschedulable", False)},
        "status": {"allocatable": allocatable},
    }


def watts(idle: float, full: float) -> dict[str, str]:
    """Annotations that state a node's power."""
    return {"power.sparsam.dev/idle-watts": str(idle), "power.sparsam.dev/max-watts": str(full)}


def pod(name: str, cpu: str = "", memory: str = "", **extra: Any) -> dict[str, Any]:
    """A Pod with one container; `extra` goes into its spec."""
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container = {"name": "c", "image": "i", "resources": {"requests": {**requests, **extra.pop("requests", {})}}}
    container["ports"] = extra.pop("ports", [])
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container], **extra}}
