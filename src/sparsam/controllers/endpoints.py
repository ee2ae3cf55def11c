"""Which pods stand behind a Service: EndpointSlices for the proxies, Endpoints for older readers, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sparsam.controllers.endpoints_plan import (
    ENDPOINTS_MANAGED_LABEL,
    MANAGED_LABEL,
    MANAGER,
    SERVICE_LABEL,
    SlicePlan,
    plan_endpoints,
    plan_slices,
)
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of, own_key
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import ENDPOINTS, ENDPOINTSLICES, NODES, PODS, SERVICES, Resource

ZONE_LABEL = "topology.kubernetes.io/zone"


class EndpointsController:
    """Keyed by Service."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informer(SERVICES)
        self._pods = context.informer(PODS)
        self._slices = context.informer(ENDPOINTSLICES)
        self._endpoints = context.informer(ENDPOINTS)
        self._nodes = context.informer(NODES)
        self._zones: dict[str, str] = {}
        self._pods.add_index("label", _labels_of)
        self._pods.add_index("node", lambda pod: [pod["spec"].get("nodeName", "")])
        self._services.add_index("selector", _first_of_selector)
        self._slices.add_index("service", _service_of_slice)
        self.controller = Controller("endpointslice", context, self.sync)
        self.controller.watch(self._services, own_key)
        self.controller.watch(self._pods, self._services_of_pod)
        self.controller.watch(self._slices, _managed_service)
        self.controller.needs(self._endpoints)
        self.controller.needs(self._nodes)
        self._nodes.add_handler(self._node_changed)

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
        pods = self._selected(namespace, selector)
        await self._apply_slices(plan_slices(service, pods, self._zones, self._managed_slices(namespace, name)))
        await self._apply_endpoints(service, plan_endpoints(service, pods))

    def _selected(self, namespace: str, selector: Mapping[str, str]) -> list[Obj]:
        by_label = (self._pods.by_index("label", f"{namespace}/{key}={value}") for key, value in selector.items())
        return [pod for pod in min(by_label, key=len) if _selects(selector, pod)]

    async def _apply_slices(self, plan: SlicePlan) -> None:
        for each in plan.update:
            await self._client.update(ENDPOINTSLICES, _typed(ENDPOINTSLICES, each))
        for each in plan.create:
            await self._client.create(ENDPOINTSLICES, _typed(ENDPOINTSLICES, each))
        for each in plan.delete:
            await _delete(self._client.delete(ENDPOINTSLICES, each["metadata"]["name"], each["metadata"]["namespace"]))

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
        """A Service that selects a pod has the first part of its selector among the pod's labels."""
        services = (each for label in _labels_of(pod) for each in self._services.by_index("selector", label))
        return [key_of(each) for each in services if _selects(each["spec"].get("selector"), pod)]

    def _node_changed(self, _kind: str, _old: Obj | None, node: Obj | None) -> None:
        """Endpoints say in which zone their node is."""
        if node is None:
            return
        name = node["metadata"]["name"]
        zone = (node["metadata"].get("labels") or {}).get(ZONE_LABEL, "")
        if zone != self._zones.get(name, ""):
            self._zones[name] = zone
            for pod in self._pods.by_index("node", name):
                for key in self._services_of_pod(pod):
                    self.controller.queue.add(key)


def _labels_of(pod: Obj) -> list[str]:
    namespace = pod["metadata"]["namespace"]
    return [f"{namespace}/{key}={value}" for key, value in (pod["metadata"].get("labels") or {}).items()]


def _first_of_selector(service: Obj) -> list[str]:
    selector = service["spec"].get("selector") or {}
    return [f"{service['metadata']['namespace']}/{key}={selector[key]}" for key in sorted(selector)[:1]]


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
