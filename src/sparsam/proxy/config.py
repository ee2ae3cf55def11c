"""What the service proxy of one node is told at start."""

from __future__ import annotations

from dataclasses import dataclass

from sparsam.client.config import ClusterConfig
from sparsam.proxy.families import Family, family_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Everything the proxy needs to know. It programs the network namespace that it runs in."""

    client: ClusterConfig
    node_name: str
    """Name of the node whose pods live in this namespace; empty for a namespace without pods."""
    node_ips: tuple[str, ...]
    """The node's address in each family that the cluster has, the first one's first; so are all that follow."""
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    """Networks of all pods."""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    """Networks of all ClusterIPs."""
    machine_cidrs: tuple[str, ...] = ("10.245.0.0/24",)
    """Networks of this machine's nodes; their traffic to the outside is masqueraded like the pods'."""
    dns_ip: str = "10.96.0.10"
    """Where the cluster's DNS is served; lies in the first of `service_cidrs`."""
    balancer_cidrs: tuple[str, ...] = ()
    """Networks of this machine's own load-balancer addresses; none for a family without."""
    announce: bool = False
    """Give this network namespace those addresses: it is the machine's."""
    cluster_domain: str = "cluster.local"
    upstream_resolvers: tuple[str, ...] = ()
    """Addresses that answer for other domains; empty takes those of `/etc/resolv.conf`."""
    table: str = "sparsam"
    """Name of the nftables table of each family."""
    dns_link: str = "spd0"
    """Link that carries `dns_ip`."""
    pod_link: str = "spc0"
    """Bridge of the node's pods."""
    batch_seconds: float = 0.05
    """How long changes gather after the first one has been applied."""
    check_seconds: float = 60.0
    """How often the tables are looked for, in case another program flushed one."""

    @property
    def families(self) -> tuple[Family, ...]:
        """The address families that the cluster has."""
        return tuple(map(family_of, self.service_cidrs))
