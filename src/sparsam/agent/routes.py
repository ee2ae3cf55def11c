"""Routes to the pods of nodes on other machines: each node's pod networks, by way of the node's own addresses.

Only routes with our own protocol number are ever changed or removed; a destination that has a route of somebody
else's is left alone, which is how nodes on one machine, wired by their cluster, take no part here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from sparsam.client.api import ApiClient
from sparsam.client.config import ClusterConfig
from sparsam.client.informer import Informer
from sparsam.objects.kinds import NODES

log = logging.getLogger(__name__)

Obj = dict[str, Any]
Network = IPv4Network | IPv6Network

Apply = Callable[[Mapping[str, str], tuple[str, ...], set[tuple[str, str]]], None]
"""Brings a routing table to what is wanted; see `apply_to_kernel`."""

PROTOCOL = 115
"""Marks our routes; a number that /etc/iproute2/rt_protos gives to nobody."""
CHECK_SECONDS = 30.0
_BATCH_SECONDS = 0.05
_MAIN_TABLE = 254
_UNICAST, _LOCAL = 1, 2


@dataclass(frozen=True, slots=True)
class RoutesConfig:
    """What the keeper of routes is told at start; it works in the network namespace that it runs in."""

    client: ClusterConfig
    node_name: str
    cluster_cidrs: tuple[str, ...]
    """Routes are made to networks within these only, whatever a Node object says."""
    check_seconds: float = CHECK_SECONDS
    """How often the kernel's table is compared, in case a link went down and took routes along."""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The main table as far as it matters: destination to gateway."""

    own: Mapping[str, str]
    foreign: frozenset[str]
    """Destinations that routes of somebody else's have."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do to the table."""

    add: Mapping[str, str]
    remove: tuple[str, ...]


async def run(config: RoutesConfig, apply: Apply | None = None) -> None:
    """Keep the routes until cancelled; they stay then, since pods live on too. `purge` removes them."""
    apply = apply or apply_to_kernel
    changed = asyncio.Event()
    async with ApiClient(config.client, program="kubelet") as client, asyncio.TaskGroup() as group:
        nodes = Informer(client, NODES, transform=essence)
        nodes.add_handler(lambda *_: changed.set())
        group.create_task(nodes.run(), name="nodes for routes")
        await nodes.synced.wait()
        told: set[tuple[str, str]] = set()
        former: dict[str, str] | None = None
        while True:
            changed.clear()
            wanted = wanted_routes(nodes.items(), config.node_name, config.cluster_cidrs)
            if wanted != former:
                await asyncio.to_thread(apply, wanted, config.cluster_cidrs, told)
            former = wanted
            try:
                async with asyncio.timeout(config.check_seconds):
                    await changed.wait()
                await asyncio.sleep(_BATCH_SECONDS)
            except TimeoutError:
                former = None


def purge(cluster_cidrs: tuple[str, ...]) -> None:
    """Remove every route of ours."""
    apply_to_kernel({}, cluster_cidrs, set())


def apply_to_kernel(wanted: Mapping[str, str], cluster_cidrs: tuple[str, ...], told: set[tuple[str, str]]) -> None:
    """Bring the kernel's table to what is wanted, blocking for some milliseconds.

    `told` remembers what cannot be done between calls, so that it is said once.
    """
    constructor: Any = IPRoute
    with constructor() as netlink:
        direct = {dst: via for dst, via in wanted.items() if _is_direct(netlink, dst, via, told)}
        changes = plan_changes(direct, _read_table(netlink, cluster_cidrs))
        for destination in changes.remove:
            _change(netlink, "del", destination)
        for destination, via in changes.add.items():
            _change(netlink, "replace", destination, gateway=via)
    told &= set(wanted.items())


