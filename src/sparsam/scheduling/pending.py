"""Which pods wait for a node, in which order, and what about them is not supported yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Obj = Mapping[str, Any]

SCHEDULER_NAMES = ("default-scheduler", "sparsam")
_VOLUMES_THAT_BIND = ("persistentVolumeClaim", "ephemeral")


def is_pending(pod: Obj) -> bool:
    """Whether the pod is ours to place: no node yet, not ended, not leaving, not gated, our scheduler's name."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", SCHEDULER_NAMES[0]) in SCHEDULER_NAMES
        and "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase", "Pending") == "Pending"
    )


def queue_order(pod: Obj) -> tuple[int, str, str]:
    """Sort key: higher priority first, then older, then by name."""
    metadata = pod["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}"
    return (-pod["spec"].get("priority", 0), metadata.get("creationTimestamp", ""), name)


def unsupported(pod: Obj) -> str | None:
    """The hard constraint of this pod that cannot be honoured yet, in words; None when there is none.

    Placing such a pod as if the constraint were not there would break what the user relies on.
    """
    spec = pod["spec"]
    affinity = spec.get("affinity") or {}
    for kind, words in (("podAffinity", "pod affinity"), ("podAntiAffinity", "pod anti-affinity")):
        if (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
            return f"required {words}"
    spread = spec.get("topologySpreadConstraints") or ()
    if any(constraint.get("whenUnsatisfiable") == "DoNotSchedule" for constraint in spread):
        return "topology spread constraints with DoNotSchedule"
    for volume in spec.get("volumes") or ():
        for kind in _VOLUMES_THAT_BIND:
            if kind in volume:
                return f"{kind} volumes"
    if spec.get("resourceClaims"):
        return "resource claims"
    return None
