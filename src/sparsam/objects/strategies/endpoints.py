"""Endpoints, the older form of EndpointSlices, and the rules of addresses they share."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import dns_label_errors, dns_subdomain_errors, port_number_errors, qualified_name_errors
from sparsam.objects.strategies.common import PROTOCOLS, ip_causes, one_of, parse_ip, put_default, text_causes
from sparsam.objects.strategy import Obj, Strategy


def non_special_ip(text: str, path: str) -> list[Cause]:
    """Causes for an address that no endpoint may have: none, loopback, link-local."""
    address = parse_ip(text)
    if address is None:
        return [invalid(path, text, "must be a valid IP address")]
    causes: list[Cause] = []
    if address.is_unspecified:
        causes.append(invalid(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        causes.append(invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        causes.append(invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if address.is_multicast and text.startswith(("224.0.0.", "ff02:")):
        causes.append(invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
    return causes


def default_endpoints(endpoints: Obj) -> None:
    """Ports speak TCP."""
    for subset in endpoints.get("subsets") or []:
        for port in subset.get("ports") or []:
            put_default(port, "protocol", "TCP")


def validate(endpoints: Obj) -> list[Cause]:
    """Causes for Endpoints."""
    causes: list[Cause] = []
    for position, subset in enumerate(endpoints.get("subsets") or []):
        path = f"subsets[{position}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for order, address in enumerate(subset.get(field) or []):
                causes += _address(address, f"{path}.{field}[{order}]")
        ports = subset.get("ports") or []
        for order, port in enumerate(ports):
            causes += _port(port, f"{path}.ports[{order}]", needs_name=len(ports) > 1)
    return causes


def _address(address: Obj, path: str) -> list[Cause]:
    text = address.get("ip", "")
    causes = ip_causes(text, f"{path}.ip")
    if address.get("hostname"):
        causes += text_causes(address["hostname"], f"{path}.hostname", dns_label_errors)
    if address.get("nodeName") is not None:
        causes += text_causes(address["nodeName"], f"{path}.nodeName", dns_subdomain_errors)
    return causes + non_special_ip(text, f"{path}.ip")


def _port(port: Obj, path: str, *, needs_name: bool) -> list[Cause]:
    name, number = port.get("name"), port.get("port", 0)
    causes: list[Cause] = []
    if name:
        causes += text_causes(name, f"{path}.name", dns_label_errors)
    elif needs_name:
        causes.append(required(f"{path}.name"))
    causes += [invalid(f"{path}.port", number, error) for error in port_number_errors(number)]
    causes += one_of(port.get("protocol"), f"{path}.protocol", PROTOCOLS)
    if port.get("appProtocol") is not None:
        causes += text_causes(port["appProtocol"], f"{path}.appProtocol", qualified_name_errors)
    return causes


def validate_update(endpoints: Obj, _old: Obj) -> list[Cause]:
    """Causes for changed Endpoints."""
    return validate(endpoints)


STRATEGIES = {
    ("", "Endpoints"): Strategy(
        default=default_endpoints,
        validate=validate,
        validate_update=validate_update,
        has_status=False,
        allow_create_on_update=True,
    )
}
