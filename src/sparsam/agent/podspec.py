"""Small readings of a pod's spec that several parts of the agent share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

Obj = dict[str, Any]

_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def key_of(pod: Obj) -> str:
    """`name_namespace(uid)`, as upstream's messages name a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def init_containers(pod: Obj) -> list[Obj]:
    """Init containers in order, restartable ones among them."""
    return pod["spec"].get("initContainers") or []


def main_containers(pod: Obj) -> list[Obj]:
    """The containers proper."""
    return pod["spec"].get("containers") or []


def all_containers(pod: Obj) -> Iterator[Obj]:
    """Init containers, then containers."""
    yield from init_containers(pod)
    yield from main_containers(pod)


def ephemeral_containers(pod: Obj) -> list[Obj]:
    """Containers that were added to a running pod, to look into it."""
    return pod["spec"].get("ephemeralContainers") or []


def container_spec(pod: Obj, name: str) -> Obj | None:
    """The named container's spec, of whatever kind."""
    return next((spec for spec in (*all_containers(pod), *ephemeral_containers(pod)) if spec["name"] == name), None)


def effective(pod: Obj, spec: Obj, field: str) -> Any:
    """A field of the security context: the container's own, else the pod's."""
    own = (spec.get("securityContext") or {}).get(field)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(field)


def is_sidecar(spec: Obj) -> bool:
    """Whether an init container keeps running beside the main ones."""
    return spec.get("restartPolicy") == "Always"


def restart_policy(pod: Obj) -> str:
    """Always, OnFailure or Never."""
    return pod["spec"].get("restartPolicy") or "Always"


def uses_host_network(pod: Obj) -> bool:
    """Whether the pod lives in the node's network namespace."""
    return bool(pod["spec"].get("hostNetwork"))


def is_terminal(pod: Obj) -> bool:
    """Whether the pod was reported as through; nothing of it ever starts again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def reported_status(pod: Obj, name: str) -> Obj | None:
    """The status last reported of a container."""
    status = pod.get("status") or {}
    entries = (entry for field in _STATUSES for entry in status.get(field) or ())
    return next((entry for entry in entries if entry["name"] == name), None)


def spec_hash(spec: Obj) -> str:
    """Changes when a container must be started anew because its spec changed: only name and image may."""
    return hashlib.sha256(msgspec.json.encode([spec["name"], spec["image"]])).hexdigest()[:16]


def grace_seconds(pod: Obj) -> int:
    """How long a pod may take to end: what the deletion asked for, else its own wish."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if asked is None else int(asked)
