"""ClusterIPs and node ports: which Service holds which, given out at random within their ranges.

Kept in memory and filled from the stored Services at start. One process writes Services, so memory and store agree;
several API servers over one store would need the allocations stored beside them.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import chain, zip_longest
from typing import Any

from sparsam.apiserver.statuses import invalid
from sparsam.errors import Cause, InternalError, StatusError
from sparsam.objects.strategies.service import needs_health_check
from sparsam.objects.strategies.service_addresses import settle
from sparsam.objects.strategy import Obj

RANDOM_TRIES = 64
HEADLESS = "None"


@dataclass(slots=True)
class Taken:
    """What one write took or freed, as the steps that put everything back if the write fails."""

    undo_steps: list[Callable[[], None]] = field(default_factory=list)

    def undo(self) -> None:
        """Give everything back."""
        for step in reversed(self.undo_steps):
            step()
        self.undo_steps.clear()


class ServiceAddresses:
    """The cluster's ClusterIPs and node ports. The first of the networks is that of the default address family."""

    def __init__(
        self, cidrs: Iterable[str], node_ports: tuple[int, int], services: Iterable[Obj], *, kept: str
    ) -> None:
        self._networks = {f"IPv{network.version}": network for network in map(ip_network, cidrs)}
        self._node_ports = node_ports
        self._kept = kept
        self._ips: set[str] = set()
        self._ports: set[tuple[str, int]] = set()
        for service in services:
            self._ips |= set(_cluster_ips(service))
            self._ports |= _node_ports(service)

    def settle(self, new: Obj, old: Obj | None) -> None:
        """Decide how many addresses of which families `new` has; raises Invalid for what this cluster has not."""
        causes = settle(new["spec"], old["spec"] if old else None, tuple(self._networks))
        if causes:
            raise invalid("Service", new["metadata"].get("name", ""), causes)

    def reserve(self, new: Obj, old: Obj | None) -> Taken:
        """Fill in what `new` needs and does not have; raises Invalid for what is taken or out of range."""
        taken = Taken()
        try:
            self._reserve_ips(new, old, taken)
            self._reserve_ports(new, old, taken)
            self._reserve_health_port(new, old, taken)
        except StatusError:
            taken.undo()
            raise
        if old is not None:
            self._free_unused(new, old, taken)
        return taken

    def release(self, obj: Obj) -> None:
        """Free what a deleted Service held."""
        self._ips -= set(_cluster_ips(obj))
        self._ports -= _node_ports(obj)

    def _reserve_ips(self, new: Obj, old: Obj | None, taken: Taken) -> None:
        spec = new["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIP") == HEADLESS:
            return
        held = set(_cluster_ips(old)) if old else set()
        wanted: list[str] = spec.get("clusterIPs") or []
        ips = []
        for family, ip in zip_longest(spec["ipFamilies"], wanted, fillvalue=""):
            if ip and ip not in held:
                self._claim_ip(new, family, ip)
            ips.append(ip or self._free_ip(self._networks[family]))
            if ips[-1] not in held:
                self._ips.add(ips[-1])
                taken.undo_steps.append(partial(self._ips.discard, ips[-1]))
        spec["clusterIP"], spec["clusterIPs"] = ips[0], ips

    def _claim_ip(self, service: Obj, family: str, wanted: str) -> None:
        network = self._networks[family]
        if ip_address(wanted) not in network:
            why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
            raise _invalid_ip(service, wanted, why)
        own = service["metadata"].get("name") == "kubernetes" and service["metadata"].get("namespace") == "default"
        if wanted in self._ips or (wanted == self._kept and not own):
            raise _invalid_ip(service, wanted, "provided IP is already allocated")

    def _free_ip(self, network: IPv4Network | IPv6Network) -> str:
        first, size = int(network.network_address), network.num_addresses
        # As upstream, the low end of the range is left to addresses that people choose.
        low = min(max(16, size // 16), 256) if size > 32 else 1
        candidates = (first + random.randrange(low, size - 1) for _ in range(RANDOM_TRIES))
        for number in chain(candidates, range(first + low, first + size - 1), range(first + 1, first + low)):
            text = str(type(network.network_address)(number))
            if text not in self._ips and text != self._kept:
                return text
        raise InternalError("failed to allocate a serviceIP: range is full", details={})

    def _reserve_ports(self, new: Obj, old: Obj | None, taken: Taken) -> None:
        spec = new["spec"]
        if not _wants_node_ports(spec):
            return
        held = _node_ports(old) if old else set()
        mine: set[tuple[str, int]] = set()
        siblings: dict[int, list[Obj]] = defaultdict(list)
        for port in spec.get("ports") or []:
            siblings[port.get("port", 0)].append(port)
        for index, port in enumerate(spec.get("ports") or []):
            protocol = port.get("protocol", "TCP")
            number = port.get("nodePort") or self._sibling(port, siblings[port.get("port", 0)], mine)
            if not number:
                number = port["nodePort"] = self._free_port(protocol)
            port["nodePort"] = number
            key = (protocol, number)
            if key in held or key in mine:
                mine.add(key)
                continue
            self._claim_port(new, index, key)
            self._ports.add(key)
            mine.add(key)
            taken.undo_steps.append(partial(self._ports.discard, key))

    def _reserve_health_port(self, new: Obj, old: Obj | None, taken: Taken) -> None:
        spec = new["spec"]
        if not needs_health_check(spec):
            return
        wanted: int = spec.get("healthCheckNodePort") or 0
        held = (old["spec"].get("healthCheckNodePort") or 0) if old else 0
        if wanted and wanted == held:
            return
        if wanted and (why := self._not_free(("TCP", wanted))):
            raise InternalError(f"failed to allocate requested HealthCheck NodePort {wanted}: {why}", details={})
        spec["healthCheckNodePort"] = wanted or self._free_port("TCP")
        key = ("TCP", spec["healthCheckNodePort"])
        self._ports.add(key)
        taken.undo_steps.append(partial(self._ports.discard, key))

    def _sibling(self, port: Obj, siblings: list[Obj], mine: set[tuple[str, int]]) -> int:
        """The node port of the same port number under another protocol, which upstream shares."""
        for other in siblings:
            number: int = other.get("nodePort", 0)
            key = (port.get("protocol", "TCP"), number)
            if other is not port and number and key not in self._ports and key not in mine:
                return number
        return 0

    def _free_port(self, protocol: str) -> int:
        first, last = self._node_ports
        candidates = (random.randint(first, last) for _ in range(RANDOM_TRIES))
        for number in chain(candidates, range(first, last + 1)):
            if not {("TCP", number), ("UDP", number), ("SCTP", number)} & self._ports:
                return number
        raise InternalError(f"failed to allocate a nodePort for {protocol}: range is full", details={})

    def _claim_port(self, service: Obj, index: int, key: tuple[str, int]) -> None:
        if why := self._not_free(key):
            cause = Cause("FieldValueInvalid", f"Invalid value: {key[1]}: {why}", f"spec.ports[{index}].nodePort")
            raise invalid("Service", service["metadata"]["name"], [cause])

    def _not_free(self, key: tuple[str, int]) -> str:
        """Why a protocol's port cannot be had; empty if it can."""
        first, last = self._node_ports
        if not first <= key[1] <= last:
            return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        return "provided port is already allocated" if key in self._ports else ""

    def _free_unused(self, new: Obj, old: Obj, taken: Taken) -> None:
        for ip in set(_cluster_ips(old)) - set(_cluster_ips(new)):
            self._ips.discard(ip)
            taken.undo_steps.append(partial(self._ips.add, ip))
        for key in _node_ports(old) - _node_ports(new):
            self._ports.discard(key)
            taken.undo_steps.append(partial(self._ports.add, key))


def _cluster_ips(service: Obj) -> list[str]:
    spec = service.get("spec") or {}
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP", "")] if ip and ip != HEADLESS]


def _node_ports(service: Obj) -> set[tuple[str, int]]:
    spec = service.get("spec") or {}
    ports = {(port.get("protocol", "TCP"), port.get("nodePort", 0)) for port in spec.get("ports") or []}
    health = spec.get("healthCheckNodePort")
    if health:
        ports.add(("TCP", health))
    return {key for key in ports if key[1]}


def _wants_node_ports(spec: dict[str, Any]) -> bool:
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts", True) is not False
    return spec.get("type") == "NodePort"


def _invalid_ip(service: Obj, wanted: str, why: str) -> StatusError:
    every = json.dumps(service["spec"]["clusterIPs"], separators=(",", ":"))
    message = f"Invalid value: {every}: failed to allocate IP {wanted}: {why}"
    return invalid("Service", service["metadata"]["name"], [Cause("FieldValueInvalid", message, "spec.clusterIPs")])
