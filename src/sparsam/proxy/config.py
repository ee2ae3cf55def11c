"""What the service proxy of one node is told at start."""

from __future__ import annotations

from dataclasses import dataclass

from sparsam.client.config import ClusterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Everything the proxy needs to know. It programs the network namespace that it runs in."""

    client: ClusterConfig
    node_name: str
    """Name of the node whose pods live in this namespace; empty for a namespace without pods."""
    node_ip: str
    cluster_cidr: str = "10.244.0.0/16"
    """Network of all pods."""
    service_cidr: str = "10.96.0.0/16"
    """Network of all ClusterIPs."""
    machine_cidr: str = "10.245.0.0/24"
    """Network of this machine's nodes; its traffic to the outside is masqueraded like the pods'."""
    dns_ip: str = "10.96.0.10"
    """Where the cluster's DNS is served; lies in `service_cidr`."""
    balancer_cidr: str = ""
    """Network of this machine's own load-balancer addresses; empty for none."""
    announce: bool = False
    """Give this network namespace those addresses: it is the machine's."""
    cluster_domain: str = "cluster.local"
    upstream_resolvers: tuple[str, ...] = ()
    """Addresses that answer for other domains; empty takes those of `/etc/resolv.conf`."""
    table: str = "sparsam"
    """Name of the nftables table, of family ip."""
    dns_link: str = "spd0"
    """Link that carries `dns_ip`."""
    batch_seconds: float = 0.05
    """How long changes gather after the first one has been applied."""
    check_seconds: float = 60.0
    """How often the table is looked for, in case another program flushed it."""
