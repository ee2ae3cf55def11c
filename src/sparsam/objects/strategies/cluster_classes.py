"""Small kinds that pods and components refer to: PriorityClass, RuntimeClass, Lease."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, required
from sparsam.objects.names import dns_label_errors, validate_immutable, validate_labels
from sparsam.objects.strategies.affinity import validate_tolerations
from sparsam.objects.strategies.common import non_negative, one_of, text_causes
from sparsam.objects.strategies.resources import validate_requirements
from sparsam.objects.strategy import Obj, Strategy

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_RESERVED = "system-"


def default_priority(priority: Obj) -> None:
    """Pods of a class preempt those of lower ones."""
    if priority.get("preemptionPolicy") is None:
        priority["preemptionPolicy"] = "PreemptLowerPriority"


def validate_priority(priority: Obj) -> list[Cause]:
    """Causes for a PriorityClass; the names of the system's own are reserved."""
    name, value = priority["metadata"].get("name", ""), priority.get("value") or 0
    causes: list[Cause] = []
    if name.startswith(_RESERVED):
        if SYSTEM_PRIORITIES.get(name) != value:
            detail = f"priority class names with '{_RESERVED}' prefix are reserved for system use only"
            causes.append(forbidden("metadata.name", detail))
    elif value > HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        causes.append(forbidden("value", detail))
    policies = ("PreemptLowerPriority", "Never")
    return causes + one_of(priority.get("preemptionPolicy"), "preemptionPolicy", policies)


def validate_priority_update(priority: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed PriorityClass: pods have taken its value."""
    causes: list[Cause] = []
    if (priority.get("value") or 0) != (old.get("value") or 0):
        causes.append(forbidden("value", "may not be changed in an update."))
    return causes + validate_immutable(
        priority.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy"
    )


def validate_runtime(runtime: Obj) -> list[Cause]:
    """Causes for a RuntimeClass."""
    handler = runtime.get("handler", "")
    causes = text_causes(handler, "handler", dns_label_errors) if handler else [required("handler")]
    overhead = (runtime.get("overhead") or {}).get("podFixed")
    if overhead:
        causes += validate_requirements({"limits": overhead}, "overhead.podFixed")
    scheduling = runtime.get("scheduling") or {}
    causes += validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    return causes + validate_tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations")


def validate_runtime_update(runtime: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed RuntimeClass: its handler stays."""
    return validate_immutable(runtime.get("handler"), old.get("handler"), "handler")


def validate_lease(lease: Obj) -> list[Cause]:
    """Causes for a Lease."""
    spec = lease.get("spec") or {}
    causes: list[Cause] = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        causes.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    return causes + non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")


def validate_lease_update(lease: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed Lease."""
    return validate_lease(lease)


STRATEGIES = {
    ("scheduling.k8s.io", "PriorityClass"): Strategy(
        default=default_priority,
        validate=validate_priority,
        validate_update=validate_priority_update,
        has_status=False,
        has_generation=True,
        generation_fields=(),
    ),
    ("node.k8s.io", "RuntimeClass"): Strategy(
        validate=validate_runtime, validate_update=validate_runtime_update, has_status=False
    ),
    ("coordination.k8s.io", "Lease"): Strategy(
        validate=validate_lease,
        validate_update=validate_lease_update,
        has_status=False,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
}
