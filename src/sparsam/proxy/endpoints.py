"""Which endpoints of a Service take traffic, read from its EndpointSlices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address and port behind a Service port."""

    ip: str
    port: int
    node: str = ""
    hostname: str = ""


def usable_endpoints(
    slices: Iterable[Obj], port_name: str, protocol: str, *, only_node: str | None = None
) -> tuple[Endpoint, ...]:
    """Ready endpoints of one port, in a stable order; if there are none, those that still serve while they end.

    With `only_node` only that node's endpoints count.
    """
    ready: set[Endpoint] = set()
    ending: set[Endpoint] = set()
    for endpoint, conditions in _endpoints(slices, port_name, protocol):
        if only_node is not None and endpoint.node != only_node:
            continue
        if is_ready(conditions):
            ready.add(endpoint)
        elif conditions.get("serving") and conditions.get("terminating"):
            ending.add(endpoint)
    return _one_per_target(ready or ending)


def service_of(endpoint_slice: Obj) -> tuple[str, str] | None:
    """Namespace and name of the Service that a slice belongs to."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def is_ready(conditions: Obj) -> bool:
    """Whether an endpoint may get new connections; an unknown state counts as ready."""
    return conditions.get("ready") is not False


def _endpoints(slices: Iterable[Obj], port_name: str, protocol: str) -> Iterator[tuple[Endpoint, Obj]]:
    for each in slices:
        if each.get("addressType") != "IPv4":
            continue
        numbers = [
            port["port"]
            for port in each.get("ports") or ()
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol and port.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            node, hostname = endpoint.get("nodeName") or "", endpoint.get("hostname") or ""
            for number in numbers:
                # Upstream uses the first address alone: several would mean the same thing.
                yield Endpoint(endpoint["addresses"][0], number, node, hostname), conditions


def _one_per_target(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Overlapping slices may name an endpoint twice while it moves between them."""
    chosen = {(each.ip, each.port): each for each in sorted(endpoints, reverse=True)}
    return tuple(sorted(chosen.values()))
