"""Which fields a field selector may name, by kind, and how to read them off an object. Facts as upstream's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.strategy import Obj

_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_EVENTS_V1_FIELDS = (
    "reason",
    "reportingController",
    "type",
    *(field.replace("involvedObject", "regarding") for field in _EVENT_FIELDS if field.startswith("involvedObject")),
)

GENERIC = ("metadata.name", "metadata.namespace")
SELECTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    ("", "Node"): ("spec.unschedulable",),
    ("", "Namespace"): ("status.phase", "name"),
    ("", "ReplicationController"): ("status.replicas",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("", "Event"): _EVENT_FIELDS,
    ("events.k8s.io", "Event"): _EVENTS_V1_FIELDS,
    ("apps", "ReplicaSet"): ("status.replicas",),
    ("batch", "Job"): ("status.successful",),
    ("certificates.k8s.io", "CertificateSigningRequest"): ("spec.signerName",),
    ("resource.k8s.io", "ResourceSlice"): ("spec.nodeName", "spec.driver"),
}
_DEFAULTS = {
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.replicas": "0",
    "status.successful": "0",
}
# Names that differ from where the stored object keeps the field.
_ELSEWHERE = {
    "status.successful": ("status", "succeeded"),
    "name": ("metadata", "name"),
    "reportingController": ("reportingComponent",),
}


def selectable(resource: Resource) -> tuple[str, ...]:
    """The fields of a kind that a selector may name."""
    kind = type_of(resource)
    if kind.is_custom:
        return (*(GENERIC if resource.namespaced else GENERIC[:1]), *kind.selectable_fields)
    return (*GENERIC, *SELECTABLE.get((resource.group, resource.kind), ()))


def read_field(obj: Obj, path: str) -> str:
    """A field as a selector compares it: text, with the zero value for what is absent."""
    if path == "status.podIPs":
        return ",".join(each["ip"] for each in obj.get("status", {}).get("podIPs", []))
    if path == "source":
        component: str = (obj.get("source") or {}).get("component") or obj.get("reportingComponent") or ""
        return component
    if path.startswith("regarding."):
        path = path.replace("regarding", "involvedObject", 1)
    return _text(obj, _ELSEWHERE.get(path, path.split("."))) or _DEFAULTS.get(path, "")


def read_custom_field(obj: Obj, path: str) -> str:
    """A field of a custom resource in the same way: its definition says where it is, and nothing stands for absence."""
    return _text(obj, path.split("."))


def _text(obj: Obj, path: Iterable[str]) -> str:
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
