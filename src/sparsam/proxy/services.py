"""One Service and its EndpointSlices as a fragment of the ruleset of one address family. Pure.

Each Service port gets a chain that spreads connections over its usable endpoints, and an element for each address
that leads there. Which endpoints are local, and when a packet must be masqueraded so that the answer finds its way
back through this node, follows upstream's kube-proxy.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from sparsam.proxy.endpoints import Endpoint, Place, count_local, usable_endpoints
from sparsam.proxy.families import Family, family_of
from sparsam.proxy.rules import (
    Balance,
    Choose,
    Drop,
    Element,
    Field,
    Forget,
    Goto,
    Jump,
    Match,
    Recall,
    Remember,
    Rule,
    SendByMark,
    Verdict,
)

Obj = dict[str, Any]

SERVICE_IPS = "service-ips"
NODE_PORTS = "node-ports"
HAIRPIN = "hairpin"
BALANCER_IPS = "balancer-ips"
REFUSE = "refuse"
TO_MASQUERADE = "to-masquerade"
DEFAULT_AFFINITY_SECONDS = 10800
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_NAME_CHARACTERS = 70


@dataclass(frozen=True, slots=True)
class Network:
    """What the rules must know about this node and the cluster, all of one address family."""

    cluster_cidr: str
    service_cidr: str
    machine_cidr: str
    dns_ip: str
    """Empty for the family in which the cluster's DNS is not served."""
    node_name: str
    """Empty for a machine that is no node itself: the load balancer before its nodes."""
    node_ip: str = ""
    zone: str = ""
    """Where this node stands, by its label."""
    balancer_cidr: str = ""
    """Network of the load-balancer addresses that are this machine's own; empty for none."""

    @property
    def family(self) -> Family:
        """The family of all of this."""
        return family_of(self.service_cidr)

    @property
    def place(self) -> Place:
        """Whose neighbours are preferred."""
        return Place(self.node_name, self.zone)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What load balancers are told of this node: where they ask, and how many endpoints it has."""

    port: int
    endpoints: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """The rules of one Service."""

    chains: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    affinity_maps: Mapping[str, int] = field(default_factory=dict)
    """Maps that remember the endpoint of each client, with the seconds that they do."""
    elements: Mapping[Element, Verdict | None] = field(default_factory=dict)
    udp_targets: frozenset[tuple[str, int]] = frozenset()
    """Endpoints whose tracked connections must go when they go: UDP has no end of its own."""
    warnings: tuple[str, ...] = ()
    """What the Service asks for and does not get."""
    health_check: HealthCheck | None = None
    own_ips: frozenset[str] = frozenset()
    """Addresses that this machine must answer for."""


EMPTY = Fragment()


def compile_service(service: Obj, slices: Iterable[Obj], network: Network) -> Fragment:
    """The rules of one Service, if it has an address of the family.

    Headless and ExternalName Services have none: they live in the DNS alone.
    """
    spec, family = service.get("spec") or {}, network.family
    cluster_ip = family.of(cluster_ips(service))
    if not cluster_ip:
        return EMPTY
    slices = [each for each in slices if each.get("addressType") == family.kubernetes]
    made = [_compile_port(service, cluster_ip, port, slices, network) for port in spec.get("ports") or ()]
    own_ips = _own_ips(service, network)
    elements: dict[Element, Verdict | None] = {Element(BALANCER_IPS, ip): None for ip in own_ips}
    return Fragment(
        chains={name: rules for each in made for name, rules in each.chains.items()},
        affinity_maps={name: seconds for each in made for name, seconds in each.affinity_maps.items()},
        elements=elements | {element: verdict for each in made for element, verdict in each.elements.items()},
        udp_targets=frozenset().union(*(each.udp_targets for each in made)),
        warnings=_warnings(service, cluster_ip),
        health_check=_health_check(spec, slices, network),
        own_ips=own_ips,
    )


def cluster_ips(service: Obj) -> tuple[str, ...]:
    """The addresses that stand for a Service; none of headless and ExternalName ones."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or (spec.get("clusterIP") or "None") == "None":
        return ()
    return tuple(spec.get("clusterIPs") or (spec["clusterIP"],))


