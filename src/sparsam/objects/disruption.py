"""Whom a PodDisruptionBudget covers and what its condition says: shared by the API server and the controller. Pure.

Source: KEP-85 (PodDisruptionBudget), upstream's component-helpers/apps/poddisruptionbudget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsam.objects.selectors import parse_label_selector_object

Obj = dict[str, Any]

ALLOWED = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, SYNC_FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"
TARGET = "DisruptionTarget"
"""The condition of a pod that is about to be ended by a disruption (KEP-3329)."""


def covers(budget: Obj, pod: Obj) -> bool:
    """Whether a budget of the pod's namespace counts the pod; an empty selector takes all, an absent one none."""
    try:
        selector = parse_label_selector_object((budget.get("spec") or {}).get("selector"))
    except ValueError:
        return False
    return selector.matches(pod["metadata"].get("labels"))


def is_ready(pod: Obj) -> bool:
    """What counts as healthy."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def allowed_condition(status: Obj, *, failure: str | None = None) -> Obj:
    """The condition that goes with a budget's counts, or with the reason why they are not known."""
    allowed = failure is None and status.get("disruptionsAllowed", 0) > 0
    reason = SYNC_FAILED if failure is not None else SUFFICIENT if allowed else INSUFFICIENT
    condition: Obj = {"type": ALLOWED, "status": "True" if allowed else "False", "reason": reason}
    condition["message"] = failure or ""
    if status.get("observedGeneration"):
        condition["observedGeneration"] = status["observedGeneration"]
    return condition


def covering(pod: Obj, budgets: Sequence[Obj]) -> list[Obj]:
    """The budgets, of those of the pod's namespace, that count it."""
    return [budget for budget in budgets if covers(budget, pod)]
