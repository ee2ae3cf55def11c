"""HorizontalPodAutoscalers in both versions: defaults and the rules of the spec."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.names import path_segment_errors
from sparsam.objects.strategies.common import text_causes
from sparsam.objects.strategies.metric_sources import validate_metrics
from sparsam.objects.strategy import Obj, Strategy

_CPU_PERCENT = 80
_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
_MAX_STABILIZATION_SECONDS = 3600
_MAX_PERIOD_SECONDS = 1800


def default_autoscaler(autoscaler: Obj) -> None:
    """At least one replica, 80 % of the requested CPU; a behavior that is given in part is completed."""
    spec = autoscaler.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if autoscaler.get("apiVersion") == "autoscaling/v1":
        annotations = (autoscaler.get("metadata") or {}).get("annotations") or {}
        if spec.get("targetCPUUtilizationPercentage") is None and _METRICS_ANNOTATION not in annotations:
            spec["targetCPUUtilizationPercentage"] = _CPU_PERCENT
        return
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = _scale_up() | _given(behavior.get("scaleUp"))
        behavior["scaleDown"] = _scale_down() | _given(behavior.get("scaleDown"))


def _scale_up() -> Obj:
    policies = [_policy("Pods", 4), _policy("Percent", 100)]
    return {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": policies}


def _scale_down() -> Obj:
    return {"selectPolicy": "Max", "policies": [_policy("Percent", 100)]}


def _policy(kind: str, value: int) -> Obj:
    return {"type": kind, "value": value, "periodSeconds": 15}


def _given(rules: Obj | None) -> dict[str, Any]:
    return {name: value for name, value in (rules or {}).items() if value is not None}


def prepare_create(autoscaler: Obj) -> None:
    """A new autoscaler has decided nothing."""
    autoscaler["status"] = {"desiredReplicas": 0}
    if autoscaler.get("apiVersion") == "autoscaling/v1":
        autoscaler["status"] = {"currentReplicas": 0, "desiredReplicas": 0}


def validate(autoscaler: Obj) -> list[Cause]:
    """Causes for a HorizontalPodAutoscaler."""
    spec = autoscaler["spec"]
    causes: list[Cause] = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        causes.append(invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high == 0:
        causes.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif high < 0:
        causes.append(invalid("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        causes.append(invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    causes += validate_target_reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    causes += validate_metrics(_metrics(spec), "spec.metrics", low)
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if behavior.get(name) is not None:
            causes += _scaling_rules(behavior[name], f"spec.behavior.{name}")
    return causes


def _metrics(spec: Obj) -> list[Obj]:
    """The metrics; the CPU target of v1 is one of them."""
    percent = spec.get("targetCPUUtilizationPercentage")
    metrics: list[Obj] = spec.get("metrics") or []
    if percent is None:
        return metrics
    target = {"type": "Utilization", "averageUtilization": percent}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}, *metrics]


def validate_target_reference(reference: Obj, path: str) -> list[Cause]:
    """Causes for a reference to an object of any version."""
    causes: list[Cause] = []
    for name in ("kind", "name"):
        value = reference.get(name, "")
        here = f"{path}.{name}"
        causes += text_causes(value, here, path_segment_errors) if value else [required(here)]
    version = reference.get("apiVersion", "")
    parts = version.split("/")
    if len(parts) > 2:
        causes.append(invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    elif version != "v1" and (len(parts) < 2 or not parts[0]):
        causes.append(invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))
    return causes


def _scaling_rules(rules: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    seconds = rules.get("stabilizationWindowSeconds")
    here = f"{path}.stabilizationWindowSeconds"
    if seconds is not None and seconds < 0:
        causes.append(invalid(here, seconds, "must be greater than or equal to zero"))
    if seconds is not None and seconds > _MAX_STABILIZATION_SECONDS:
        causes.append(invalid(here, seconds, f"must be less than or equal to {_MAX_STABILIZATION_SECONDS}"))
    select = rules.get("selectPolicy")
    if select is not None and select not in ("Disabled", "Max", "Min"):
        causes.append(not_supported(f"{path}.selectPolicy", select, ("Disabled", "Max", "Min")))
    policies = rules.get("policies") or []
    if not policies:
        causes.append(required(f"{path}.policies", "must specify at least one Policy"))
    for position, policy in enumerate(policies):
        causes += _scaling_policy(policy, f"{path}.policies[{position}]")
    return causes


def _scaling_policy(policy: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    kind, value, period = policy.get("type", ""), policy.get("value") or 0, policy.get("periodSeconds") or 0
    if kind not in ("Percent", "Pods"):
        causes.append(not_supported(f"{path}.type", kind, ("Percent", "Pods")))
    if value <= 0:
        causes.append(invalid(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        causes.append(invalid(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _MAX_PERIOD_SECONDS:
        detail = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
        causes.append(invalid(f"{path}.periodSeconds", period, detail))
    return causes


def validate_update(autoscaler: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed HorizontalPodAutoscaler."""
    return validate(autoscaler)


def validate_status(autoscaler: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status: counts below zero."""
    status = autoscaler.get("status") or {}
    return [
        invalid(f"status.{name}", status[name], "must be greater than or equal to 0")
        for name in ("currentReplicas", "desiredReplicas")
        if (status.get(name) or 0) < 0
    ]


STRATEGIES = {
    ("autoscaling", "HorizontalPodAutoscaler"): Strategy(
        default=default_autoscaler,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
    ),
}