def _compile_port(service: Obj, cluster_ip: str, port: Obj, slices: list[Obj], network: Network) -> Fragment:
    spec, protocol = service["spec"], port.get("protocol", "TCP")
    name = port.get("name") or ""
    everywhere = usable_endpoints(slices, name, protocol, near=network.place)
    here = usable_endpoints(slices, name, protocol, only_node=network.node_name) if network.node_name else ()
    chains = _PortChains(_port_id(service, port), protocol.lower(), _affinity_seconds(spec))

    def at(ip: str) -> Element:
        return Element(SERVICE_IPS, f"{ip} . {protocol.lower()} . {port['port']}")

    elements: dict[Element, Verdict | None] = {}
    if network.dns_ip != cluster_ip:
        local_only = spec.get("internalTrafficPolicy") == "Local"
        verdict = chains.spread("local", here, everywhere) if local_only else chains.spread("svc", everywhere)
        elements[at(cluster_ip)] = verdict

    entrances = [at(ip) for ip in spec.get("externalIPs") or () if network.family.has(ip)]
    if port.get("nodePort"):
        entrances.append(Element(NODE_PORTS, f"{protocol.lower()} . {port['nodePort']}"))
    balanced = _balancer_ips(service, network.family)
    if entrances or balanced:
        local_only = spec.get("externalTrafficPolicy") == "Local"
        # A machine that is no node chooses among the nodes, as a load balancer before them does.
        near = here if network.node_name else everywhere
        entrance = chains.entrance(everywhere, near, local_only=local_only, network=network)
        elements.update(dict.fromkeys(entrances, entrance))
        guarded = chains.guarded(entrance, _source_ranges(service, network.family), network) if balanced else entrance
        elements.update(dict.fromkeys(map(at, balanced), guarded))

    elements.update((Element(HAIRPIN, f"{each.ip} . {each.ip}"), None) for each in here)
    targets = frozenset((each.ip, each.port) for each in everywhere) if protocol == "UDP" else frozenset()
    return Fragment(chains.rules, chains.affinity_maps, elements, targets)


class _PortChains:
    """Collects the chains of one Service port."""

    def __init__(self, port_id: str, protocol: str, affinity_seconds: int) -> None:
        self.rules: dict[str, tuple[Rule, ...]] = {}
        self.affinity_maps: dict[str, int] = {}
        self._id = port_id
        self._protocol = protocol
        self._affinity_seconds = affinity_seconds

    def spread(self, prefix: str, endpoints: tuple[Endpoint, ...], everywhere: tuple[Endpoint, ...] = ()) -> Verdict:
        """The verdict that spreads over endpoints: refused if there is none, dropped if there are some elsewhere."""
        if not endpoints:
            return Drop() if everywhere else Goto(REFUSE)
        name = f"{prefix}-{self._id}"
        if name not in self.rules:
            self.rules[name] = self._sticky(endpoints) if self._affinity_seconds else self._balance(endpoints)
        return Goto(name)

    def entrance(
        self, everywhere: tuple[Endpoint, ...], here: tuple[Endpoint, ...], *, local_only: bool, network: Network
    ) -> Verdict:
        """The verdict for packets that come from outside: node ports and external addresses."""
        to_all = self.spread("svc", everywhere)
        if to_all == Goto(REFUSE):
            return to_all
        name = f"ext-{self._id}"
        if local_only:
            # The policy is about clients outside: pods and the node itself may use every endpoint.
            self.rules[name] = (
                (Match(Field.SOURCE, network.cluster_cidr), to_all),
                (Match(Field.SOURCE_TYPE, "local"), Jump(TO_MASQUERADE)),
                (Match(Field.SOURCE_TYPE, "local"), to_all),
                (self.spread("local", here, everywhere),),
            )
        else:
            self.rules[name] = ((Jump(TO_MASQUERADE),), (to_all,))
        return Goto(name)

    def guarded(self, entrance: Verdict, ranges: tuple[str, ...] | None, network: Network) -> Verdict:
        """The entrance for packets from these networks alone; None for all."""
        if ranges is None or entrance == Goto(REFUSE):
            return entrance
        name = f"fw-{self._id}"
        rules: list[Rule] = [(Match(Field.SOURCE, f"{{ {', '.join(ranges)} }}"), entrance)] if ranges else []
        if network.node_ip and any(ip_address(network.node_ip) in ip_network(each) for each in ranges):
            # This node, whichever of its addresses it sends from.
            rules.append((Match(Field.SOURCE_TYPE, "local"), entrance))
        self.rules[name] = (*rules, (Drop(),))
        return Goto(name)

    def _balance(self, endpoints: tuple[Endpoint, ...]) -> tuple[Rule, ...]:
        targets = tuple((each.ip, each.port) for each in endpoints)
        matches = Match(Field.PROTOCOL, self._protocol)
        rules = ((matches, Balance(targets)),)
        # Where rules are being replaced, a packet in the old ones finds their map empty; it must not be refused.
        return rules if len(targets) == 1 else (*rules, (matches, Balance(targets[:1])))

    def _sticky(self, endpoints: tuple[Endpoint, ...]) -> tuple[Rule, ...]:
        """One map remembers all clients, so that the number of the kernel's objects does not grow with endpoints."""
        name = f"known-{self._id}/{self._affinity_seconds}"
        self.affinity_maps[name] = self._affinity_seconds
        marks = endpoint_marks(endpoints)
        matches = Match(Field.PROTOCOL, self._protocol)
        send = (matches, SendByMark(tuple((mark, each.ip, each.port) for mark, each in marks.items())))
        return (
            (Recall(name), Remember(name)),
            send,
            # Unknown, or known for an endpoint that is gone.
            (Forget(name),),
            (Choose(tuple(marks)),),
            (Remember(name),),
            send,
            # For packets that find the maps of these rules empty, as in `_balance`.
            (matches, Balance(((endpoints[0].ip, endpoints[0].port),))),
        )


