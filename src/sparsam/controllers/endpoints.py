"""Which pods stand behind a Service: EndpointSlices for the proxies, Endpoints for older readers. One pass makes both.

Source: KEP-752 (EndpointSlice), KEP-1672 (terminating endpoints).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sparsam.client.informer import Informer
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_reference, key_of, own_key
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES, Resource

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


def endpoint_of(pod: Obj, service: Obj) -> Endpoint | None:
    """The pod as an endpoint, or None while it has no address or after it ended."""
    status, metadata = pod.get("status", {}), pod["metadata"]
    ip = status.get("podIP")
    if not ip or status.get("phase") in ("Succeeded", "Failed"):
        return None
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    terminating = "deletionTimestamp" in metadata
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    named = pod["spec"].get("subdomain") == service["metadata"]["name"]
    return Endpoint(
        ip=ip,
        ready=publish or (ready and not terminating),
        serving=ready,
        terminating=terminating,
        node=pod["spec"].get("nodeName", ""),
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


def plan_slices(service: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """The slices that a Service should have, without names: like ports together, a hundred endpoints at most each."""
    by_ports: dict[Ports, list[Endpoint]] = {}
    for pod in sorted(pods, key=key_of):
        endpoint = endpoint_of(pod, service)
        if endpoint is not None:
            by_ports.setdefault(ports_of(service, pod), []).append(endpoint)
    slices: list[Obj] = []
    for ports, endpoints in sorted(by_ports.items(), key=lambda item: str(item[0])):
        starts = range(0, len(endpoints), SLICE_ENDPOINTS)
        slices += [_slice(service, ports, endpoints[start : start + SLICE_ENDPOINTS]) for start in starts]
    return slices or [_slice(service, (), [])]


def plan_endpoints(service: Obj, pods: Iterable[Obj]) -> Obj:
    """The Endpoints object that a Service should have."""
    by_ports: dict[Ports, tuple[list[Endpoint], list[Endpoint]]] = {}
    for pod in sorted(pods, key=key_of):
        endpoint = endpoint_of(pod, service)
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


def _slice(service: Obj, ports: Ports, endpoints: list[Endpoint]) -> Obj:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    return {
        "metadata": {
            "generateName": f"{name}-",
            "namespace": namespace,
            "labels": {**_inherited_labels(service), SERVICE_LABEL: name, MANAGED_LABEL: MANAGER},
            "ownerReferences": [controller_reference(service, SERVICES)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(each, namespace) for each in endpoints],
        "ports": _port_list(ports),
    }


def _inherited_labels(service: Obj) -> dict[str, str]:
    labels = dict(service["metadata"].get("labels") or {})
    for key in (SERVICE_LABEL, MANAGED_LABEL, SKIP_MIRROR_LABEL):
        labels.pop(key, None)
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def _endpoint(endpoint: Endpoint, namespace: str) -> Obj:
    conditions = {"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating}
    described: Obj = {"addresses": [endpoint.ip], "conditions": conditions}
    if endpoint.hostname:
        described["hostname"] = endpoint.hostname
    if endpoint.node:
        described["nodeName"] = endpoint.node
    return {**described, "targetRef": _pod_reference(endpoint, namespace)}


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


class EndpointsController:
    """Keyed by Service."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informer(SERVICES)
        self._pods = context.informer(PODS)
        self._slices = context.informer(ENDPOINTSLICES)
        self._endpoints = context.informer(ENDPOINTS)
        self._pods.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        self._services.add_index("namespace", lambda service: [service["metadata"]["namespace"]])
        self._slices.add_index("service", _service_of_slice)
        self.controller = Controller("endpointslice", context, self.sync)
        self.controller.watch(self._services, own_key)
        self.controller.watch(self._pods, self._services_of_pod)
        self.controller.watch(self._slices, _managed_service)
        self.controller.needs(self._endpoints)

    async def sync(self, key: Key) -> None:
        """Make slices and Endpoints of one Service what they should be."""
        namespace, name = key
        service = self._services.get(namespace, name)
        if service is None:
            await self._remove_all(namespace, name)
            return
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return
        pods = [pod for pod in self._pods.by_index("namespace", namespace) if _selects(selector, pod)]
        await self._apply_slices(service, plan_slices(service, pods))
        await self._apply_endpoints(service, plan_endpoints(service, pods))

    async def _apply_slices(self, service: Obj, wanted: list[Obj]) -> None:
        """Reuse slices in place, those that are right already first, so that readers see few changes."""
        namespace, name = key_of(service)
        have = sorted(self._managed_slices(namespace, name), key=key_of)
        missing = []
        for each in wanted:
            same = next((old for old in have if _content(old) == _content(each)), None)
            if same is None:
                missing.append(each)
            else:
                have.remove(same)
        for each in missing:
            if have:
                old = have.pop(0)
                kept = {key: old["metadata"][key] for key in ("name", "resourceVersion", "uid")}
                metadata = {**each["metadata"], **kept}
                del metadata["generateName"]
                await self._client.update(ENDPOINTSLICES, _typed(ENDPOINTSLICES, {**each, "metadata": metadata}))
            else:
                await self._client.create(ENDPOINTSLICES, _typed(ENDPOINTSLICES, each))
        for old in have:
            await _delete(self._client.delete(ENDPOINTSLICES, old["metadata"]["name"], namespace))

    async def _apply_endpoints(self, service: Obj, wanted: Obj) -> None:
        known = self._endpoints.get(*key_of(service))
        if known is None:
            try:
                await self._client.create(ENDPOINTS, _typed(ENDPOINTS, wanted))
            except AlreadyExists:
                return
        elif _endpoints_content(known) != _endpoints_content(wanted):
            version = {"resourceVersion": known["metadata"]["resourceVersion"]}
            metadata = {**wanted["metadata"], **version}
            await self._client.update(ENDPOINTS, _typed(ENDPOINTS, {**wanted, "metadata": metadata}))

    async def _remove_all(self, namespace: str, name: str) -> None:
        for each in self._managed_slices(namespace, name):
            await _delete(self._client.delete(ENDPOINTSLICES, each["metadata"]["name"], namespace))
        known = self._endpoints.get(namespace, name)
        if known is not None and (known["metadata"].get("labels") or {}).get(ENDPOINTS_MANAGED_LABEL):
            await _delete(self._client.delete(ENDPOINTS, name, namespace))

    def _managed_slices(self, namespace: str, name: str) -> list[Obj]:
        return [each for each in self._slices.by_index("service", f"{namespace}/{name}") if _managed_service(each)]

    def _services_of_pod(self, pod: Obj) -> list[Key]:
        services = _in_namespace(self._services, pod["metadata"]["namespace"])
        return [key_of(each) for each in services if _selects(each["spec"].get("selector"), pod)]


def _in_namespace(informer: Informer, namespace: str) -> list[Obj]:
    return informer.by_index("namespace", namespace)


def _selects(selector: Mapping[str, str] | None, pod: Obj) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def _service_of_slice(each: Obj) -> list[str]:
    name = (each["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return [f"{each['metadata']['namespace']}/{name}"] if name else []


def _managed_service(each: Obj) -> list[Key]:
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_LABEL) != MANAGER or SERVICE_LABEL not in labels:
        return []
    return [(each["metadata"]["namespace"], labels[SERVICE_LABEL])]


def _content(each: Obj) -> bytes:
    parts = (each["metadata"].get("labels"), each.get("endpoints") or [], each.get("ports") or [])
    return msgspec.json.encode(parts, order="sorted")


def _endpoints_content(each: Obj) -> bytes:
    subsets = each.get("subsets") or []
    return msgspec.json.encode((each["metadata"].get("labels"), subsets), order="sorted")


def _typed(resource: Resource, obj: Obj) -> Obj:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


async def _delete(deleting: Any) -> None:
    try:
        await deleting
    except NotFound:
        return
