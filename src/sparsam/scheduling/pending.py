"""Which pods wait for a node, and what about them is not supported yet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Obj = Mapping[str, Any]

DEFAULT_NAME = "default-scheduler"


def is_pending(pod: Obj, scheduler_names: Collection[str]) -> bool:
    """Whether the pod is ours to place: no node yet, not ended, not leaving, not gated, one of our names."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", DEFAULT_NAME) in scheduler_names
        and "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase", "Pending") == "Pending"
    )


def unsupported(pod: Obj) -> str | None:
    """The hard constraint of this pod that cannot be honoured yet, in words; None when there is none.

    Placing such a pod as if the constraint were not there would break what the user relies on.
    """
    return "resource claims" if pod["spec"].get("resourceClaims") else None
