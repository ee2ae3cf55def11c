"""What objects cost a ResourceQuota, and which quotas count them: shared by admission and the controller. Pure.

Source: upstream's pkg/quota/v1 and its evaluators of pods, services, claims and object counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sparsam.objects import podresources
from sparsam.objects.kinds import EVENTS, PERSISTENTVOLUMECLAIMS, PODS, RESOURCES, SERVICES, Resource
from sparsam.objects.podresources import Amounts, added, amounts
from sparsam.objects.quantity import Amount, amount
from sparsam.objects.strategies.pod import qos_class
from sparsam.objects.strategies.resources import is_extended, is_native

Obj = dict[str, Any]

ONE, NONE = Amount(Decimal(1)), Amount()
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_POD_NAMES = frozenset(
    {"count/pods", "pods", *_COMPUTE}
    | {f"requests.{name}" for name in _COMPUTE}
    | {f"limits.{name}" for name in _COMPUTE}
)
_POD_PREFIXES = ("hugepages-", "requests.hugepages-")
_MUST_BE_STATED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_SERVICE_NAMES = frozenset({"count/services", "services", "services.nodeports", "services.loadbalancers"})
_CLAIM_NAMES = ("persistentvolumeclaims", "requests.storage")
_BY_CLASS = ".storageclass.storage.k8s.io/"
_OLD_COUNTS = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def count_name(resource: Resource) -> str:
    """What the plain number of a resource's objects is called in a quota."""
    return f"count/{resource.group_resource}"


def is_counted(resource: Resource) -> bool:
    """Whether quotas can count the resource at all; events are left out, as upstream configures it."""
    stored = {"create", "list", "watch", "delete"} <= set(resource.verbs)
    return resource.namespaced and stored and resource.storage_prefix != EVENTS.storage_prefix


def matching(resource: Resource, names: Iterable[str]) -> list[str]:
    """Those names of a quota that objects of the resource count towards."""
    if resource is PODS:
        return [name for name in names if name in _POD_NAMES or name.startswith(_POD_PREFIXES) or _is_foreign(name)]
    if resource is SERVICES:
        return [name for name in names if name in _SERVICE_NAMES]
    if resource is PERSISTENTVOLUMECLAIMS:
        endings = tuple(_BY_CLASS + name for name in _CLAIM_NAMES)
        plain = (count_name(resource), *_CLAIM_NAMES)
        return [name for name in names if name in plain or name.endswith(endings)]
    known = (count_name(resource), *([resource.plural] if _has_old_count(resource) else []))
    return [name for name in names if name in known]


def _is_foreign(name: str) -> bool:
    return not is_native(name) and name.startswith("requests.")


def _has_old_count(resource: Resource) -> bool:
    return not resource.group and resource.plural in _OLD_COUNTS


def counted_by(names: Iterable[str], custom: Iterable[Resource] = ()) -> list[Resource]:
    """The resources, these custom ones among them, that a quota with these names has to look at, each once."""
    wanted = list(names)
    found: dict[str, Resource] = {}
    for resource in (*RESOURCES, *custom):
        if is_counted(resource) and matching(resource, wanted):
            found.setdefault(resource.storage_prefix, resource)
    return list(found.values())


def usage(resource: Resource, obj: Obj, now: datetime) -> Amounts:
    """What one object costs."""
    if resource is PODS:
        return _pod_usage(obj, now)
    if resource is SERVICES:
        return _service_usage(obj)
    if resource is PERSISTENTVOLUMECLAIMS:
        return _claim_usage(obj)
    return {count_name(resource): ONE, **({resource.plural: ONE} if _has_old_count(resource) else {})}


def _pod_usage(pod: Obj, now: datetime) -> Amounts:
    """Pods that ended, or should have, are counted as objects but cost nothing more."""
    if not occupies(pod, now):
        return {"count/pods": ONE}
    spec, status = pod["spec"], pod.get("status") or {}
    requests = podresources.of_spec(spec, "requests", overhead=True, status=status)
    limits = podresources.of_spec(spec, "limits", overhead=True, status=status)
    return {"count/pods": ONE, **_compute(requests, limits)}


