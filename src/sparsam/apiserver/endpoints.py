"""Where a Service is reached from here: one of its ready endpoints, since the machine need not know ClusterIPs."""

from __future__ import annotations

import random
from ipaddress import ip_address

from sparsam.apiserver.admission import Reader
from sparsam.errors import NotFound, ServiceUnavailable
from sparsam.objects.kinds import ENDPOINTSLICES, SERVICES
from sparsam.objects.strategy import Obj


async def resolve(reader: Reader, namespace: str, name: str, port: int) -> tuple[str, int]:
    """Address and port behind a port of a Service; raises NotFound and ServiceUnavailable in upstream's words."""
    service = await reader.find(SERVICES, name, namespace)
    if service is None:
        raise NotFound(f'service "{name}" not found')
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return spec["externalName"], port
    found = next((each for each in spec.get("ports") or () if each["port"] == port), None)
    if found is None:
        raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
    return random.choice(await ready_endpoints(reader, namespace, name, found.get("name", "")))


async def ready_endpoints(reader: Reader, namespace: str, name: str, port_name: str) -> list[tuple[str, int]]:
    """All endpoints of a Service's port that are ready; raises ServiceUnavailable when there is none."""
    found = [place for each in await slices_of(reader, namespace, name) for place in _ready(each, port_name)]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{name}"')
    return found


async def slices_of(reader: Reader, namespace: str, name: str) -> list[Obj]:
    """The EndpointSlices of a Service that give addresses."""
    return [
        each
        for each in await reader.items(ENDPOINTSLICES, namespace)
        if (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
        and each["addressType"] != "FQDN"
    ]


def _ready(endpoint_slice: Obj, port_name: str) -> list[tuple[str, int]]:
    ports = [each["port"] for each in endpoint_slice.get("ports") or () if each.get("name", "") == port_name]
    return [
        (address, port)
        for port in ports
        for endpoint in endpoint_slice.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
        for address in endpoint["addresses"]
        if not ip_address(address).is_link_local
    ]


def at(address: str, port: int | str) -> str:
    """Address and port as a URL has them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
