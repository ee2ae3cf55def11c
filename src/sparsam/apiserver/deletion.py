"""What a delete does to an object: nothing but a mark while grace or finalizers hold it, else removal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sparsam.apiserver.statuses import conflict, invalid_options
from sparsam.clock import format_time, parse_time
from sparsam.errors import Cause, Conflict
from sparsam.objects import crdnames
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS, NAMESPACES, Resource
from sparsam.objects.strategy import Obj, Strategy

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
POLICIES = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions, as far as the server acts on them."""

    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    orphan_dependents: bool | None = None
    policy: str | None = None
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """The options as an object, as admission is told them."""
        preconditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        told = {
            "gracePeriodSeconds": self.grace_seconds,
            "preconditions": {key: value for key, value in preconditions.items() if value is not None} or None,
            "orphanDependents": self.orphan_dependents,
            "propagationPolicy": self.policy,
            "dryRun": ["All"] if self.dry_run else None,
        }
        kind = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        return kind | {key: value for key, value in told.items() if value is not None}

    def validate(self) -> None:
        """Raises Invalid for contradictions and unknown policies."""
        field = "propagationPolicy"
        if self.policy is not None and self.orphan_dependents is not None:
            detail = "orphanDependents and deletionPropagation cannot be both set"
            raise invalid_options(
                "DeleteOptions", [Cause("FieldValueInvalid", f'Invalid value: "{self.policy}": {detail}', field)]
            )
        if self.policy is not None and self.policy not in POLICIES:
            supported = ", ".join(f'"{policy}"' for policy in (*POLICIES, "nil"))
            message = f'Unsupported value: "{self.policy}": supported values: {supported}'
            raise invalid_options("DeleteOptions", [Cause("FieldValueNotSupported", message, field)])


@dataclass(frozen=True, slots=True)
class Deletion:
    """The outcome: whether the object goes now, and what is to be stored if it stays (None: it is stored already)."""

    remove: bool
    changed: Obj | None


def check_preconditions(resource: Resource, obj: Obj, options: DeleteOptions) -> None:
    """Raises Conflict unless the object is the one that the client means."""
    metadata = obj["metadata"]
    name = metadata["name"]
    kind = Resource(resource.group, resource.version, resource.kind, resource.kind)
    if options.uid is not None and options.uid != metadata.get("uid"):
        raise _precondition(
            kind,
            name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated",
        )
    if options.resource_version is not None and options.resource_version != metadata.get("resourceVersion"):
        raise _precondition(
            kind,
            name,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({metadata.get('resourceVersion')}). The object might have been modified",
        )


def _precondition(kind: Resource, name: str, why: str) -> Conflict:
    return conflict(kind, name, why)


def plan(resource: Resource, strategy: Strategy, obj: Obj, options: DeleteOptions, now: str) -> Deletion:
    """Decide on a delete of `obj`, which is changed in place when it is to be marked."""
    if resource is NAMESPACES:
        return _plan_namespace(obj, options, now)
    before = _marks(obj)
    _set_finalizers(obj["metadata"], options)
    if resource is CUSTOMRESOURCEDEFINITIONS and "deletionTimestamp" not in obj["metadata"]:
        _hold_definition(obj, now)
    pending = False
    if strategy.grace_seconds is not None:
        pending = _begin_grace(strategy.grace_seconds(obj), obj, options, now)
    if obj["metadata"].get("finalizers"):
        if "deletionTimestamp" not in obj["metadata"]:
            _mark(obj, now, 0)
        return Deletion(remove=False, changed=obj if _marks(obj) != before else None)
    if pending or obj["metadata"].get("deletionGracePeriodSeconds"):
        return Deletion(remove=False, changed=obj if _marks(obj) != before else None)
    return Deletion(remove=True, changed=obj)


