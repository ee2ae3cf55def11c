"""Label selectors inside of specs: validation and the questions that strategies ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects import names

Selector = Mapping[str, Any]


def validate_label_selector(selector: Selector | None, path: str) -> list[Cause]:
    """Causes for a LabelSelector object; None is fine."""
    return names.validate_label_selector(selector, path) if selector else []


def is_empty(selector: Selector | None) -> bool:
    """Whether the selector has no requirement at all (and so matches everything)."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def matches(selector: Selector, labels: Mapping[str, str] | None) -> bool:
    """Whether labels satisfy all requirements of a valid LabelSelector."""
    labels = labels or {}
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    return all(_meets(requirement, labels) for requirement in selector.get("matchExpressions") or [])


def _meets(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    name, operator = requirement.get("key", ""), requirement.get("operator", "")
    values = requirement.get("values") or []
    if operator == "In":
        return name in labels and labels[name] in values
    if operator == "NotIn":
        return labels.get(name) not in values
    return (name in labels) is (operator == "Exists")
