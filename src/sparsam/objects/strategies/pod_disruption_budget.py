"""PodDisruptionBudgets."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.strategies import int_or_percent
from sparsam.objects.strategies.common import non_negative, optional_one_of
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def prepare_create(budget: Obj) -> None:
    """A new budget allows nothing before a controller has counted its pods."""
    budget["status"] = dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0)


def validate(budget: Obj) -> list[Cause]:
    """Causes for a PodDisruptionBudget."""
    spec = budget.get("spec") or {}
    causes: list[Cause] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        causes.append(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            causes += int_or_percent.validate_positive(spec[name], f"spec.{name}")
            causes += int_or_percent.at_most_whole(spec[name], f"spec.{name}")
    causes += validate_label_selector(spec.get("selector"), "spec.selector")
    if spec.get("unhealthyPodEvictionPolicy") is not None:
        path = "spec.unhealthyPodEvictionPolicy"
        causes += optional_one_of(spec["unhealthyPodEvictionPolicy"], path, ("AlwaysAllow", "IfHealthyBudget"))
    return causes


def validate_update(budget: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed PodDisruptionBudget."""
    return validate(budget)


def validate_status(budget: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status: counts below zero."""
    status = budget.get("status") or {}
    return [cause for name in _COUNTS for cause in non_negative(status.get(name), f"status.{name}")]


STRATEGIES = {
    ("policy", "PodDisruptionBudget"): Strategy(
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        has_generation=True,
    ),
}
