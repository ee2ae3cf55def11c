"""PowerPolicy, our own kind: names that exist, numbers within bounds."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

POLICIES = ("kube-default", "least-increase", "most-allocated", "peaks", "random", "sparsam")
MODES = ("active", "shadow")
BOUNDS = {
    "headroomRatio": (0.0, 0.9),
    "uncertainty": (0.0, 10.0),
    "maxServiceShare": (0.01, 1.0),
}
MOST_WEIGHT = 100.0


def validate(obj: Obj) -> list[Cause]:
    """Causes for a create or an update."""
    spec = obj.get("spec") or {}
    causes = [
        not_supported(f"spec.{name}", spec[name], known)
        for name, known in (("policy", POLICIES), ("mode", MODES))
        if spec.get(name) and spec[name] not in known
    ]
    for name, (least, most) in BOUNDS.items():
        causes += _within(f"spec.{name}", spec.get(name), least, most)
    causes += validate_label_selector(spec.get("namespaceSelector"), "spec.namespaceSelector")
    for name, weight in (spec.get("weights") or {}).items():
        causes += _within(f"spec.weights.{name}", weight, 0.0, MOST_WEIGHT)
    return causes


def _within(path: str, value: Any, least: float, most: float) -> list[Cause]:
    if value is None or least <= value <= most:
        return []
    return [invalid(path, value, f"must be between {least:g} and {most:g}, inclusive")]


STRATEGIES = {
    ("power.sparsam.dev", "PowerPolicy"): Strategy(
        validate=validate, validate_update=lambda new, _old: validate(new), has_status=False, has_generation=True
    )
}