def wanted_routes(nodes: Iterable[Obj], own_name: str, cluster_cidrs: Iterable[str]) -> dict[str, str]:
    """Pod network to node address of the same family, for all other nodes that have both. Pure."""
    routes: dict[str, str] = {}
    for node in sorted(nodes, key=lambda each: str(each["metadata"]["name"])):
        if node["metadata"]["name"] == own_name:
            continue
        addresses = _internal_ips(node)
        for cidr in cluster_cidrs:
            cluster = ip_network(cidr)
            network, address = _network_within(cluster, node), addresses.get(cluster.version)
            if network and address:
                routes.setdefault(network, address)
    return routes


def _network_within(cluster: Network, node: Obj) -> str:
    """A node's own part of a network of the cluster, or nothing."""
    for cidr in (node.get("spec") or {}).get("podCIDRs") or ():
        try:
            network: Any = type(cluster)(cidr)
        except ValueError:
            continue
        if network.subnet_of(cluster) and network.prefixlen > cluster.prefixlen:
            return str(network)
    return ""


def essence(node: Obj) -> Obj:
    """The part of a Node that routes depend on; the rest need not stay in memory."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return {
        "metadata": {name: node["metadata"][name] for name in ("name", "resourceVersion")},
        "spec": {"podCIDRs": spec.get("podCIDRs")},
        "status": {"addresses": status.get("addresses") or []},
    }


def plan_changes(wanted: Mapping[str, str], table: RoutingTable) -> Changes:
    """What brings the table to what is wanted. Pure."""
    mine = {destination: via for destination, via in wanted.items() if destination not in table.foreign}
    return Changes(
        {destination: via for destination, via in mine.items() if table.own.get(destination) != via},
        tuple(destination for destination in table.own if destination not in mine),
    )


def _internal_ips(node: Obj) -> dict[int, str]:
    """The first internal address of each IP version."""
    found: dict[int, str] = {}
    for each in (node.get("status") or {}).get("addresses") or ():
        if each.get("type") == "InternalIP":
            with contextlib.suppress(ValueError):
                address = ip_address(each["address"])
                found.setdefault(address.version, str(address))
    return found


def _change(netlink: Any, verb: str, destination: str, **gateway: str) -> None:
    """One change; a link that has just gone down takes its routes along, and the next round sees what is there."""
    try:
        netlink.route(verb, dst=destination, proto=PROTOCOL, family=_socket_family(destination), **gateway)
    except NetlinkError as error:
        log.warning("route not changed verb=%s destination=%s error=%s", verb, destination, error)
    else:
        log.info("route changed verb=%s destination=%s via=%s", verb, destination, gateway.get("gateway", ""))


def _is_direct(netlink: Any, destination: str, via: str, told: set[tuple[str, str]]) -> bool:
    """Whether a node's address is a neighbour; routers between would not know the pods' network."""
    try:
        (route,) = netlink.route("get", dst=via, family=_socket_family(via))
    except (NetlinkError, ValueError):
        reachable = False
    else:
        if route["type"] == _LOCAL:
            return False
        reachable = route.get("gateway") is None and route["type"] == _UNICAST
    if not reachable and (destination, via) not in told:
        told.add((destination, via))
        log.warning("no network in common with the node, its pods are not reached pods=%s node=%s", destination, via)
    return reachable


def _read_table(netlink: Any, cluster_cidrs: Iterable[str]) -> RoutingTable:
    own: dict[str, str] = {}
    foreign: set[str] = set()
    for cidr in cluster_cidrs:
        cluster: Any = ip_network(cidr)
        for route in netlink.get_routes(family=_socket_family(cidr), table=_MAIN_TABLE):
            destination = f"{route.get('dst')}/{route['dst_len']}" if route.get("dst") else ""
            if not destination or not ip_network(destination).subnet_of(cluster):
                continue
            if route["proto"] == PROTOCOL:
                own[destination] = str(route.get("gateway"))
            else:
                foreign.add(destination)
    return RoutingTable(own, frozenset(foreign))


def _socket_family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET
