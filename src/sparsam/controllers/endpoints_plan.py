"""What the EndpointSlices and the Endpoints of a Service should say. Pure.

Source: KEP-752 (EndpointSlice), KEP-1672 (terminating endpoints), KEP-3015 (traffic distribution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sparsam.controllers.runtime import Obj, controller_reference, key_of
from sparsam.objects.kinds import SERVICES

SLICE_ENDPOINTS = 100
ENDPOINTS_CAPACITY = 1000
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"
HEADLESS_LABEL = "service.kubernetes.io/headless"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
TRUNCATED_ANNOTATION = "endpoints.kubernetes.io/over-capacity"

PREFER_NODE = "PreferSameNode"
PREFER_ZONE = ("PreferSameZone", "PreferClose")
NOWHERE: Mapping[str, str] = {}

Ports = tuple[tuple[str, int | None, str, str | None], ...]
"""(name, number, protocol, appProtocol) of each port."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod behind a Service."""

    ip: str
    ready: bool
    serving: bool
    terminating: bool
    node: str
    pod: str
    pod_uid: str
    hostname: str
    zone: str = ""


def families_of(service: Obj) -> list[str]:
    """The address families of a Service's endpoints, the main one first."""
    families: list[str] = service["spec"].get("ipFamilies") or ["IPv4"]
    return families


def endpoint_of(pod: Obj, service: Obj, zones: Mapping[str, str], family: str) -> Endpoint | None:
    """The pod as an endpoint, or None while it has no address of the family or after it ended.

    `zones` are those of nodes.
    """
    status, metadata = pod.get("status", {}), pod["metadata"]
    ips = (each["ip"] for each in status.get("podIPs") or ())
    ip = next((each for each in ips if (":" in each) == (family == "IPv6")), None)
    if not ip or status.get("phase") in ("Succeeded", "Failed"):
        return None
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    terminating = "deletionTimestamp" in metadata
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    node = pod["spec"].get("nodeName", "")
    named = pod["spec"].get("subdomain") == service["metadata"]["name"]
    return Endpoint(
        ip=ip,
        ready=publish or (ready and not terminating),
        serving=ready,
        terminating=terminating,
        node=node,
        zone=zones.get(node, ""),
        pod=metadata["name"],
        pod_uid=metadata.get("uid", ""),
        hostname=pod["spec"].get("hostname", "") if named else "",
    )