def occupies(pod: Obj, now: datetime) -> bool:
    """Whether the pod holds what it asked for: it has not ended, nor is it overdue to go."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    metadata = pod["metadata"]
    grace = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in metadata or grace is None:
        return True
    return now <= datetime.fromisoformat(metadata["deletionTimestamp"]) + timedelta(seconds=grace)


def _compute(requests: Mapping[str, Amount], limits: Mapping[str, Amount]) -> Amounts:
    found = {"pods": ONE}
    for name in _COMPUTE:
        if name in requests:
            found[name] = found[f"requests.{name}"] = requests[name]
        if name in limits:
            found[f"limits.{name}"] = limits[name]
    for name, value in requests.items():
        if name.startswith("hugepages-"):
            found[name] = found[f"requests.{name}"] = value
        elif is_extended(name):
            found[f"requests.{name}"] = value
    return found


def _service_usage(service: Obj) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    node_ports = balancers = 0
    if spec.get("type") == "NodePort":
        node_ports = len(ports)
    elif spec.get("type") == "LoadBalancer":
        balancers = 1
        asked = sum(bool(port.get("nodePort")) for port in ports)
        node_ports = asked if spec.get("allocateLoadBalancerNodePorts") is False else len(ports)
    return {
        "count/services": ONE,
        "services": ONE,
        "services.loadbalancers": Amount(Decimal(balancers)),
        "services.nodeports": Amount(Decimal(node_ports)),
    }


def _claim_usage(claim: Obj) -> Amounts:
    found = {"count/persistentvolumeclaims": ONE, "persistentvolumeclaims": ONE}
    spec = claim.get("spec") or {}
    annotations = claim["metadata"].get("annotations") or {}
    storage_class = annotations.get(_CLASS_ANNOTATION) or spec.get("storageClassName") or ""
    if storage_class:
        found[f"{storage_class}{_BY_CLASS}persistentvolumeclaims"] = ONE
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is not None:
        size = _whole(amount(asked))
        given = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        if given is not None and amount(given).value > size.value:
            size = _whole(amount(given))
        found["requests.storage"] = size
        if storage_class:
            found[f"{storage_class}{_BY_CLASS}requests.storage"] = size
    return found


def _whole(size: Amount) -> Amount:
    return Amount(size.value.to_integral_value(rounding=ROUND_CEILING), size.style)


# -- scopes ---------------------------------------------------------------------------------------------------


def scopes_of(quota: Obj) -> list[Obj]:
    """A quota's scopes and scope selector as one list of requirements."""
    spec = quota.get("spec") or {}
    plain = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    return [*plain, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def in_scope(quota: Obj, resource: Resource, obj: Obj) -> bool:
    """Whether all scopes of a quota hold for an object; those of pods hold for nothing else."""
    scopes = scopes_of(quota)
    if not scopes:
        return True
    if resource is PODS:
        return all(_pod_in(scope, obj) for scope in scopes)
    if resource is PERSISTENTVOLUMECLAIMS:
        return all(_claim_in(scope, obj) for scope in scopes)
    return False


def _pod_in(scope: Obj, pod: Obj) -> bool:
    spec, name = pod["spec"], scope["scopeName"]
    if name in ("Terminating", "NotTerminating"):
        deadline = spec.get("activeDeadlineSeconds")
        return (deadline is not None and deadline >= 0) is (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        quality = (pod.get("status") or {}).get("qosClass") or qos_class(spec)
        return (quality == "BestEffort") is (name == "BestEffort")
    if name == "PriorityClass":
        return _selects(scope, {spec["priorityClassName"]} if spec.get("priorityClassName") else set())
    return name == "CrossNamespacePodAffinity" and _reaches_out(spec)


def _claim_in(scope: Obj, claim: Obj) -> bool:
    status = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return scope["scopeName"] == "VolumeAttributesClass" and _selects(scope, {name for name in names if name})


def _selects(scope: Obj, names: set[str]) -> bool:
    """Whether one of the names satisfies the requirement; without a name, whether its absence does."""
    wanted = set(scope.get("values") or ())
    match scope["operator"]:
        case "In":
            return bool(names & wanted)
        case "NotIn":
            return not names or bool(names - wanted)
        case "Exists":
            return bool(names)
    return not names


def _reaches_out(spec: Obj) -> bool:
    """Whether an affinity term looks at pods of other namespaces."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        terms = list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [weighted.get("podAffinityTerm") or {} for weighted in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


# -- quotas ---------------------------------------------------------------------------------------------------


def unstated(names: Iterable[str], pod: Obj) -> str:
    """What a pod must say and does not, when a quota counts CPU or memory; empty when nothing is missing."""
    wanted = _MUST_BE_STATED & set(names)
    lacking: dict[str, set[str]] = {}
    spec = pod["spec"]
    whole = spec.get("resources") or {}
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        own = container.get("resources") or {}
        known = _compute(
            amounts(own.get("requests")) | amounts(whole.get("requests")),
            amounts(own.get("limits")) | amounts(whole.get("limits")),
        )
        for name in wanted - known.keys():
            lacking.setdefault(name, set()).add(container["name"])
    if not lacking:
        return ""
    return "must specify " + "; ".join(f"{name} for: {','.join(sorted(lacking[name]))}" for name in sorted(lacking))


def total(quota: Obj, objects: Mapping[Resource, Iterable[Obj]], now: datetime) -> Amounts:
    """What the objects of a namespace cost a quota together; names that nobody counts are left out."""
    hard = list((quota.get("spec") or {}).get("hard") or {})
    found: Amounts = {}
    for resource, items in objects.items():
        names = matching(resource, hard)
        sums = dict.fromkeys(names, NONE)
        for obj in items:
            if in_scope(quota, resource, obj):
                cost = usage(resource, obj, now)
                sums = added(sums, {name: cost[name] for name in names if name in cost})
        found = added(found, sums)
    return {name: found[name] for name in hard if name in found}