def endpoint_marks(endpoints: Iterable[Endpoint]) -> dict[int, Endpoint]:
    """A number for each endpoint, none of them 0, that stays while others come and go."""
    marks: dict[int, Endpoint] = {}
    for each in endpoints:
        mark = zlib.crc32(f"{each.ip}:{each.port}".encode()) or 1
        # One in a billion: whoever comes later moves on.
        while mark in marks:
            mark = mark % 0xFFFFFFFF + 1
        marks[mark] = each
    return marks


def _port_id(service: Obj, port: Obj) -> str:
    """Unique, and readable as far as the kernel's limit on names allows."""
    metadata = service["metadata"]
    protocol = port.get("protocol", "TCP").lower()
    path = f"{metadata.get('namespace', '')}/{metadata['name']}/{protocol}/{port.get('name') or port['port']}"
    return f"{hashlib.sha256(path.encode()).hexdigest()[:12]}/{path[:_NAME_CHARACTERS]}"


def _balancer_ips(service: Obj, family: Family) -> list[str]:
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    # Those of another mode are the load balancer's alone: it sends to node ports.
    ips = [each["ip"] for each in ingress if each.get("ip") and (each.get("ipMode") or "VIP") == "VIP"]
    return [ip for ip in ips if family.has(ip)]


def _own_ips(service: Obj, network: Network) -> frozenset[str]:
    if not network.balancer_cidr:
        return frozenset()
    pool = ip_network(network.balancer_cidr)
    return frozenset(ip for ip in _balancer_ips(service, network.family) if ip_address(ip) in pool)


def _source_ranges(service: Obj, family: Family) -> tuple[str, ...] | None:
    """Who may use the load balancer, without overlaps; None for everybody."""
    ranges = service["spec"].get("loadBalancerSourceRanges")
    if not ranges:
        annotation = (service["metadata"].get("annotations") or {}).get(SOURCE_RANGES) or ""
        ranges = [each for each in annotation.split(",") if each.strip()]
    if not ranges:
        return None
    return family.merged(each.strip() for each in ranges)


def _health_check(spec: Obj, slices: list[Obj], network: Network) -> HealthCheck | None:
    port = spec.get("healthCheckNodePort")
    wanted = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if not (wanted and port and network.node_name):
        return None
    return HealthCheck(port, count_local(slices, network.node_name))


def _affinity_seconds(spec: Obj) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def _warnings(service: Obj, cluster_ip: str) -> tuple[str, ...]:
    """What is said of a Service once: with its first address."""
    served = cluster_ips(service)
    if cluster_ip != served[0]:
        return ()
    lost = [ip for ip in service["spec"].get("externalIPs") or () if not family_of(ip).of(served)]
    return tuple(f"spec.externalIPs: the Service has no address of the family of {ip}; it is not served" for ip in lost)
