"""EndpointSlices."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, required, too_many
from sparsam.objects.names import (
    dns_label_errors,
    dns_subdomain_errors,
    label_value_errors,
    qualified_name_errors,
    validate_immutable,
)
from sparsam.objects.names import validate_labels as label_causes
from sparsam.objects.strategies.common import IP_TEXT, PROTOCOLS, one_of, parse_ip, text_causes
from sparsam.objects.strategies.endpoints import non_special_ip
from sparsam.objects.strategy import Obj, Strategy

_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20_000
_MAX_TOPOLOGY = 16
_MAX_ZONE_HINTS = 8


def default_slice(endpoint_slice: Obj) -> None:
    """Unnamed TCP ports."""
    for port in endpoint_slice.get("ports") or []:
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"


def prepare_update(endpoint_slice: Obj, old: Obj) -> None:
    """New labels count as a new generation: consumers select slices by them."""
    meta, old_meta = endpoint_slice["metadata"], old["metadata"]
    if (meta.get("labels") or {}) != (old_meta.get("labels") or {}):
        meta["generation"] = old_meta.get("generation", 0) + 1


def validate(endpoint_slice: Obj) -> list[Cause]:
    """Causes for an EndpointSlice."""
    kind = endpoint_slice.get("addressType", "")
    causes = one_of(kind, "addressType", _TYPES)
    endpoints, ports = endpoint_slice.get("endpoints") or [], endpoint_slice.get("ports") or []
    causes += _endpoints(endpoints, kind)
    return causes + _ports(ports)


def _endpoints(endpoints: list[Obj], kind: str) -> list[Cause]:
    if len(endpoints) > _MAX_ENDPOINTS:
        return [too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    causes: list[Cause] = []
    for position, endpoint in enumerate(endpoints):
        path, addresses = f"endpoints[{position}]", endpoint.get("addresses") or []
        if not addresses:
            causes.append(required(f"{path}.addresses", "must contain at least 1 address"))
        elif len(addresses) > _MAX_ADDRESSES:
            causes.append(too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
        for order, address in enumerate(addresses if kind in _TYPES else []):
            causes += _address(address, f"{path}.addresses[{order}]", kind)
        causes += _endpoint(endpoint, path)
    return causes


def _endpoint(endpoint: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if endpoint.get("nodeName") is not None:
        causes += text_causes(endpoint["nodeName"], f"{path}.nodeName", dns_subdomain_errors)
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        causes.append(too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    causes += label_causes(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        causes += text_causes(endpoint["hostname"], f"{path}.hostname", dns_label_errors)
    return causes + _hints(endpoint.get("hints") or {}, f"{path}.hints")


def _hints(hints: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for field in ("forZones", "forNodes"):
        entries = hints.get(field) or []
        if len(entries) > _MAX_ZONE_HINTS:
            causes.append(too_many(f"{path}.{field}", len(entries), _MAX_ZONE_HINTS))
            continue
        names: set[str] = set()
        for position, entry in enumerate(entries):
            here, name = f"{path}.{field}[{position}].name", entry.get("name", "")
            if name in names:
                causes.append(duplicate(here, name))
            names.add(name)
            causes += text_causes(name, here, label_value_errors if field == "forZones" else dns_subdomain_errors)
    return causes


def _address(address: str, path: str, kind: str) -> list[Cause]:
    if kind == "FQDN":
        return text_causes(address.removesuffix("."), path, dns_subdomain_errors)
    parsed = parse_ip(address)
    if parsed is None:
        return [invalid(path, address, IP_TEXT)]
    version = 4 if kind == "IPv4" else 6
    if parsed.version != version:
        return [invalid(path, address, f"must be an IPv{version} address")]
    return non_special_ip(address, path)


def _ports(ports: list[Obj]) -> list[Cause]:
    if len(ports) > _MAX_PORTS:
        return [too_many("ports", len(ports), _MAX_PORTS)]
    causes: list[Cause] = []
    names: set[str] = set()
    for position, port in enumerate(ports):
        path, name = f"ports[{position}]", port.get("name", "")
        if name:
            causes += text_causes(name, f"{path}.name", dns_label_errors)
        if name in names:
            causes.append(duplicate(f"{path}.name", name))
        names.add(name)
        causes += one_of(port.get("protocol"), f"{path}.protocol", PROTOCOLS)
        protocol = port.get("appProtocol")
        if protocol is not None:
            causes += text_causes(protocol, f"{path}.appProtocol", qualified_name_errors)
    return causes


def validate_update(endpoint_slice: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed EndpointSlice: its kind of address stays."""
    same = validate_immutable(endpoint_slice.get("addressType"), old.get("addressType"), "addressType")
    return validate(endpoint_slice) + same


STRATEGIES = {
    ("discovery.k8s.io", "EndpointSlice"): Strategy(
        default=default_slice,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        has_status=False,
        has_generation=True,
        generation_fields=("endpoints", "ports", "addressType"),
    ),
}
