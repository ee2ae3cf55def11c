"""Services: types, ports and the rules of their addresses. Allocating addresses and node ports is the server's part."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, not_supported, required
from sparsam.objects.names import (
    dns_label_errors,
    dns_subdomain_errors,
    port_number_errors,
    qualified_name_errors,
    validate_labels,
)
from sparsam.objects.strategies import service_addresses as addresses
from sparsam.objects.strategies.common import PROTOCOLS, cidr_causes, ip_causes, one_of, port_causes, put_default
from sparsam.objects.strategies.endpoints import non_special_ip
from sparsam.objects.strategy import Obj, Strategy

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITY_SECONDS = 3 * 60 * 60
_MAX_AFFINITY_SECONDS = 24 * 60 * 60
_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_BALANCER_ONLY = "may only be used when `type` is 'LoadBalancer'"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def externally_accessible(spec: Obj) -> bool:
    """Whether traffic from outside of the cluster may reach the service."""
    kind = spec.get("type", "")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Obj) -> bool:
    """Whether each node answers health checks of a load balancer."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def default_service(service: Obj) -> None:
    """Defaults of a Service."""
    spec = service.setdefault("spec", {})
    put_default(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    put_default(spec, "type", "ClusterIP")
    for port in spec.get("ports") or []:
        put_default(port, "protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if externally_accessible(spec):
        put_default(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        put_default(spec, "internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True


def prepare_create(service: Obj) -> None:
    """A new Service has no load balancer yet."""
    service["status"] = {"loadBalancer": {}}
    addresses.normalise(service["spec"], None)


def prepare_update(service: Obj, old: Obj) -> None:
    """Carry allocated values over, and drop those that the new type does not have."""
    spec, old_spec = service["spec"], old["spec"]
    addresses.normalise(spec, old_spec)
    addresses.drop_by_type(spec, old_spec)
    addresses.keep_allocated(spec, old_spec)


def validate(service: Obj) -> list[Cause]:
    """Causes for a new Service. Addresses are looked at first: with wrong ones nothing else is said."""
    return addresses.validate(service["spec"]) or _validate(service)


def validate_update(service: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed Service."""
    spec, old_spec = service["spec"], old["spec"]
    wrong = addresses.validate(spec)
    if wrong:
        return wrong
    causes = addresses.validate_change(spec, old_spec) + _balancer_class(spec, old_spec)
    changed = spec.get("healthCheckNodePort") != old_spec.get("healthCheckNodePort")
    if changed and needs_health_check(spec) and needs_health_check(old_spec):
        causes.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return causes + _validate(service)


def _validate(service: Obj) -> list[Cause]:
    spec = service["spec"]
    kind, headless, ports = spec.get("type", ""), addresses.is_headless(spec), spec.get("ports") or []
    causes: list[Cause] = []
    if not ports and not headless and kind != "ExternalName":
        causes.append(required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and headless:
        causes.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    elif kind == "ExternalName":
        causes += _external_name(spec)
    taken: set[str] = set()
    for position, port in enumerate(ports):
        causes += _port(port, f"spec.ports[{position}]", len(ports) > 1, taken)
    causes += validate_labels(spec.get("selector"), "spec.selector")
    causes += _session_affinity(spec)
    for position, text in enumerate(spec.get("externalIPs") or []):
        path = f"spec.externalIPs[{position}]"
        causes += ip_causes(text, path) or non_special_ip(text, path)
    causes += one_of(kind, "spec.type", TYPES)
    causes += _port_conflicts(ports, kind)
    causes += _balancer(service, spec, kind)
    causes += _balancer_class(spec, None)
    return causes + _traffic(spec)


def _external_name(spec: Obj) -> list[Cause]:
    causes = [
        forbidden(f"spec.{field}", "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field)
    ]
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*causes, required("spec.externalName")]
    return causes + [invalid("spec.externalName", name, error) for error in dns_subdomain_errors(name)]


def _port(port: Obj, path: str, needs_name: bool, taken: set[str]) -> list[Cause]:
    name, number = port.get("name"), port.get("port", 0)
    causes: list[Cause] = []
    if name:
        causes += [invalid(f"{path}.name", name, error) for error in dns_label_errors(name)]
        if name in taken:
            causes.append(duplicate(f"{path}.name", name))
        taken.add(name)
    elif needs_name:
        causes.append(required(f"{path}.name"))
    causes += [invalid(f"{path}.port", number, error) for error in port_number_errors(number)]
    causes += one_of(port.get("protocol"), f"{path}.protocol", PROTOCOLS)
    causes += port_causes(port.get("targetPort", 0), f"{path}.targetPort")
    protocol = port.get("appProtocol")
    if protocol is not None:
        causes += [invalid(f"{path}.appProtocol", protocol, error) for error in qualified_name_errors(protocol)]
    return causes


def _port_conflicts(ports: list[Obj], kind: str) -> list[Cause]:
    causes: list[Cause] = []
    if kind == "ClusterIP":
        detail = "may not be used when `type` is 'ClusterIP'"
        causes += [
            forbidden(f"spec.ports[{position}].nodePort", detail)
            for position, port in enumerate(ports)
            if port.get("nodePort")
        ]
    taken: set[tuple[str, str, int]] = set()
    for field in ("nodePort", "port"):
        for position, port in enumerate(ports):
            protocol, number = port.get("protocol", ""), port.get(field, 0)
            if not number and field == "nodePort":
                continue
            if (field, protocol, number) in taken:
                causes.append(_port_duplicate(field, protocol, number, f"spec.ports[{position}]"))
            taken.add((field, protocol, number))
    return causes


def _port_duplicate(field: str, protocol: str, number: int, path: str) -> Cause:
    if field == "nodePort":
        return duplicate(f"{path}.nodePort", number)
    shown = {"Name": "", "Protocol": protocol, "AppProtocol": None, "Port": number, "TargetPort": 0, "NodePort": 0}
    return duplicate(path, shown)


def _session_affinity(spec: Obj) -> list[Cause]:
    affinity, path = spec.get("sessionAffinity", ""), "spec.sessionAffinityConfig"
    causes = one_of(affinity, "spec.sessionAffinity", ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        causes.append(forbidden(path, "must not be set when session affinity is None"))
    if affinity != "ClientIP":
        return causes
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is None:
        causes.append(required(path, "when session affinity type is ClientIP"))
    elif not 0 < seconds <= _MAX_AFFINITY_SECONDS:
        detail = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
        causes.append(invalid(f"{path}.clientIP.timeoutSeconds", seconds, detail))
    return causes


def _balancer(service: Obj, spec: Obj, kind: str) -> list[Cause]:
    causes: list[Cause] = []
    ranges, path = spec.get("loadBalancerSourceRanges") or [], "spec.LoadBalancerSourceRanges"
    annotation = (service["metadata"].get("annotations") or {}).get(_SOURCE_RANGES)
    if ranges:
        if kind != "LoadBalancer":
            causes.append(forbidden(path, _BALANCER_ONLY))
        for position, value in enumerate(ranges):
            causes += cidr_causes(value.strip(), f"{path}[{position}]")
    elif annotation is not None:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        if kind != "LoadBalancer":
            causes.append(forbidden(path, _BALANCER_ONLY))
        for value in filter(None, annotation.strip().split(",")):
            causes += cidr_causes(value.strip(), path)
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and kind != "LoadBalancer":
        causes.append(forbidden("spec.allocateLoadBalancerNodePorts", _BALANCER_ONLY))
    if allocate is None and kind == "LoadBalancer":
        causes.append(required("allocateLoadBalancerNodePorts"))
    return causes


def _balancer_class(spec: Obj, old: Obj | None) -> list[Cause]:
    name, path = spec.get("loadBalancerClass"), "spec.loadBalancerClass"
    if old is not None:
        both = spec.get("type") == old.get("type") == "LoadBalancer"
        if both and old.get("loadBalancerClass") != name:
            return [invalid(path, name, "may not change once set")]
        return []
    if name is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [forbidden(path, _BALANCER_ONLY)]
    return [invalid(path, name, error) for error in qualified_name_errors(name)]


def _traffic(spec: Obj) -> list[Cause]:
    external, path = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    causes: list[Cause] = []
    if externally_accessible(spec):
        causes += one_of(external, path, _POLICIES)
    elif external:
        causes.append(invalid(path, external, "may only be set for externally-accessible services"))
    check = spec.get("healthCheckNodePort", 0)
    if check and not needs_health_check(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid("spec.healthCheckNodePort", check, detail))
    internal, distribution = spec.get("internalTrafficPolicy"), spec.get("trafficDistribution")
    if internal is None and spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer"):
        causes.append(required("spec.internalTrafficPolicy"))
    if internal is not None and internal not in _POLICIES:
        causes.append(not_supported("spec.internalTrafficPolicy", internal, _POLICIES))
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        causes.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return causes


def validate_status(service: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status: what the load balancer says of itself."""
    causes: list[Cause] = []
    ingresses = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if ingresses and service["spec"].get("type") != "LoadBalancer":
        causes.append(forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is LoadBalancer"))
    for position, ingress in enumerate(ingresses):
        path = f"status.loadBalancer.ingress[{position}]"
        if ingress.get("ip"):
            causes += ip_causes(ingress["ip"], f"{path}.ip")
        name = ingress.get("hostname")
        if name:
            causes += [invalid(f"{path}.hostname", name, error) for error in dns_subdomain_errors(name)]
    return causes


STRATEGIES = {
    ("", "Service"): Strategy(
        default=default_service,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        name_rule="dns-label",
    )
}
