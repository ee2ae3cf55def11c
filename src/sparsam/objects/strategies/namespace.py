"""Namespaces: they live until their finalizers are done."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.names import qualified_name_errors
from sparsam.objects.strategy import Obj, Strategy

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"
_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def default_namespace(namespace: Obj) -> None:
    """The label that repeats the name, so that selectors can choose a namespace by name."""
    meta = namespace.get("metadata") or {}
    if meta.get("name"):
        labels = meta.get("labels")
        if labels is None:
            labels = meta["labels"] = {}
        labels[NAME_LABEL] = meta["name"]


def prepare_create(namespace: Obj) -> None:
    """A new namespace is active and finalized by Kubernetes itself."""
    namespace["status"] = {"phase": "Active"}
    spec = namespace.get("spec")
    if spec is None:
        spec = namespace["spec"] = {}
    finalizers = spec.get("finalizers") or []
    if FINALIZER not in finalizers:
        spec["finalizers"] = [*finalizers, FINALIZER]
    default_namespace(namespace)


def prepare_update(namespace: Obj, old: Obj) -> None:
    """Finalizers change through /finalize only."""
    namespace["spec"] = old.get("spec") or {}


def validate(namespace: Obj) -> list[Cause]:
    """Causes for a new namespace."""
    return _finalizers(namespace, indexed=False)


def _finalizers(namespace: Obj, *, indexed: bool) -> list[Cause]:
    causes: list[Cause] = []
    for position, name in enumerate((namespace.get("spec") or {}).get("finalizers") or []):
        path = f"spec.finalizers[{position}]" if indexed else "spec.finalizers"
        causes += [invalid(path, name, error) for error in qualified_name_errors(name)]
        if "/" not in name and name not in _FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(invalid(path, name, detail))
    return causes


def validate_finalize(namespace: Obj, _old: Obj) -> list[Cause]:
    """Causes for a change through /finalize."""
    return _finalizers(namespace, indexed=True)


def validate_status(namespace: Obj, _old: Obj) -> list[Cause]:
    """The phase follows from the deletion timestamp."""
    phase = (namespace.get("status") or {}).get("phase", "")
    if namespace["metadata"].get("deletionTimestamp"):
        if phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [invalid("status.Phase", phase, detail)]
    elif phase != "Active":
        return [invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    return []


STRATEGIES = {
    ("", "Namespace"): Strategy(
        default=default_namespace,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_status=validate_status,
        name_rule="dns-label",
    )
}