def is_finished(resource: Resource, obj: Obj) -> bool:
    """Whether nothing holds an object that is being deleted any more, so that it goes with this write."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if resource is NAMESPACES:
        return not obj.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _marks(obj: Obj) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    return (
        metadata.get("deletionTimestamp"),
        metadata.get("deletionGracePeriodSeconds"),
        list(metadata.get("finalizers") or ()),
    )


def _mark(obj: Obj, now: str, grace_seconds: int) -> None:
    metadata = obj["metadata"]
    metadata["deletionTimestamp"] = _later(now, grace_seconds)
    metadata["deletionGracePeriodSeconds"] = grace_seconds
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1


def _begin_grace(default_seconds: int, obj: Obj, options: DeleteOptions, now: str) -> bool:
    """Mark for graceful deletion, or shorten a grace that runs; whether an earlier grace is still running."""
    metadata = obj["metadata"]
    wanted = _grace_seconds(default_seconds, obj, options)
    running = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in metadata:
        _mark(obj, now, wanted)
        return wanted > 0
    if not running:
        return False
    if options.grace_seconds is None or wanted >= running:
        return True
    metadata["deletionTimestamp"] = _later(metadata["deletionTimestamp"], wanted - running)
    metadata["deletionGracePeriodSeconds"] = wanted
    return wanted > 0


def _grace_seconds(default_seconds: int, obj: Obj, options: DeleteOptions) -> int:
    unscheduled = not obj.get("spec", {}).get("nodeName")
    ended = obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if unscheduled or ended:
        return 0
    seconds = default_seconds if options.grace_seconds is None else options.grace_seconds
    return 1 if seconds < 0 else seconds


def _set_finalizers(metadata: dict[str, Any], options: DeleteOptions) -> None:
    """Ask the garbage collector, through a finalizer, to deal with dependents first."""
    current = metadata.get("finalizers") or []
    wanted = [finalizer for finalizer in current if finalizer not in (ORPHAN, FOREGROUND)]
    if _orphans(current, options):
        wanted.append(ORPHAN)
    if _foreground(current, options):
        wanted.append(FOREGROUND)
    if wanted:
        metadata["finalizers"] = wanted
    else:
        metadata.pop("finalizers", None)


def _orphans(finalizers: list[str], options: DeleteOptions) -> bool:
    if options.orphan_dependents is not None:
        return options.orphan_dependents
    if options.policy is not None:
        return options.policy == "Orphan"
    return ORPHAN in finalizers


def _foreground(finalizers: list[str], options: DeleteOptions) -> bool:
    if options.orphan_dependents is not None:
        return False
    if options.policy is not None:
        return options.policy == "Foreground"
    return FOREGROUND in finalizers


def _plan_namespace(obj: Obj, options: DeleteOptions, now: str) -> Deletion:
    """A namespace is marked Terminating; the namespace controller empties it and then finalizes it."""
    metadata = obj["metadata"]
    before = _marks(obj)
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = now
        obj.setdefault("status", {})["phase"] = "Terminating"
    if _orphans(metadata.get("finalizers") or [], options):
        _set_finalizers(metadata, options)
    if is_finished(NAMESPACES, obj):
        return Deletion(remove=True, changed=obj)
    return Deletion(remove=False, changed=obj if _marks(obj) != before else None)


def _hold_definition(obj: Obj, now: str) -> None:
    """A definition goes after its objects: a finalizer holds it until they are gone. Its generation stays."""
    metadata = obj["metadata"]
    metadata["deletionTimestamp"] = now
    finalizers = metadata.get("finalizers") or []
    if crdnames.FINALIZER not in finalizers:
        metadata["finalizers"] = [*finalizers, crdnames.FINALIZER]
    status = obj.setdefault("status", {})
    conditions = status.get("conditions") or []
    status["conditions"] = crdnames.with_condition(conditions, crdnames.DELETION_PENDING, now)


def _later(moment: str, seconds: int) -> str:
    return format_time(parse_time(moment) + timedelta(seconds=seconds))