def ports_of(service: Obj, pod: Obj) -> Ports:
    """The Service's ports as this pod offers them; a named target that it lacks is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = _target_number(port, pod)
        if number is not None:
            found.append((port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol")))
    return tuple(found)


def _target_number(port: Mapping[str, Any], pod: Obj) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *sidecars]:
        for offered in container.get("ports") or ():
            same_protocol = offered.get("protocol", "TCP") == port.get("protocol", "TCP")
            if offered.get("name") == target and same_protocol:
                return int(offered["containerPort"])
    return None


@dataclass(slots=True)
class SlicePlan:
    """What to do to the slices of a Service. New ones have no name, changed ones keep theirs."""

    create: list[Obj] = field(default_factory=list)
    update: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)


def plan_slices(
    service: Obj, pods: Iterable[Obj], zones: Mapping[str, str] = NOWHERE, have: Iterable[Obj] = ()
) -> SlicePlan:
    """Bring slices in step: like ports together, a hundred endpoints at most each, and as few changes as can be.

    Endpoints stay in the slice where they are; new ones fill slices that change anyway, then the fullest others. So
    a change of one pod is a change of one slice of each family, however many endpoints the Service has.
    """
    pods, have, families = list(pods), list(have), families_of(service)
    whole = SlicePlan(delete=[each for each in have if each["addressType"] not in families])
    for family in families:
        plan = _plan_family(service, pods, zones, family, [each for each in have if each["addressType"] == family])
        whole.create += plan.create
        whole.update += plan.update
        whole.delete += plan.delete
    return whole


def _plan_family(
    service: Obj, pods: Iterable[Obj], zones: Mapping[str, str], family: str, have: Iterable[Obj]
) -> SlicePlan:
    by_ports: dict[Ports, dict[str, Obj]] = {}
    for pod in sorted(pods, key=key_of):
        endpoint = endpoint_of(pod, service, zones, family)
        if endpoint is not None:
            described = _endpoint(endpoint, service["metadata"]["namespace"], _distribution(service))
            by_ports.setdefault(ports_of(service, pod), {})[endpoint.pod] = described
    plan = SlicePlan()
    left = sorted(have, key=key_of)
    for ports, endpoints in sorted(by_ports.items(), key=lambda item: str(item[0])):
        listed = _port_list(ports)
        mine = [each for each in left if (each.get("ports") or []) == listed]
        left = [each for each in left if (each.get("ports") or []) != listed]
        left += _fill(partial(_slice, service, family, ports), endpoints, mine, plan)
    if not by_ports:
        plan.create.append(_slice(service, family, (), []))
    _reuse(left, plan)
    return plan


def _fill(make: Callable[[list[Obj]], Obj], endpoints: dict[str, Obj], mine: list[Obj], plan: SlicePlan) -> list[Obj]:
    """Plan the slices of one set of ports; returns those that came out empty."""
    fresh = dict(endpoints)
    parts = []
    for old in mine:
        kept = [fresh.pop(name) for each in old.get("endpoints") or () if (name := _pod_of(each)) in fresh]
        parts.append((old, kept, kept == (old.get("endpoints") or [])))
    # Changed slices first, then full ones.
    parts.sort(key=lambda part: (part[2], -len(part[1])))
    rest, empty = list(fresh.values()), []
    for old, kept, _ in parts:
        room = SLICE_ENDPOINTS - len(kept)
        kept += rest[:room]
        rest = rest[room:]
        if not kept:
            empty.append(old)
            continue
        new = make(kept)
        if _content(new) != _content(old):
            plan.update.append(_renamed(new, old))
    starts = range(0, len(rest), SLICE_ENDPOINTS)
    plan.create += [make(rest[start : start + SLICE_ENDPOINTS]) for start in starts]
    return empty


def _reuse(left: list[Obj], plan: SlicePlan) -> None:
    """What would be made and what would go cancel each other out: readers see a change instead of both."""
    same = next((old for old in left if plan.create and _content(old) == _content(plan.create[0])), None)
    if same is not None:
        left.remove(same)
        del plan.create[0]
    while left and plan.create:
        plan.update.append(_renamed(plan.create.pop(), left.pop()))
    plan.delete += left


def _renamed(new: Obj, old: Obj) -> Obj:
    kept = {key: old["metadata"][key] for key in ("name", "resourceVersion", "uid") if key in old["metadata"]}
    metadata = {**new["metadata"], **kept}
    del metadata["generateName"]
    return {**new, "metadata": metadata}


def _content(each: Obj) -> tuple[Any, ...]:
    return each["metadata"].get("labels"), each.get("endpoints") or [], each.get("ports") or []


def _pod_of(endpoint: Obj) -> str:
    name: str = (endpoint.get("targetRef") or {}).get("name", "")
    return name


def _distribution(service: Obj) -> str:
    distribution: str = service["spec"].get("trafficDistribution") or ""
    return distribution


def plan_endpoints(service: Obj, pods: Iterable[Obj]) -> Obj:
    """The Endpoints object that a Service should have, in its main address family."""
    by_ports: dict[Ports, tuple[list[Endpoint], list[Endpoint]]] = {}
    for pod in sorted(pods, key=key_of):
        endpoint = endpoint_of(pod, service, NOWHERE, families_of(service)[0])
        if endpoint is None or (endpoint.terminating and not endpoint.ready):
            continue
        ready, waiting = by_ports.setdefault(ports_of(service, pod), ([], []))
        (ready if endpoint.ready else waiting).append(endpoint)
    labels = {**_inherited_labels(service), ENDPOINTS_MANAGED_LABEL: ENDPOINTS_MANAGER}
    metadata: Obj = {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]}
    metadata["labels"] = labels
    room = ENDPOINTS_CAPACITY
    subsets = []
    for ports, (ready, waiting) in sorted(by_ports.items(), key=lambda item: str(item[0])):
        kept_ready, kept_waiting = ready[:room], waiting[: max(room - len(ready), 0)]
        room -= len(kept_ready) + len(kept_waiting)
        if len(kept_ready) + len(kept_waiting) < len(ready) + len(waiting):
            metadata["annotations"] = {TRUNCATED_ANNOTATION: "truncated"}
        subset: Obj = {}
        namespace = service["metadata"]["namespace"]
        if kept_ready:
            subset["addresses"] = [_address(each, namespace) for each in kept_ready]
        if kept_waiting:
            subset["notReadyAddresses"] = [_address(each, namespace) for each in kept_waiting]
        if subset:
            subsets.append({**subset, **({"ports": _port_list(ports)} if ports else {})})
    return {"metadata": metadata, **({"subsets": subsets} if subsets else {})}


def _slice(service: Obj, family: str, ports: Ports, endpoints: list[Obj]) -> Obj:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    return {
        "metadata": {
            "generateName": f"{name}-",
            "namespace": namespace,
            "labels": {**_inherited_labels(service), SERVICE_LABEL: name, MANAGED_LABEL: MANAGER},
            "ownerReferences": [controller_reference(service, SERVICES)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": _port_list(ports),
    }


def _inherited_labels(service: Obj) -> dict[str, str]:
    labels = dict(service["metadata"].get("labels") or {})
    for key in (SERVICE_LABEL, MANAGED_LABEL, SKIP_MIRROR_LABEL):
        labels.pop(key, None)
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def _endpoint(endpoint: Endpoint, namespace: str, distribution: str) -> Obj:
    conditions = {"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating}
    described: Obj = {"addresses": [endpoint.ip], "conditions": conditions}
    if endpoint.hostname:
        described["hostname"] = endpoint.hostname
    if endpoint.node:
        described["nodeName"] = endpoint.node
    if endpoint.zone:
        described["zone"] = endpoint.zone
    if hints := hints_of(endpoint, distribution):
        described["hints"] = hints
    return {**described, "targetRef": _pod_reference(endpoint, namespace)}


def hints_of(endpoint: Endpoint, distribution: str) -> Obj:
    """For whom a Service's traffic distribution keeps an endpoint: its own zone, and its own node."""
    if not endpoint.ready or distribution not in (PREFER_NODE, *PREFER_ZONE):
        return {}
    hints: Obj = {}
    if distribution == PREFER_NODE and endpoint.node:
        hints["forNodes"] = [{"name": endpoint.node}]
    if endpoint.zone:
        hints["forZones"] = [{"name": endpoint.zone}]
    return hints


def _address(endpoint: Endpoint, namespace: str) -> Obj:
    described: Obj = {"ip": endpoint.ip}
    if endpoint.hostname:
        described["hostname"] = endpoint.hostname
    if endpoint.node:
        described["nodeName"] = endpoint.node
    return {**described, "targetRef": _pod_reference(endpoint, namespace)}


def _pod_reference(endpoint: Endpoint, namespace: str) -> Obj:
    return {"kind": "Pod", "namespace": namespace, "name": endpoint.pod, "uid": endpoint.pod_uid}


def _port_list(ports: Ports) -> list[Obj]:
    described = []
    for name, number, protocol, application in ports:
        port: Obj = {"name": name, "port": number, "protocol": protocol}
        described.append({**port, **({"appProtocol": application} if application else {})})
    return described
