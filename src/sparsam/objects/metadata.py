"""Rules of ObjectMeta that hold for every kind, in upstream's order and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, index, invalid, quote, required
from sparsam.objects.names import (
    dns_label_errors,
    name_errors,
    qualified_name_errors,
    validate_annotations,
    validate_immutable,
    validate_labels,
)

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")

Meta = Mapping[str, Any]


def validate_metadata(
    meta: Meta, *, namespaced: bool, name_rule: str = "path-segment", path: str = "metadata"
) -> list[Cause]:
    """Causes for the metadata of one object, whatever it was before."""
    causes: list[Cause] = []
    if meta.get("generateName"):
        errors = name_errors(name_rule, meta["generateName"], prefix=True)
        causes += [invalid(f"{path}.generateName", meta["generateName"], error) for error in errors]
    if not meta.get("name"):
        causes.append(required(f"{path}.name", "name or generateName is required"))
    else:
        causes += [invalid(f"{path}.name", meta["name"], error) for error in name_errors(name_rule, meta["name"])]
    causes += _validate_namespace(meta.get("namespace", ""), namespaced, f"{path}.namespace")
    if meta.get("generation", 0) < 0:
        causes.append(invalid(f"{path}.generation", meta["generation"], "must be greater than or equal to 0"))
    causes += _validate_maps(meta, path)
    return causes + _validate_finalizers(meta.get("finalizers") or [], f"{path}.finalizers")


def validate_kube_finalizers(meta: Meta, path: str = "metadata") -> list[Cause]:
    """Causes for finalizers without a domain that Kubernetes does not know."""
    text = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid(index(f"{path}.finalizers", position), finalizer, text)
        for position, finalizer in enumerate(meta.get("finalizers") or [])
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]


def validate_metadata_update(new: Meta, old: Meta, path: str = "metadata") -> list[Cause]:
    """Causes for what an update may not do to metadata."""
    causes: list[Cause] = []
    if old.get("deletionTimestamp"):
        causes += _validate_no_new_finalizers(new, old, f"{path}.finalizers")
    if new.get("generation", 0) < old.get("generation", 0):
        causes.append(invalid(f"{path}.generation", new.get("generation", 0), "must not be decremented"))
    for name in _IMMUTABLE:
        causes += validate_immutable(new.get(name), old.get(name), f"{path}.{name}")
    return causes + _validate_maps(new, path)


def _validate_namespace(namespace: str, namespaced: bool, path: str) -> list[Cause]:
    if not namespaced:
        return [forbidden(path, "not allowed on this type")] if namespace else []
    if not namespace:
        return [required(path)]
    return [invalid(path, namespace, error) for error in dns_label_errors(namespace)]


def _validate_maps(meta: Meta, path: str) -> list[Cause]:
    causes = validate_labels(meta.get("labels"), f"{path}.labels")
    causes += validate_annotations(meta.get("annotations"), f"{path}.annotations")
    return causes + _validate_owner_references(meta.get("ownerReferences") or [], f"{path}.ownerReferences")


_MOST_OWNER_CAUSES = 10
"""Each quotes all owners: without an end a body that fills one request would fill the memory."""


def _validate_owner_references(owners: Sequence[Meta], path: str) -> list[Cause]:
    causes: list[Cause] = []
    controller = ""
    for owner in owners:
        causes += _validate_owner_reference(owner, path)
        if owner.get("controller"):
            current = f"{owner.get('kind', '')}/{owner.get('name', '')}"
            if controller and len(causes) < _MOST_OWNER_CAUSES:
                text = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {current}'
                )
                causes.append(invalid(path, owners, text))
            controller = controller or current
    return causes


def _validate_owner_reference(owner: Meta, path: str) -> list[Cause]:
    causes: list[Cause] = []
    api_version = owner.get("apiVersion", "")
    if not api_version.rpartition("/")[2] or api_version.count("/") > 1:
        causes.append(invalid(f"{path}.apiVersion", api_version, "version must not be empty"))
    causes += [
        invalid(f"{path}.{name}", "", "must not be empty") for name in ("kind", "name", "uid") if not owner.get(name)
    ]
    if owner.get("kind") == "Event" and api_version in ("v1", "events.k8s.io/v1"):
        group = "" if api_version == "v1" else "events.k8s.io"
        causes.append(invalid(path, owner, f"{group}/v1, Kind=Event is disallowed from being an owner"))
    return causes


def _validate_finalizers(finalizers: Sequence[str], path: str) -> list[Cause]:
    causes = [invalid(path, each, error) for each in finalizers for error in qualified_name_errors(each)]
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        causes.append(invalid(path, finalizers, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"))
    return causes


def _validate_no_new_finalizers(new: Meta, old: Meta, path: str) -> list[Cause]:
    before = set(old.get("finalizers") or [])
    added = sorted(set(new.get("finalizers") or []) - before)
    if not added:
        return []
    shown = "[]string{" + ", ".join(quote(each) for each in added) + "}"
    return [
        forbidden(path, f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}")
    ]
