"""The Scale view of workloads: how many replicas are wished for, and how many there are."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Conflict
from sparsam.objects import patches
from sparsam.objects.applying import check
from sparsam.objects.decode import decode_patched
from sparsam.objects.fields import invalid, invalid_object
from sparsam.objects.kinds import Resource
from sparsam.objects.selectors import format_label_selector
from sparsam.objects.strategy import Obj

KIND = ("autoscaling", "v1", "Scale")
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def view(obj: Obj) -> Obj:
    """The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    replicas = spec.get("replicas") or 0
    shown: dict[str, Any] = {"replicas": status.get("replicas") or 0}
    selector = _selector(obj["kind"], spec.get("selector"))
    if selector:
        shown["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def _selector(kind: str, selector: Any) -> str:
    if not selector:
        return ""
    return format_label_selector({"matchLabels": selector} if kind == "ReplicationController" else selector)


def patch(
    resource: Resource, obj: Obj, patch_type: str, raw: bytes, field_validation: str = "Warn"
) -> tuple[Obj, list[str]]:
    """The Scale of `obj` with a patch applied, and warnings."""
    patched = patches.apply(resource, view(obj), patch_type, raw, KIND)
    return decode_patched(resource, patched, field_validation, subresource="scale")


def configuration(resource: Resource, config: Obj) -> Obj:
    """What to apply to the workload for an applied Scale; raises BadRequest and Invalid."""
    check(KIND, config)
    metadata, spec = config.get("metadata") or {}, config.get("spec") or {}
    kept = {name: metadata[name] for name in _METADATA if name in metadata}
    whole: Obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": kept}
    if "replicas" not in spec:
        return whole
    _check_replicas(spec["replicas"] or 0, metadata.get("name") or "")
    return whole | {"spec": {"replicas": spec["replicas"]}}


def _check_replicas(replicas: int, name: str) -> None:
    if replicas < 0:
        cause = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid_object("autoscaling", "Scale", name, [cause])


def update(resource: Resource, obj: Obj, scale: Obj) -> Obj:
    """A copy of the workload with the replicas of `scale`; raises Invalid and Conflict.

    The copy still has to go through the pipeline's `update`.
    """
    metadata = scale.get("metadata") or {}
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    _check_replicas(replicas, obj["metadata"]["name"])
    version = metadata.get("resourceVersion")
    if version and version != obj["metadata"].get("resourceVersion"):
        name = obj["metadata"]["name"]
        text = "the object has been modified; please apply your changes to the latest version and try again"
        message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {text}'
        details = {"name": name, "group": resource.group, "kind": resource.plural}
        raise Conflict(message, details={key: value for key, value in details.items() if value})
    return obj | {"spec": obj["spec"] | {"replicas": replicas}}
