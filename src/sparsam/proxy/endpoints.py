"""Which endpoints of a Service take traffic, read from its EndpointSlices. Pure.

Source: KEP-2433 and KEP-3015 (hints and traffic distribution), KEP-1669 (terminating endpoints).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients are; empty names are unknown."""

    node: str = ""
    zone: str = ""


def usable_endpoints(
    slices: Iterable[Obj], port_name: str, protocol: str, *, only_node: str | None = None, near: Place | None = None
) -> tuple[Endpoint, ...]:
    """Ready endpoints of one port, in a stable order; if there are none, those that still serve while they end.

    With `only_node` only that node's endpoints count; with `near` those that hints keep for that place, if any.
    """
    ready: dict[Endpoint, Obj] = {}
    ending: set[Endpoint] = set()
    for endpoint, described in _endpoints(slices, port_name, protocol):
        if only_node is not None and endpoint.node != only_node:
            continue
        conditions = described.get("conditions") or {}
        if is_ready(conditions):
            ready[endpoint] = described.get("hints") or {}
        elif conditions.get("serving") and conditions.get("terminating"):
            ending.add(endpoint)
    return _one_per_target((hinted(ready, near) if near else ready) or ending)


def hinted(ready: Mapping[Endpoint, Obj], near: Place) -> Iterable[Endpoint]:
    """The endpoints whose hints name the node, else the zone, of a place; all if none does or one has no such hint."""
    for hint, own in (("forNodes", near.node), ("forZones", near.zone)):
        if own and all(hints.get(hint) for hints in ready.values()):
            close = [each for each, hints in ready.items() if any(where["name"] == own for where in hints[hint])]
            if close:
                return close
    return ready


def count_local(slices: Iterable[Obj], node: str) -> int:
    """How many ready endpoints a node has, each address once."""
    return len(
        {
            endpoint["addresses"][0]
            for each in slices
            for endpoint in each.get("endpoints") or ()
            if endpoint.get("nodeName") == node and is_ready(endpoint.get("conditions") or {})
        }
    )


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
        numbers = [
            port["port"]
            for port in each.get("ports") or ()
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol and port.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            node, hostname = endpoint.get("nodeName") or "", endpoint.get("hostname") or ""
            for number in numbers:
                # Upstream uses the first address alone: several would mean the same thing.
                yield Endpoint(endpoint["addresses"][0], number, node, hostname), endpoint


def _one_per_target(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Overlapping slices may name an endpoint twice while it moves between them."""
    chosen = {(each.ip, each.port): each for each in sorted(endpoints, reverse=True)}
    return tuple(sorted(chosen.values()))
