"""The rows of networking, policy, storage, scheduling and extension kinds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sparsam.apiserver.tables.columns import (
    AGE,
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
    integer,
    joined,
    name_of,
    selector_text,
    wide,
)


def _autoscaler(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    target = spec.get("scaleTargetRef", {})
    least = spec.get("minReplicas")
    return [
        name_of(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metric_targets(spec, status),
        UNSET if least is None else str(least),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _metric_targets(spec: Obj, status: Obj) -> str:
    """One `name: current/target` for each metric, v2; v1 has CPU alone."""
    if "targetCPUUtilizationPercentage" in spec or "currentCPUUtilizationPercentage" in status:
        current = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {_percent(current)}/{_percent(spec.get('targetCPUUtilizationPercentage'))}"
    metrics, seen = spec.get("metrics") or (), status.get("currentMetrics") or ()
    texts = [_metric_text(metric, seen[n] if n < len(seen) else {}) for n, metric in enumerate(metrics)]
    shown = texts[:2]
    more = f" + {len(texts) - 2} more..." if len(texts) > 2 else ""
    return (", ".join(shown) + more) or NONE


def _metric_text(metric: Obj, seen: Obj) -> str:
    kind = metric.get("type", "")
    key = kind[:1].lower() + kind[1:]
    wanted, current = metric.get(key, {}).get("target", {}), seen.get(key, {}).get("current", {})
    if kind in ("Resource", "ContainerResource"):
        label = f"{metric.get(key, {}).get('name', '')}: "
        if wanted.get("averageValue") is not None:
            return f"{label}{current.get('averageValue', UNKNOWN)}/{wanted['averageValue']}"
        return f"{label}{_percent(current.get('averageUtilization'))}/{_percent(wanted.get('averageUtilization'))}"
    if wanted.get("averageValue") is not None:
        average = " (avg)" if kind in ("External", "Object") else ""
        return f"{current.get('averageValue', UNKNOWN)}/{wanted['averageValue']}{average}"
    return f"{current.get('value', UNKNOWN)}/{wanted.get('value', UNKNOWN)}"


def _percent(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number}%"


def _disruption_budget(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    allowed = obj.get("status", {}).get("disruptionsAllowed", 0)
    return [name_of(obj), _or_none(least), _or_none(most), allowed, age(obj, now)]


def _or_none(value: Any) -> str:
    return "N/A" if value is None else str(value)


def _network_policy(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), selector_text(obj["spec"].get("podSelector")), age(obj, now)]


def _ingress(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    given = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    addresses = [each.get("ip") or each.get("hostname", "") for each in given]
    ports = "80, 443" if spec.get("tls") else "80"
    kind = spec.get("ingressClassName") or NONE
    return [name_of(obj), kind, first_few(hosts, empty="*"), joined(addresses), ports, age(obj, now)]


def _ingress_class(obj: Obj, now: datetime) -> Cells:
    parameters = obj["spec"].get("parameters")
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [name_of(obj), obj["spec"].get("controller", ""), text, age(obj, now)]


def _endpoint_slice(obj: Obj, now: datetime) -> Cells:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    shown = [first_few(ports, empty=UNSET), first_few(addresses, empty=UNSET)]
    return [name_of(obj), obj.get("addressType", ""), *shown, age(obj, now)]


def _lease(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("spec", {}).get("holderIdentity") or "", age(obj, now)]


def _role_binding(obj: Obj, now: datetime) -> Cells:
    role = obj["roleRef"]
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject["name"]
        if subject["kind"] == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        by_kind.setdefault(subject["kind"], []).append(name)
    who = [", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [name_of(obj), f"{role.get('kind', '')}/{role.get('name', '')}", age(obj, now), *who]


def _storage_class(obj: Obj, now: datetime) -> Cells:
    name = name_of(obj)
    if (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true":
        name += " (default)"
    policy, mode = obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate")
    return [name, obj.get("provisioner", ""), policy, mode, bool(obj.get("allowVolumeExpansion")), age(obj, now)]


def _csi_driver(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    tokens = joined(each.get("audience", "") for each in spec.get("tokenRequests") or ())
    return [
        name_of(obj),
        spec.get("attachRequired", True),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens or UNSET,
        bool(spec.get("requiresRepublish")),
        joined(spec.get("volumeLifecycleModes") or (), NONE),
        age(obj, now),
    ]


def _csi_node(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj["spec"].get("drivers") or ()), age(obj, now)]


def _csi_capacity(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("storageClassName", ""), obj.get("capacity") or UNSET, age(obj, now)]


def _volume_attachment(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    volume = spec.get("source", {}).get("persistentVolumeName") or ""
    attached = bool(obj.get("status", {}).get("attached"))
    return [name_of(obj), spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, age(obj, now)]


def _attributes_class(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("driverName", ""), age(obj, now)]


def _priority_class(obj: Obj, now: datetime) -> Cells:
    policy = obj.get("preemptionPolicy", "PreemptLowerPriority")
    return [name_of(obj), obj.get("value", 0), bool(obj.get("globalDefault")), age(obj, now), policy]


def _runtime_class(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj.get("handler", ""), age(obj, now)]


def _webhooks(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _param_kind(obj: Obj) -> str:
    kind = obj["spec"].get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def _validating_policy(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj["spec"].get("validations") or ()), _param_kind(obj), age(obj, now)]


def _mutating_policy(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj["spec"].get("mutations") or ()), _param_kind(obj), age(obj, now)]


def _policy_binding(obj: Obj, now: datetime) -> Cells:
    reference = obj["spec"].get("paramRef")
    text = UNSET
    if reference:
        name = reference.get("name") or selector_text(reference.get("selector"))
        text = f"{reference['namespace']}/{name}" if reference.get("namespace") else name
    return [name_of(obj), obj["spec"].get("policyName", ""), text, age(obj, now)]


def _priority_level(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    limited = spec.get("limited") or spec.get("exempt") or {}
    queuing = limited.get("limitResponse", {}).get("queuing") or {}
    queues = [queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit")]
    shares = limited.get("nominalConcurrencyShares", NONE)
    return [name_of(obj), spec.get("type", ""), shares, *queues, age(obj, now)]


def _flow_schema(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    method = (spec.get("distinguisherMethod") or {}).get("type", NONE)
    conditions = obj.get("status", {}).get("conditions") or ()
    dangling = next((c["status"] for c in conditions if c["type"] == "Dangling"), "?")
    level = spec.get("priorityLevelConfiguration", {}).get("name", "")
    return [name_of(obj), level, spec.get("matchingPrecedence", 0), method, age(obj, now), dangling]


def _signing_request(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    words = [c["type"] for c in status.get("conditions") or () if c["type"] in ("Approved", "Denied", "Failed")]
    if status.get("certificate"):
        words.append("Issued")
    seconds = spec.get("expirationSeconds")
    duration = NONE if seconds is None else _long_duration(seconds)
    who = spec.get("username", "")
    return [name_of(obj), age(obj, now), spec.get("signerName") or NONE, who, duration, joined(words, "Pending")]


def _trust_bundle(obj: Obj, _now: datetime) -> Cells:
    return [name_of(obj), obj["spec"].get("signerName") or NONE]


def _long_duration(seconds: int) -> str:
    for size, unit in ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _ip_address(obj: Obj, _now: datetime) -> Cells:
    parent = obj["spec"].get("parentRef") or {}
    parts = [parent.get(name, "") for name in ("resource", "namespace", "name")]
    return [name_of(obj), "/".join(part for part in parts if part)]


def _service_cidr(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), joined(obj["spec"].get("cidrs") or ()), age(obj, now)]


def _api_service(obj: Obj, now: datetime) -> Cells:
    service = obj["spec"].get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    conditions = obj.get("status", {}).get("conditions") or ()
    available = next((c for c in conditions if c["type"] == "Available"), None)
    words = "Unknown" if available is None else available["status"]
    if available is not None and available["status"] != "True":
        words += f" ({available.get('reason', '')})"
    return [name_of(obj), where, words, age(obj, now)]


_BINDING = Printer(columns("Role", AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")), _role_binding)
_AUTOSCALER = Printer(columns("Reference", "Targets", "MinPods", "MaxPods", "Replicas", AGE), _autoscaler)
_WEBHOOKS = Printer(columns(integer("Webhooks"), AGE), _webhooks)
_POLICY_BINDING = Printer(columns("PolicyName", "ParamRef", AGE), _policy_binding)
_DRIVER_COLUMNS = (
    *(Column("AttachRequired", "boolean"), Column("PodInfoOnMount", "boolean"), Column("StorageCapacity", "boolean")),
    *("TokenRequests", Column("RequiresRepublish", "boolean"), "Modes", AGE),
)
_LEVEL_COLUMNS = ("Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", AGE)
_SIGNING_COLUMNS = (AGE, "SignerName", "Requestor", "RequestedDuration", "Condition")
_ATTACHMENT_COLUMNS = (Column("Attacher", format="name"), "PV", "Node", Column("Attached", "boolean"), AGE)
_PRIORITY_COLUMNS = (integer("Value"), Column("Global-Default", "boolean"), AGE, "PreemptionPolicy")
_STORAGE_COLUMNS = ("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", AGE)
_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

PRINTERS: dict[tuple[str, str], Printer] = {
    ("autoscaling", "HorizontalPodAutoscaler"): _AUTOSCALER,
    ("policy", "PodDisruptionBudget"): Printer(
        columns("Min Available", "Max Unavailable", integer("Allowed Disruptions"), AGE), _disruption_budget
    ),
    ("networking.k8s.io", "NetworkPolicy"): Printer(columns("Pod-Selector", AGE), _network_policy),
    ("networking.k8s.io", "Ingress"): Printer(columns("Class", "Hosts", "Address", "Ports", AGE), _ingress),
    ("networking.k8s.io", "IngressClass"): Printer(columns("Controller", "Parameters", AGE), _ingress_class),
    ("networking.k8s.io", "IPAddress"): Printer(columns("ParentRef"), _ip_address),
    ("networking.k8s.io", "ServiceCIDR"): Printer(columns("CIDRs", AGE), _service_cidr),
    ("discovery.k8s.io", "EndpointSlice"): Printer(columns("AddressType", "Ports", "Endpoints", AGE), _endpoint_slice),
    ("coordination.k8s.io", "Lease"): Printer(columns("Holder", AGE), _lease),
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    ("storage.k8s.io", "StorageClass"): Printer(columns(*_STORAGE_COLUMNS), _storage_class),
    ("storage.k8s.io", "CSIDriver"): Printer(columns(*_DRIVER_COLUMNS), _csi_driver),
    ("storage.k8s.io", "CSINode"): Printer(columns(integer("Drivers"), AGE), _csi_node),
    ("storage.k8s.io", "CSIStorageCapacity"): Printer(columns("StorageClassName", "Capacity", AGE), _csi_capacity),
    ("storage.k8s.io", "VolumeAttachment"): Printer(columns(*_ATTACHMENT_COLUMNS), _volume_attachment),
    ("storage.k8s.io", "VolumeAttributesClass"): Printer(columns("DriverName", AGE), _attributes_class),
    ("scheduling.k8s.io", "PriorityClass"): Printer(columns(*_PRIORITY_COLUMNS), _priority_class),
    ("node.k8s.io", "RuntimeClass"): Printer(columns("Handler", AGE), _runtime_class),
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): Printer(
        columns(integer("Validations"), "ParamKind", AGE), _validating_policy
    ),
    (_ADMISSION, "MutatingAdmissionPolicy"): Printer(columns(integer("Mutations"), "ParamKind", AGE), _mutating_policy),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _POLICY_BINDING,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): _POLICY_BINDING,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Printer(columns(*_LEVEL_COLUMNS), _priority_level),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Printer(
        columns("PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", AGE, "MissingPL"), _flow_schema
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer(columns(*_SIGNING_COLUMNS), _signing_request),
    ("certificates.k8s.io", "ClusterTrustBundle"): Printer(columns("SignerName"), _trust_bundle),
    ("apiregistration.k8s.io", "APIService"): Printer(columns("Service", "Available", AGE), _api_service),
}
