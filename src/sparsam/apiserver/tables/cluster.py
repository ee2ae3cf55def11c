"""The rows of the core group's other kinds: nodes, services, configuration, storage, events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sparsam.apiserver.tables.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Column,
    Obj,
    Printer,
    age,
    columns,
    first_few,
    joined,
    labels_text,
    name_of,
    since,
    wide,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def _node(obj: Obj, now: datetime) -> Cells:
    status, info = obj.get("status", {}), obj.get("status", {}).get("nodeInfo", {})
    addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    details = [info.get(key) or UNKNOWN for key in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    return [
        name_of(obj),
        _node_status(obj),
        joined(_roles(obj), NONE),
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        *details,
    ]


def _node_status(obj: Obj) -> str:
    ready = [c for c in obj.get("status", {}).get("conditions") or () if c["type"] == "Ready"]
    words = ["Ready" if c["status"] == "True" else "NotReady" for c in ready] or ["Unknown"]
    if obj.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return joined(words)


def _roles(obj: Obj) -> list[str]:
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX) and key != _ROLE_PREFIX}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return sorted(roles)


def _service(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    kind = spec.get("type", "ClusterIP")
    internal = spec.get("clusterIP") or NONE
    ports = [_port_text(port) for port in spec.get("ports") or ()]
    selector = labels_text(spec.get("selector"))
    return [name_of(obj), kind, internal, _external(obj, kind), joined(ports, NONE), age(obj, now), selector]


def _external(obj: Obj, kind: str) -> str:
    spec = obj["spec"]
    given = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind != "LoadBalancer":
        return joined(given, NONE)
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    balanced = [each.get("ip") or each.get("hostname", "") for each in ingress]
    return joined([*balanced, *given], "<pending>")


def _port_text(port: Obj) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _endpoints(obj: Obj, now: datetime) -> Cells:
    pairs: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [each["ip"] for each in subset.get("addresses") or ()]
        ports = [port["port"] for port in subset.get("ports") or ()]
        pairs += [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for port in ports for ip in addresses]
        pairs += addresses if not ports else []
    return [name_of(obj), first_few(pairs), age(obj, now)]


def _event(obj: Obj, now: datetime) -> Cells:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    micro = obj.get("eventTime")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or micro
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    series = obj.get("series")
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count", count)
    names = [source.get("component") or obj.get("reportingComponent") or obj.get("reportingController", "")]
    names.append(source.get("host") or obj.get("reportingInstance", ""))
    return [
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}"
        if about.get("name")
        else about.get("kind", "").lower(),
        about.get("fieldPath", ""),
        ", ".join(name for name in names if name),
        (obj.get("message") or obj.get("note") or "").strip(),
        since(first, now),
        count,
        name_of(obj),
    ]


def _namespace(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("status", {}).get("phase", ""), age(obj, now)]


def _config_map(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _name_and_age(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), age(obj, now)]


def _persistent_volume(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    claim = spec.get("claimRef")
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        _access_modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _persistent_volume_claim(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _access_modes(status) if bound else "",
        _storage_class(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(obj: Obj) -> str:
    annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    return str(annotation or obj["spec"].get("storageClassName") or "")


def _access_modes(holder: Obj) -> str:
    given = holder.get("accessModes") or ()
    return joined(short for mode, short in _MODES.items() if mode in given)


def _resource_quota(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status", {})
    requests: list[str] = []
    limits: list[str] = []
    for resource, hard in sorted((status.get("hard") or {}).items()):
        used = (status.get("used") or {}).get(resource, "0")
        (limits if resource.startswith("limits") else requests).append(f"{resource}: {used}/{hard}")
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


def _component_status(obj: Obj, _now: datetime) -> Cells:
    conditions: list[dict[str, Any]] = obj.get("conditions") or []
    healthy = next((c for c in conditions if c["type"] == "Healthy"), {})
    words = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [name_of(obj), words, healthy.get("message", ""), healthy.get("error", "")]


_NODE_WIDE = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
_EVENT_COLUMNS = (
    *(Column("Last Seen"), Column("Type"), Column("Reason"), Column("Object"), wide("Subobject"), wide("Source")),
    *(Column("Message"), wide("First Seen"), wide("Count")),
    Column("Name", format="name", priority=1),
)
_VOLUME_COLUMNS = (
    *("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass"),
    *("VolumeAttributesClass", "Reason", AGE, wide("VolumeMode")),
)
_CLAIM_COLUMNS = (
    *("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass"),
    *(AGE, wide("VolumeMode")),
)

PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "Node"): Printer(columns("Status", "Roles", AGE, "Version", *map(wide, _NODE_WIDE)), _node),
    ("", "Service"): Printer(columns("Type", "Cluster-IP", "External-IP", "Port(s)", AGE, wide("Selector")), _service),
    ("", "Endpoints"): Printer(columns("Endpoints", AGE), _endpoints),
    ("", "Event"): Printer(_EVENT_COLUMNS, _event),
    ("events.k8s.io", "Event"): Printer(_EVENT_COLUMNS, _event),
    ("", "Namespace"): Printer(columns("Status", AGE), _namespace),
    ("", "ConfigMap"): Printer(columns("Data", AGE), _config_map),
    ("", "Secret"): Printer(columns("Type", "Data", AGE), _secret),
    ("", "ServiceAccount"): Printer((NAME, AGE), _name_and_age),
    ("", "PersistentVolume"): Printer(columns(*_VOLUME_COLUMNS), _persistent_volume),
    ("", "PersistentVolumeClaim"): Printer(columns(*_CLAIM_COLUMNS), _persistent_volume_claim),
    ("", "ResourceQuota"): Printer(columns("Request", "Limit", AGE), _resource_quota),
    ("", "ComponentStatus"): Printer(columns("Status", "Message", "Error"), _component_status),
}
