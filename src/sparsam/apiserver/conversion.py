"""Several resources, one stored form: events in both groups, autoscalers in both versions, versions of a definition.

Events and autoscalers are stored as the first of each pair; a request on the other one sees them converted. Custom
resources are stored as their definition says, and are brought to its present schema when they are read. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from sparsam.objects import codec
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj

Convert = Callable[[Obj], Obj]

_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_ORDER = (
    "eventTime",
    "series",
    "reportingController",
    "reportingInstance",
    "action",
    "reason",
    "regarding",
    "related",
    "note",
    "type",
    "deprecatedSource",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "deprecatedCount",
)
_STORED_FIELDS = {theirs: ours for ours, theirs in _EVENT_FIELDS.items()}
# Zero values that Go's JSON writes for core events whatever was sent.
_STORED_EVENT_ZEROS: dict[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
_ANNOTATION = "autoscaling.alpha.kubernetes.io/"


def encode(resource: Resource, obj: Obj) -> bytes:
    """The stored form of an object of this resource."""
    if isinstance(resource, CustomResource):
        # What needs more than another name is converted on its way into the store (`converting`).
        kind = resource.type
        return codec.encode(obj, stored_as=resource.api_version if kind.needs_conversion else kind.stored_as)
    pair = _pair(resource)
    return codec.encode(pair[0](obj) if pair else obj)


def decode(resource: Resource, value: bytes, revision: int) -> Obj:
    """A stored object as this resource shows it."""
    obj = codec.decode_stored(value, revision, resource)
    if isinstance(resource, CustomResource):
        # The only conversion there is between versions of a definition: they differ in name.
        obj["apiVersion"] = resource.api_version
        resource.type.settle(obj)
        return obj
    pair = _pair(resource)
    return pair[1](obj) if pair else obj


def wire(resource: Resource, value: bytes, revision: int) -> bytes:
    """A stored object as clients of this resource see it."""
    if isinstance(resource, CustomResource):
        return _wire_custom(resource, value, revision)
    if _pair(resource) is None:
        return codec.wire(value, revision, resource)
    return msgspec.json.encode(decode(resource, value, revision))


def wire_items(resource: Resource, values: list[tuple[bytes, int]]) -> list[bytes]:
    """Stored objects as they stand in a list: without kind and apiVersion, which custom resources keep."""
    if isinstance(resource, CustomResource):
        return [_wire_custom(resource, value, revision) for value, revision in values]
    if _pair(resource) is None:
        return [codec.wire(value, revision) for value, revision in values]
    return [_item(decode(resource, value, revision)) for value, revision in values]


def between(resource: Resource, obj: Obj, other: Resource) -> Obj:
    """An object of this resource as another resource of the same stored form shows it."""
    if isinstance(resource, CustomResource):
        return obj | {"apiVersion": other.api_version}
    here, there = _pair(resource), _pair(other)
    stored = here[0](obj) if here else obj
    return there[1](stored) if there else stored


# A schema may have changed since an object was stored. All watchers of one version are told the same bytes.
@lru_cache(maxsize=64)
def _wire_custom(resource: CustomResource, value: bytes, revision: int) -> bytes:
    return msgspec.json.encode(decode(resource, value, revision))


def _pair(resource: Resource) -> tuple[Convert, Convert] | None:
    # Text is hashed once, a Resource each time: nearly all requests end at the first test.
    return _CONVERSIONS.get((resource.group, resource.version)) if resource.plural in _PLURALS else None


def _item(obj: Obj) -> bytes:
    return msgspec.json.encode({key: value for key, value in obj.items() if key not in ("kind", "apiVersion")})


def _event_to_stored(obj: Obj) -> Obj:
    stored = {_STORED_FIELDS.get(key, key): value for key, value in obj.items()}
    return stored | {key: zero for key, zero in _STORED_EVENT_ZEROS.items() if key not in stored}


def _event_from_stored(obj: Obj) -> Obj:
    shown = {_EVENT_FIELDS.get(key, key): value for key, value in obj.items()}
    for key in ("reportingController", "reportingInstance"):
        if not shown.get(key):
            shown.pop(key, None)
    head = {key: shown[key] for key in ("kind", "apiVersion", "metadata") if key in shown}
    return head | {key: shown[key] for key in _EVENT_ORDER if key in shown}


def _hpa_to_stored(obj: Obj) -> Obj:
    """autoscaling/v1 to v2: the CPU target becomes a metric, what v1 cannot say comes back out of annotations."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = _taken(annotations, "metrics") or []
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}, *metrics]
    if metrics:
        spec["metrics"] = metrics
    behavior = _taken(annotations, "behavior")
    if behavior is not None:
        spec["behavior"] = behavior
    current = _taken(annotations, "current-metrics") or []
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    if percentage is not None:
        reading = {"name": "cpu", "current": {"averageUtilization": percentage}}
        current = [{"type": "Resource", "resource": reading}, *current]
    status["currentMetrics"] = current or None
    conditions = _taken(annotations, "conditions")
    if conditions is not None:
        status["conditions"] = conditions
    return {**obj, "metadata": _annotated(metadata, annotations), "spec": spec, "status": status}


def _hpa_from_stored(obj: Obj) -> Obj:
    """autoscaling/v2 to v1: what v1 has no field for goes into annotations, as upstream has it."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    percentage, metrics = _cpu_apart(spec.pop("metrics", None) or [], ("target", "averageUtilization"))
    if percentage is not None:
        spec["targetCPUUtilizationPercentage"] = percentage
    current, readings = _cpu_apart(status.pop("currentMetrics", None) or [], ("current", "averageUtilization"))
    if current is not None:
        status["currentCPUUtilizationPercentage"] = current
    kept = {
        "metrics": metrics,
        "behavior": spec.pop("behavior", None),
        "current-metrics": readings,
        "conditions": status.pop("conditions", None),
    }
    for name, value in kept.items():
        if value:
            annotations[_ANNOTATION + name] = msgspec.json.encode(value).decode()
    return {**obj, "metadata": _annotated(metadata, annotations), "spec": spec, "status": status}


def _cpu_apart(metrics: list[Any], path: tuple[str, str]) -> tuple[Any, list[Any]]:
    """The CPU utilization among metrics, and all others."""
    for index, metric in enumerate(metrics):
        source = metric.get("resource") or {}
        value = (source.get(path[0]) or {}).get(path[1])
        if metric.get("type") == "Resource" and source.get("name") == "cpu" and value is not None:
            return value, [*metrics[:index], *metrics[index + 1 :]]
    return None, metrics


def _taken(annotations: dict[str, str], name: str) -> Any:
    text = annotations.pop(_ANNOTATION + name, None)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _annotated(metadata: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    bare = {key: value for key, value in metadata.items() if key != "annotations"}
    return bare | {"annotations": annotations} if annotations else bare


_PLURALS = frozenset({"events", "horizontalpodautoscalers"})
_CONVERSIONS: dict[tuple[str, str], tuple[Convert, Convert]] = {
    ("events.k8s.io", "v1"): (_event_to_stored, _event_from_stored),
    ("autoscaling", "v1"): (_hpa_to_stored, _hpa_from_stored),
}
