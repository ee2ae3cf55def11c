"""ServiceAccounts and Bindings."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import not_supported, required
from sparsam.objects.strategy import Obj, Strategy

_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def account_warnings(new: Obj, old: Obj | None) -> list[str]:
    """A warning for a retired annotation that is newly set."""
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    before = ((old or {}).get("metadata") or {}).get("annotations") or {}
    if _ENFORCE_MOUNTABLE in annotations and _ENFORCE_MOUNTABLE not in before:
        text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        return [f"metadata.annotations[{_ENFORCE_MOUNTABLE}]: {text}"]
    return []


def validate_binding(binding: Obj) -> list[Cause]:
    """Causes for the binding of a pod to a node."""
    target = binding.get("target") or {}
    causes: list[Cause] = []
    if target.get("kind") not in (None, "", "Node"):
        causes.append(not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        causes.append(required("target.name"))
    return causes


STRATEGIES = {
    ("", "ServiceAccount"): Strategy(warnings=account_warnings, has_status=False),
    ("", "Binding"): Strategy(validate=validate_binding, has_status=False),
}
