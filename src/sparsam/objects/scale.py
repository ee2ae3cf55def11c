"""The Scale view of workloads: how many replicas are wished for, and how many there are."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Conflict, InternalError
from sparsam.objects import patches
from sparsam.objects.applying import check
from sparsam.objects.decode import decode_patched
from sparsam.objects.fields import invalid, invalid_object, quote
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import ScalePaths, built_in, type_of
from sparsam.objects.selectors import format_label_selector
from sparsam.objects.strategy import Obj

KIND = ("autoscaling", "v1", "Scale")
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def view(resource: Resource, obj: Obj) -> Obj:
    """The Scale of an object; raises InternalError for a custom resource without a number of replicas."""
    paths = type_of(resource).scale_paths
    if paths is not None and _at(obj, paths.spec_replicas) is None:
        # Upstream does not guess: taken for nought, it would be a wish to stop everything.
        where = quote("." + ".".join(paths.spec_replicas))
        raise InternalError(f"Internal error occurred: the spec replicas field {where} does not exist", details={})
    return _shown(obj, paths)


def _shown(obj: Obj, paths: ScalePaths | None) -> Obj:
    wished, there, selector = _built_in_parts(obj) if paths is None else _custom_parts(obj, paths)
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    replicas = wished or 0
    shown: dict[str, Any] = {"replicas": there or 0}
    if selector:
        shown["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def _built_in_parts(obj: Obj) -> tuple[Any, Any, str]:
    """Replicas wished for, replicas there, and the selector of the pods."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return spec.get("replicas"), status.get("replicas"), _selector(obj["kind"], spec.get("selector"))


def _custom_parts(obj: Obj, paths: ScalePaths) -> tuple[Any, Any, str]:
    selector = _at(obj, paths.selector) if paths.selector else None
    text = selector if isinstance(selector, str) else ""
    return _at(obj, paths.spec_replicas), _at(obj, paths.status_replicas), text


def _at(obj: Obj, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _with(obj: Obj, path: tuple[str, ...], value: Any) -> Obj:
    """A copy of `obj` with a value at a path."""
    name, *rest = path
    inner = obj.get(name)
    return obj | {name: _with(inner if isinstance(inner, dict) else {}, tuple(rest), value) if rest else value}


def _selector(kind: str, selector: Any) -> str:
    if not selector:
        return ""
    return format_label_selector({"matchLabels": selector} if kind == "ReplicationController" else selector)


def patch(
    resource: Resource, obj: Obj, patch_type: str, raw: bytes, field_validation: str = "Warn"
) -> tuple[Obj, list[str]]:
    """The Scale of `obj` with a patch applied, and warnings."""
    shown = _shown(obj, type_of(resource).scale_paths)
    patched = patches.apply(built_in(*KIND), shown, patch_type, raw)
    return decode_patched(resource, patched, field_validation, subresource="scale")


def configuration(resource: Resource, config: Obj) -> Obj:
    """What to apply to the workload for an applied Scale; raises BadRequest and Invalid."""
    check(built_in(*KIND), config)
    metadata, spec = config.get("metadata") or {}, config.get("spec") or {}
    kept = {name: metadata[name] for name in _METADATA if name in metadata}
    whole: Obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": kept}
    if "replicas" not in spec:
        return whole
    _check_replicas(spec["replicas"] or 0, metadata.get("name") or "")
    return _with(whole, _spec_path(resource), spec["replicas"])


def _spec_path(resource: Resource) -> tuple[str, ...]:
    paths = type_of(resource).scale_paths
    return ("spec", "replicas") if paths is None else paths.spec_replicas


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
    return _with(obj, _spec_path(resource), replicas)
