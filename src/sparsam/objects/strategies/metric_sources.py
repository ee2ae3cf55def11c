"""The metrics that a HorizontalPodAutoscaler follows."""

from __future__ import annotations

from collections.abc import Callable

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.names import path_segment_errors
from sparsam.objects.strategies.common import text_causes
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj

_KINDS = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGETS = ("Utilization", "Value", "AverageValue")


def validate_metrics(metrics: list[Obj], path: str, min_replicas: int | None) -> list[Cause]:
    """Causes for a list of metrics; scaling to zero needs one that exists without pods."""
    causes: list[Cause] = []
    for position, metric in enumerate(metrics):
        causes += _metric(metric, f"{path}[{position}]")
    if min_replicas == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        causes.append(forbidden(path, detail))
    return causes


def _metric(metric: Obj, path: str) -> list[Cause]:
    kind = metric.get("type", "")
    causes: list[Cause] = []
    if not kind:
        causes.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _KINDS:
        causes.append(not_supported(f"{path}.type", kind, _KINDS))
    present = [name for name in _SOURCES if metric.get(name) is not None]
    if present:
        causes += _SOURCES[present[0]](metric[present[0]], f"{path}.{present[0]}")
    expected = kind[:1].lower() + kind[1:]
    if kind not in _KINDS:
        causes.append(not_supported(f"{path}.type", kind, _KINDS))
    elif expected not in present:
        detail = "must populate information for the given metric source"
        causes.append(required(f"{path}.{expected}", detail))
    if len(present) > 1:
        others = (name for name in present if name != expected)
        causes += [forbidden(f"{path}.{name}", "must populate the given metric source only") for name in others]
    return causes


def _target(source: Obj, path: str) -> list[Cause]:
    target = source.get("target") or {}
    kind = target.get("type", "")
    causes: list[Cause] = []
    if not kind:
        causes.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        causes.append(invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    causes += [
        invalid(f"{path}.{name}", str(target[name]), "must be positive")
        for name in ("value", "averageValue")
        if target.get(name) is not None and quantity(target[name]) <= 0
    ]
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        causes.append(invalid(f"{path}.averageUtilization", share, "must be greater than 0"))
    return causes


def _identifier(source: Obj, path: str) -> list[Cause]:
    metric = source.get("metric") or {}
    name, here = metric.get("name", ""), f"{path}.metric.name"
    causes = text_causes(name, here, path_segment_errors) if name else [required(here, "must specify a metric name")]
    return causes + validate_label_selector(metric.get("selector"), f"{path}.metric.selector")


def _object(source: Obj, path: str) -> list[Cause]:
    target, described = source.get("target") or {}, source.get("describedObject") or {}
    causes: list[Cause] = []
    for name in ("kind", "name"):
        value, here = described.get(name, ""), f"{path}.describedObject.{name}"
        causes += text_causes(value, here, path_segment_errors) if value else [required(here)]
    causes += _identifier(source, path) + _target(source, f"{path}.target")
    if target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value or averageValue"
        causes.append(required(f"{path}.target.averageValue", detail))
    return causes


def _external(source: Obj, path: str) -> list[Cause]:
    target = source.get("target") or {}
    causes = _identifier(source, path) + _target(source, f"{path}.target")
    given = [name for name in ("value", "averageValue") if target.get(name) is not None]
    if not given:
        detail = "must set either a target value for metric or a per-pod target"
        causes.append(required(f"{path}.target.averageValue", detail))
    if len(given) == 2:
        detail = "may not set both a target value for metric and a per-pod target"
        causes.append(forbidden(f"{path}.target.value", detail))
    return causes


def _pods(source: Obj, path: str) -> list[Cause]:
    average = (source.get("target") or {}).get("averageValue")
    causes = _identifier(source, path) + _target(source, f"{path}.target")
    if average is None or quantity(average) <= 0:
        detail = "must specify a positive target averageValue"
        causes.append(required(f"{path}.target.averageValue", detail))
    return causes


def _resource(source: Obj, path: str) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name", "must specify a resource name")]
    return causes + _resource_target(source, f"{path}.target")


def _container_resource(source: Obj, path: str) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name", "must specify a resource name")]
    if not source.get("container"):
        causes.append(required(f"{path}.container", "must specify a container"))
    return causes + _resource_target(source, f"{path}.target")


def _resource_target(source: Obj, path: str) -> list[Cause]:
    target = source.get("target") or {}
    causes = _target(source, path)
    given = [name for name in ("averageUtilization", "averageValue") if target.get(name) is not None]
    if not given:
        detail = "must set either a target raw value or a target utilization"
        causes.append(required(f"{path}.averageUtilization", detail))
    if len(given) == 2:
        detail = "may not set both a target raw value and a target utilization"
        causes.append(forbidden(f"{path}.averageValue", detail))
    return causes


_SOURCES: dict[str, Callable[[Obj, str], list[Cause]]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
