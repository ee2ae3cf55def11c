"""EndpointSlices for Endpoints that people write themselves, for Services without a selector.

Source: upstream's endpoint slice mirroring controller; KEP-752.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

import msgspec

from sparsam.controllers.endpoints_plan import MANAGED_LABEL, SERVICE_LABEL, SKIP_MIRROR_LABEL
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_reference, key_of, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import ENDPOINTS, ENDPOINTSLICES, SERVICES

MANAGER = "endpointslicemirroring-controller.k8s.io"
MOST_ADDRESSES = 1000
"""Of one subset; upstream's --mirroring-max-endpoints-per-subset."""
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = ("endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration")


@dataclass(frozen=True, slots=True)
class Mirror:
    """The slices that mirror an Endpoints object, and what could not be mirrored."""

    slices: list[Obj]
    invalid: int
    skipped: int


def is_mirrored(endpoints: Obj, service: Obj | None) -> bool:
    """Whether somebody must make slices for these Endpoints: nobody does for Services without a selector."""
    metadata = endpoints["metadata"]
    if "deletionTimestamp" in metadata or (metadata.get("labels") or {}).get(SKIP_MIRROR_LABEL) == "true":
        return False
    if LEADER_ANNOTATION in (metadata.get("annotations") or {}):
        return False
    return service is not None and not service["spec"].get("selector")


def mirror(endpoints: Obj) -> Mirror:
    """One slice for each set of ports and kind of addresses."""
    groups: dict[tuple[bytes, str], tuple[list[Obj], list[Obj]]] = {}
    invalid = skipped = 0
    for subset in endpoints.get("subsets") or ():
        ports = [_port(port) for port in subset.get("ports") or ()]
        key = msgspec.json.encode(ports, order="sorted")
        taken = 0
        for address, ready in _addresses(subset):
            made = _endpoint(address, ready)
            if made is None:
                invalid += 1
            elif taken == MOST_ADDRESSES:
                skipped += 1
            else:
                taken += 1
                groups.setdefault((key, made[0]), (ports, []))[1].append(made[1])
    slices = [_slice(endpoints, family, *group) for (_, family), group in sorted(groups.items(), key=lambda g: g[0])]
    return Mirror(slices, invalid, skipped)


def _addresses(subset: Obj) -> Iterator[tuple[Obj, bool]]:
    yield from ((address, True) for address in subset.get("addresses") or ())
    yield from ((address, False) for address in subset.get("notReadyAddresses") or ())


def _port(port: Obj) -> Obj:
    copied: Obj = {name: port[name] for name in ("port", "appProtocol") if name in port}
    return {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), **copied}


def _endpoint(address: Obj, ready: bool) -> tuple[str, Obj] | None:
    """(address type, endpoint), or None for what is no IP address."""
    try:
        parsed = ip_address(address["ip"])
    except ValueError:
        return None
    endpoint: Obj = {"addresses": [str(parsed)], "conditions": {"ready": ready}}
    for name in ("targetRef", "nodeName", "hostname"):
        if address.get(name):
            endpoint[name] = address[name]
    return "IPv6" if isinstance(parsed, IPv6Address) else "IPv4", endpoint


def _slice(endpoints: Obj, family: str, ports: list[Obj], members: list[Obj]) -> Obj:
    metadata = endpoints["metadata"]
    name = metadata["name"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _NOT_COPIED}
    return {
        "apiVersion": ENDPOINTSLICES.api_version,
        "kind": ENDPOINTSLICES.kind,
        "metadata": {
            "generateName": f"{name}-",
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), SERVICE_LABEL: name, MANAGED_LABEL: MANAGER},
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [controller_reference(endpoints, ENDPOINTS)],
        },
        "addressType": family,
        "ports": ports,
        "endpoints": members,
    }


def _content(each: Obj) -> bytes:
    metadata = each["metadata"]
    parts = (metadata.get("labels"), metadata.get("annotations") or {}, each.get("endpoints"), each.get("ports"))
    return msgspec.json.encode(parts, order="sorted")


class EndpointsMirroring:
    """Keyed by Endpoints, which have the name of their Service."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._endpoints, self._services = context.informer(ENDPOINTS), context.informer(SERVICES)
        self._slices = context.informer(ENDPOINTSLICES)
        self._slices.add_index("mirrors", _mirrored_name)
        self.controller = Controller("endpoint-slice-mirroring-controller", context, self.sync)
        self.controller.watch(self._endpoints, own_key)
        self.controller.watch(self._services, own_key)
        self.controller.watch(self._slices, _mirrored_key)

    async def sync(self, key: Key) -> None:
        """Make the slices of one Endpoints object what they should be."""
        have = sorted(self._slices.by_index("mirrors", "/".join(key)), key=key_of)
        endpoints = self._endpoints.get(*key)
        wanted: list[Obj] = []
        if endpoints is not None and is_mirrored(endpoints, self._services.get(*key)):
            wanted = self._mirrored(endpoints)
        for each in wanted:
            await self._apply(each, have)
        for old in have:
            try:
                await self._client.delete(ENDPOINTSLICES, old["metadata"]["name"], key[0])
            except NotFound:
                continue

    def _mirrored(self, endpoints: Obj) -> list[Obj]:
        found, event = mirror(endpoints), self.controller.recorder.event
        if found.invalid:
            message = f"Skipped {found.invalid} invalid IP addresses when mirroring to EndpointSlices"
            event(endpoints, "Warning", "InvalidIPAddress", message)
        if found.skipped:
            message = f"A max of {MOST_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            message += f"{found.skipped} addresses were skipped"
            event(endpoints, "Warning", "TooManyAddressesToMirror", message)
        return found.slices

    async def _apply(self, wanted: Obj, have: list[Obj]) -> None:
        """Take a slice of the same kind out of `have` and bring it in order, or create one."""
        family = [each for each in have if each["addressType"] == wanted["addressType"]]
        same_ports = [each for each in family if (each.get("ports") or []) == wanted["ports"]]
        old = next(iter(same_ports or family), None)
        if old is None:
            await self._client.create(ENDPOINTSLICES, wanted)
            return
        have.remove(old)
        if _content(old) != _content(wanted):
            kept = {name: old["metadata"][name] for name in ("name", "resourceVersion", "uid")}
            metadata: dict[str, Any] = {**wanted["metadata"], **kept}
            del metadata["generateName"]
            await self._client.update(ENDPOINTSLICES, {**wanted, "metadata": metadata})


def _mirrored_key(each: Obj) -> list[Key]:
    labels = each["metadata"].get("labels") or {}
    mine = labels.get(MANAGED_LABEL) == MANAGER and SERVICE_LABEL in labels
    return [(each["metadata"]["namespace"], labels[SERVICE_LABEL])] if mine else []


def _mirrored_name(each: Obj) -> list[str]:
    return ["/".join(key) for key in _mirrored_key(each)]
