"""The proxy of one node: watches Services and EndpointSlices, programs nftables, serves the cluster's DNS.

Rules outlive the process: a restart finds connections and new clients served as before. `purge` removes everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.informer import Handler, Informer
from sparsam.clock import SystemClock
from sparsam.objects.kinds import ENDPOINTSLICES, NODES, SERVICES
from sparsam.proxy.config import ProxyConfig
from sparsam.proxy.dnslink import ensure_dns_link, remove_dns_link
from sparsam.proxy.dnsserver import DnsServer
from sparsam.proxy.families import FAMILIES, Family
from sparsam.proxy.health import HealthChecks
from sparsam.proxy.netlink import NetlinkError
from sparsam.proxy.nftables import NftablesError, delete_table, open_nftables
from sparsam.proxy.ownaddresses import OwnAddresses
from sparsam.proxy.policing import Policing, policy_table
from sparsam.proxy.programmer import Follower, Programmer, Side
from sparsam.proxy.resolver import DNS_PORT, Resolver, read_resolv_conf
from sparsam.proxy.services import Network
from sparsam.proxy.view import View
from sparsam.proxy.zone import Zone

log = logging.getLogger(__name__)

Obj = dict[str, Any]
ZONE_LABEL = "topology.kubernetes.io/zone"
_RETRY_SECONDS = 1.0
_RESOLV_CONF = Path("/etc/resolv.conf")


async def run(config: ProxyConfig) -> None:
    """Serve until cancelled, in this thread's network namespace. The API server may come and go."""
    view = View()
    zone = Zone(config.cluster_domain, config.dns_ip, (*config.service_cidrs, *config.cluster_cidrs))
    programmer = _programmer(config, view, zone)
    await programmer.prepare()
    async with ApiClient(config.client, program="kube-proxy") as client, asyncio.TaskGroup() as group:
        services, slices = Informer(client, SERVICES), Informer(client, ENDPOINTSLICES)
        if config.node_name:
            node = Informer(client, NODES, field_selector=f"metadata.name={config.node_name}", transform=_labels_alone)
            node.add_handler(lambda _kind, _old, new: programmer.move(_zone_of(new)) if new else None)
            group.create_task(node.run(), name="node")
        services.add_handler(_follow(view.put_service, view.drop_service, programmer))
        slices.add_handler(_follow(view.put_slice, view.drop_slice, programmer))
        group.create_task(_serve_dns(config, zone), name="dns")
        group.create_task(Policing(config, client, open_nftables()).run(), name="network policies")
        group.create_task(services.run(), name="services")
        group.create_task(slices.run(), name="endpointslices")
        await services.synced.wait()
        await slices.synced.wait()
        await programmer.run(SystemClock(), batch_seconds=config.batch_seconds, check_seconds=config.check_seconds)


def _programmer(config: ProxyConfig, view: View, zone: Zone) -> Programmer:
    sides = tuple(_side(config, family) for family in config.families)
    return Programmer(view=view, zone=zone, sides=sides, nftables=open_nftables(), table=config.table)


def _side(config: ProxyConfig, family: Family) -> Side:
    network = Network(
        family.of(config.cluster_cidrs),
        family.of(config.service_cidrs),
        family.of(config.machine_cidrs),
        family.of((config.dns_ip,)),
        config.node_name,
        node_ip=family.of(config.node_ips),
        balancer_cidr=family.of(config.balancer_cidrs),
    )
    followers: list[Follower] = [HealthChecks(family.everywhere)] if config.node_name else []
    if config.announce:
        followers.append(OwnAddresses(config.dns_link, family, network.dns_ip))
    return Side(network, followers)


def _labels_alone(node: Obj) -> Obj:
    """Heartbeats and images of the node are nothing to us."""
    metadata = node["metadata"]
    return {"metadata": {name: metadata.get(name) for name in ("name", "resourceVersion", "labels")}}


def _zone_of(node: Obj) -> str:
    return str((node["metadata"].get("labels") or {}).get(ZONE_LABEL, ""))


async def purge(*, table: str = "sparsam", dns_link: str = "spd0") -> None:
    """Remove the tables and the link of the DNS from this thread's network namespace; nothing else is touched."""
    for each in (f"{family.nft} {name}" for family in FAMILIES for name in (table, policy_table(table))):
        try:
            await asyncio.to_thread(delete_table, open_nftables(), each)
        except NftablesError as error:
            log.warning("table not removed table=%s error=%s", each, error)
    await asyncio.to_thread(remove_dns_link, dns_link)


def _follow(put: Callable[[Obj], None], drop: Callable[[Obj], None], programmer: Programmer) -> Handler:
    def on_event(_kind: str, old: Obj | None, new: Obj | None) -> None:
        if new is not None:
            put(new)
        elif old is not None:
            drop(old)
        programmer.notice()

    return on_event


async def _serve_dns(config: ProxyConfig, zone: Zone) -> None:
    """Serve DNS; an address in use or a missing right is tried again, since the rules work without DNS."""
    servers = tuple((each, DNS_PORT) for each in config.upstream_resolvers)
    resolver = Resolver(servers or read_resolv_conf(_RESOLV_CONF, without=config.dns_ip))
    ways = {family.of(config.service_cidrs): family.of(config.node_ips) for family in config.families}
    said = ""
    while True:
        try:
            await asyncio.to_thread(ensure_dns_link, config.dns_link, config.dns_ip, ways)
            async with DnsServer(zone, resolver, address=config.dns_ip):
                log.info("cluster dns in place address=%s upstream=%s", config.dns_ip, resolver.servers)
                await asyncio.Event().wait()
        except (OSError, NetlinkError) as error:
            if str(error) != said:
                log.error("cluster dns not in place address=%s error=%s", config.dns_ip, error)
                said = str(error)
        await asyncio.sleep(_RETRY_SECONDS)
