"""What every cluster has from the first second.

The four namespaces, the two system priority classes, the default roles, the `kubernetes` Service with its endpoints,
and the range of addresses that Services have.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from typing import Any

from sparsam.apiserver import conversion
from sparsam.apiserver.admission.priority import SYSTEM_CLASSES
from sparsam.apiserver.aggregation.apiservices import UNLISTED, local_api_service
from sparsam.apiserver.authentication import User
from sparsam.apiserver.config import ApiServerConfig
from sparsam.apiserver.defaultroles import (
    AUTHENTICATION_CONFIG,
    AUTHENTICATION_READER,
    AUTOUPDATE,
    default_bindings,
    default_roles,
)
from sparsam.apiserver.pki import FRONT_PROXY_CLIENT
from sparsam.apiserver.registry import Call, Registry
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import (
    APISERVICES,
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    NAMESPACES,
    PRIORITYCLASSES,
    RESOURCES,
    ROLES,
    SERVICECIDRS,
    SERVICES,
    Resource,
)
from sparsam.objects.strategy import Obj

SELF = User("system:apiserver", ("system:masters",))
DEFAULT_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")

_USES = {
    "system-cluster-critical": "must run in the cluster, but can be moved to another node if necessary",
    "system-node-critical": "must not be moved from their current node",
}
_LABELS = {"component": "apiserver", "provider": "kubernetes"}
_SLICE_LABELS = {"kubernetes.io/service-name": "kubernetes"}


async def bootstrap(registry: Registry, config: ApiServerConfig) -> None:
    """Create what is missing; bring the endpoints up to date. A server on loopback alone has none."""
    for name in DEFAULT_NAMESPACES:
        await _ensure(registry, NAMESPACES, {"metadata": {"name": name}})
    for name, value in SYSTEM_CLASSES.items():
        description = f"Used for system critical pods that {_USES[name]}."
        await _ensure(
            registry, PRIORITYCLASSES, {"metadata": {"name": name}, "value": value, "description": description}
        )
    await asyncio.gather(*(_grant(registry, CLUSTERROLES, role, "rules") for role in default_roles()))
    await asyncio.gather(*(_grant(registry, CLUSTERROLEBINDINGS, each, "subjects") for each in default_bindings()))
    await _ensure_aggregation(registry, config)
    await _ensure_range(registry, config)
    await _ensure(registry, SERVICES, _service(config))
    host, port = config.advertised
    if ip_address(host).is_loopback or ip_address(host).is_unspecified:
        # Nothing but this machine could follow such endpoints, and Kubernetes forbids them.
        return
    await _ensure(registry, ENDPOINTS, _endpoints(host, port), keep="subsets")
    await _ensure(registry, ENDPOINTSLICES, _endpoint_slice(host, port), keep="endpoints")


async def _ensure_aggregation(registry: Registry, config: ApiServerConfig) -> None:
    """What servers of other groups read of this one, and the APIServices of our own groups."""
    await _ensure(registry, CONFIGMAPS, _authentication(config), keep="data")
    await _ensure(registry, ROLES, AUTHENTICATION_READER)
    groups = {(each.group, each.version): each for each in RESOURCES if each.group not in UNLISTED}
    await asyncio.gather(*(_ensure(registry, APISERVICES, local_api_service(*each)) for each in groups))


def _authentication(config: ApiServerConfig) -> Obj:
    """By what authority users, and this server when it passes on requests, are known. Source: upstream's ConfigMap."""
    data = {
        "client-ca-file": (config.pki_dir / "ca.crt").read_text(),
        "requestheader-allowed-names": f'["{FRONT_PROXY_CLIENT.user}"]',
        "requestheader-client-ca-file": (config.pki_dir / "front-proxy-ca.crt").read_text(),
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }
    return {"metadata": {"name": AUTHENTICATION_CONFIG, "namespace": "kube-system"}, "data": data}


async def _grant(registry: Registry, resource: Resource, obj: Obj, field: str) -> None:
    """Create a default role or binding; to an existing one add what it lacks, unless its owner forbade that."""
    name = obj["metadata"]["name"]
    try:
        entry = await registry.get(resource, name, "")
    except NotFound:
        await _ensure(registry, resource, obj)
        return
    found = conversion.decode(resource, entry.value, entry.revision)
    metadata, missing = (
        found["metadata"],
        [each for each in obj.get(field) or () if each not in (found.get(field) or ())],
    )
    if not missing or (metadata.get("annotations") or {}).get(AUTOUPDATE) != "true":
        return

    def add(old: Obj) -> None:
        old[field] = [*(old.get(field) or ()), *missing]

    await registry.mutate(Call(resource, "", name, SELF), add)


async def _ensure_range(registry: Registry, config: ApiServerConfig) -> None:
    """The ServiceCIDR of this server, which is ready unless an earlier server had another one."""
    cidrs, now = list(config.service_cidrs), registry.now()
    await _ensure(registry, SERVICECIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}})

    def be_ready(found: Obj) -> None:
        if found["spec"]["cidrs"] == cidrs and not (found.get("status") or {}).get("conditions"):
            message = "Kubernetes default Service CIDR is ready"
            ready = {"type": "Ready", "status": "True", "reason": "", "message": message, "lastTransitionTime": now}
            found["status"] = {"conditions": [ready]}

    await registry.mutate(Call(SERVICECIDRS, "", "kubernetes", SELF), be_ready)


def api_service_ip(config: ApiServerConfig) -> str:
    """The ClusterIP of the `kubernetes` Service: the first of the range."""
    return str(ip_network(config.service_cidrs[0])[1])


async def _ensure(registry: Registry, resource: Resource, obj: Obj, keep: str = "") -> None:
    """Create an object unless it exists; if it does, set the field `keep` to what it should be."""
    namespace = obj["metadata"].get("namespace", "")
    call = Call(resource, namespace, obj["metadata"]["name"], SELF)
    wanted = obj.get(keep)

    def refresh(old: Obj) -> None:
        old[keep] = wanted

    try:
        await registry.get(resource, call.name, namespace)
    except NotFound:
        try:
            await registry.create(call, {"kind": resource.kind, "apiVersion": resource.api_version, **obj})
            return
        except AlreadyExists:
            pass
    if keep:
        await registry.mutate(call, refresh)


def _metadata(labels: dict[str, str]) -> dict[str, Any]:
    return {"name": "kubernetes", "namespace": "default", "labels": dict(labels)}


def _service(config: ApiServerConfig) -> Obj:
    address = api_service_ip(config)
    return {
        "metadata": _metadata(_LABELS),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": config.advertised[1]}],
            "sessionAffinity": "None",
        },
    }


def _endpoints(host: str, port: int) -> Obj:
    return {
        "metadata": _metadata({"endpointslice.kubernetes.io/skip-mirror": "true"}),
        "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }


def _endpoint_slice(host: str, port: int) -> Obj:
    return {
        "metadata": _metadata(_SLICE_LABELS),
        "addressType": f"IPv{ip_address(host).version}",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
