"""Changes of a pod through /ephemeralcontainers and /resize: what each may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, quote
from sparsam.objects.strategies.differences import describe
from sparsam.objects.strategies.pod import qos_class, validate_whole
from sparsam.objects.strategy import Obj

_MIRROR = "kubernetes.io/config.mirror"
_RESIZABLE = ("cpu", "memory")


def validate_ephemeral_containers(pod: Obj, old: Obj) -> list[Cause]:
    """Causes for a change through /ephemeralcontainers: containers may be added, nothing else."""
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods do not support ephemeral containers")]
    causes = validate_whole(pod)
    path = "spec.ephemeralContainers"
    known = {container.get("name"): container for container in pod["spec"].get("ephemeralContainers") or []}
    for container in old["spec"].get("ephemeralContainers") or []:
        name = container.get("name", "")
        if name not in known:
            causes.append(forbidden(path, f"existing ephemeral containers {quote(name)} may not be removed\n"))
        elif known[name] != container:
            detail = (
                f"existing ephemeral containers {quote(name)} may not be changed\n{describe(container, known[name])}"
            )
            causes.append(forbidden(path, detail))
    return causes


def validate_resize(pod: Obj, old: Obj) -> list[Cause]:
    """Causes for a change through /resize: CPU and memory of containers may change, within the pod's QoS class."""
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods cannot be resized")]
    if ((old["spec"].get("os") or {}).get("name")) == "windows":
        return [forbidden("", "windows pods cannot be resized")]
    causes = validate_whole(pod)
    spec, old_spec = pod["spec"], old["spec"]
    if qos_class(spec) != qos_class(old_spec):
        status = (pod.get("status") or {}).get("qosClass", "")
        causes.append(invalid("spec", status, "Pod QOS Class may not change as a result of resizing"))
    pairs = list(zip(spec.get("containers") or [], old_spec.get("containers") or [], strict=False))
    for position, (container, before) in enumerate(pairs):
        causes += _resized(container, before, f"spec.containers[{position}].resources")
    for container, before in pairs:
        if _settled(container) != _settled(before):
            causes.append(forbidden("spec", "only cpu and memory resources are mutable"))
    return causes


def _resized(container: Obj, before: Obj, path: str) -> list[Cause]:
    mine, theirs = container.get("resources") or {}, before.get("resources") or {}
    return [
        forbidden(f"{path}.{field}", f"resource {field} cannot be removed")
        for field in ("requests", "limits")
        if set(theirs.get(field) or {}) - set(mine.get(field) or {})
    ]


def _settled(container: Mapping[str, Any]) -> Obj:
    wanted = container.get("resources") or {}
    rest = {
        field: {name: value for name, value in (wanted.get(field) or {}).items() if name not in _RESIZABLE}
        for field in ("limits", "requests")
    }
    return {**container, "resources": rest}
