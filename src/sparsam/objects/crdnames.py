"""Which names of a CustomResourceDefinition are accepted, and its conditions. Pure.

Within a group each name belongs to one definition, or to what is built in: who has it keeps it. Source: the API
reference of CustomResourceDefinitionCondition and upstream's naming and establishing controllers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sparsam.objects.fields import quote
from sparsam.objects.kinds import RESOURCES
from sparsam.objects.strategy import Obj

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
APPROVAL = "api-approved.kubernetes.io"
_KEPT = ("name", "resourceVersion", "deletionTimestamp", "finalizers")
_PROTECTED = ("k8s.io", "kubernetes.io")
_RESOURCE_NAMES = (("plural", "PluralConflict"), ("singular", "SingularConflict"))
_ALWAYS = ("plural", "kind")
_KIND_NAMES = (("kind", "KindConflict"), ("listKind", "ListKindConflict"))


def essence(definition: Obj) -> Obj:
    """As much of a definition as `decide` looks at: schemas, and the copies of them in annotations, are large."""
    metadata, annotations = definition["metadata"], definition["metadata"].get("annotations") or {}
    kept = {key: metadata[key] for key in _KEPT if key in metadata}
    kept["annotations"] = {key: text for key, text in annotations.items() if key == APPROVAL}
    spec = {key: definition["spec"][key] for key in ("group", "names")}
    return {"metadata": kept, "spec": spec, "status": definition.get("status") or {}}


def is_protected(group: str) -> bool:
    """Whether a group is one of the Kubernetes community (KEP-1111)."""
    return any(group == each or group.endswith(f".{each}") for each in _PROTECTED)


def decide(definition: Obj, others: Iterable[Obj], now: str) -> Obj:
    """The status of a definition beside all others of its group."""
    status = definition.get("status") or {}
    accepted, conflict = _accepted(definition, others)
    names_condition = _condition("NamesAccepted", "False", *conflict) if conflict else _NO_CONFLICTS
    conditions = with_condition(status.get("conditions") or [], names_condition, now)
    established = next((each for each in conditions if each.get("type") == "Established"), None)
    if established is None or established["status"] != "True":
        wanted = _NOT_ACCEPTED if conflict else _INSTALLING
        # What is served already (`Installing` was stored, so that every server knows) is told to clients.
        if not conflict and established is not None and established["reason"] == _INSTALLING["reason"]:
            wanted = _ESTABLISHED
        conditions = with_condition(conditions, wanted, now)
    approval = _approval(definition)
    if approval is not None:
        conditions = with_condition(conditions, approval, now)
    return {**status, "conditions": conditions, "acceptedNames": accepted}


def _approval(definition: Obj) -> Obj | None:
    """The condition that groups of the Kubernetes community have (KEP-1111); None for all others."""
    if not is_protected(definition["spec"]["group"]):
        return None
    text = (definition["metadata"].get("annotations") or {}).get(APPROVAL, "")
    kind, proposal = "KubernetesAPIApprovalPolicyConformant", "https://github.com/kubernetes/enhancements/pull/1111"
    if not text:
        message = f"protected groups must have approval annotation {quote(APPROVAL)}, see {proposal}"
        return _condition(kind, "False", "MissingAnnotation", message)
    if text.startswith("unapproved"):
        return _condition(kind, "False", "UnapprovedAnnotation", f"not approved: {quote(text)}")
    return _condition(kind, "True", "ApprovedAnnotation", f"approved in {text}")


def _accepted(definition: Obj, others: Iterable[Obj]) -> tuple[Obj, tuple[str, str] | None]:
    """Names that are taken over, and reason and message of the last one that is somebody else's."""
    wanted, accepted = definition["spec"]["names"], (definition.get("status") or {}).get("acceptedNames") or {}
    resources, kinds = _taken(others)
    for built_in in RESOURCES:
        if built_in.group == definition["spec"]["group"]:
            resources |= {built_in.plural, built_in.singular_name, *built_in.short_names}
            kinds |= {built_in.kind, built_in.list_kind}
    names, conflict = dict(accepted), None
    for table, taken in ((_RESOURCE_NAMES, resources), (_KIND_NAMES, kinds)):
        for field, reason in table:
            if wanted.get(field) == accepted.get(field) or wanted.get(field) not in taken:
                names[field] = wanted.get(field)
            else:
                conflict = (reason, f"{quote(wanted[field])} is already in use")
        if table is _RESOURCE_NAMES:
            mine = accepted.get("shortNames") or ()
            lost = [each for each in wanted.get("shortNames") or () if each not in mine and each in resources]
            if lost:
                texts = [f"{quote(each)} is already in use" for each in lost]
                conflict = ("ShortNamesConflict", texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
            else:
                names["shortNames"] = wanted.get("shortNames")
    names["categories"] = wanted.get("categories")
    order = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
    return {name: names.get(name, "") for name in order if names.get(name) or name in _ALWAYS}, conflict


def _taken(others: Iterable[Obj]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural", ""), names.get("singular", ""), *(names.get("shortNames") or ())}
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    return resources - {""}, kinds - {""}


def _condition(kind: str, status: str, reason: str, message: str) -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message}


_NO_CONFLICTS = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found")
_NOT_ACCEPTED = _condition("Established", "False", "NotAccepted", "not all names are accepted")
_INSTALLING = _condition("Established", "False", "Installing", "the initial names have been accepted")
_ESTABLISHED = _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
DELETION_PENDING = _condition(
    "Terminating",
    "True",
    "InstanceDeletionPending",
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
)
DELETION_IN_PROGRESS = _condition(
    "Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"
)
DELETION_COMPLETED = _condition("Terminating", "False", "InstanceDeletionCompleted", "removed all instances")


def with_condition(conditions: list[Obj], condition: Obj, now: str) -> list[Obj]:
    """Conditions with one set; the time of its last transition changes with its status only."""
    known = next((each for each in conditions if each.get("type") == condition["type"]), None)
    since: Any = now if known is None or known["status"] != condition["status"] else known.get("lastTransitionTime")
    entry = condition | {"lastTransitionTime": since}
    if known is None:
        return [*conditions, entry]
    return [entry if each is known else each for each in conditions]
