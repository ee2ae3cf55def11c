"""The nodes of this machine: their settings and the configs of the parts that run them."""

from __future__ import annotations

import platform
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from sparsam.settings import NodeSettings, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from sparsam.agent.config import AgentConfig
    from sparsam.agent.routes import RoutesConfig
    from sparsam.cli.certificates import Papers
    from sparsam.client.config import ClusterConfig
    from sparsam.proxy.config import ProxyConfig


_ELSEWHERE = {4: "198.51.100.1", 6: "2001:db8::1"}
"""Addresses that nobody has (RFC 5737, RFC 3849)."""


def local_nodes(settings: Settings) -> list[NodeSettings]:
    """The nodes that run on this machine."""
    return settings.node_list(platform.node().split(".")[0].lower() or "localhost", primary_ips())


def local_node(settings: Settings, name: str) -> NodeSettings:
    """One of them by name; raises SettingsError."""
    for node in local_nodes(settings):
        if node.name == name:
            return node
    raise SettingsError(f"this machine has no node {name!r}")


def joined(data_dir: Path) -> Settings | None:
    """The settings of a node that joined from here before, or None."""
    try:
        settings = read_settings(data_dir / "cluster.json")
    except SettingsError:
        return None
    return settings if settings.server else None


def primary_ips() -> dict[int, str]:
    """The addresses that this machine uses towards the world, by IP version; none without a default route."""
    found = {version: address_towards(host, 9) for version, host in _ELSEWHERE.items()}
    return {version: address for version, address in found.items() if address}


def address_towards(host: str, port: int) -> str:
    """The address of this machine that another one would see; empty if there is no way. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def public_host(settings: Settings) -> str | None:
    """The address at which other machines find the API server of this one, or None when it is not for them."""
    if ip_address(settings.listen or "0.0.0.0").is_unspecified:
        return settings.node_ip.partition(",")[0] or primary_ips().get(settings.versions[0])
    return None if ip_address(settings.listen).is_loopback else settings.listen


def node_client(settings: Settings, node: NodeSettings) -> ClusterConfig:
    """How a node's own parts reach the API server, or, for no node, the machine's service proxy does."""
    from sparsam.client.config import load_kubeconfig

    return load_kubeconfig(settings.data_path / (f"node-{node.name}.kubeconfig" if node.name else "proxy.kubeconfig"))


def node_papers(settings: Settings, node: NodeSettings) -> Papers:
    """The certificates of a node of this machine."""
    from sparsam.cli.certificates import Papers

    return Papers(settings.pki_dir, node.name, node.ips, settings.data_path / f"node-{node.name}.kubeconfig")


def agent_config(settings: Settings, node: NodeSettings) -> AgentConfig:
    """The agent's config for a node of this machine."""
    from sparsam.agent.config import AgentConfig

    return AgentConfig(
        node_name=node.name,
        node_ips=node.ips,
        data_dir=settings.data_path / "nodes" / node.name,
        run_dir=settings.run_path / node.name,
        cri_socket=settings.cri_socket or None,
        pod_cidrs=node.pod_cidrs,
        cluster_dns=settings.dns_ip,
        cluster_domain=settings.cluster_domain,
        client=node_client(settings, node),
        serving_cert=settings.pki_dir / f"node-{node.name}-serving.crt",
        serving_key=settings.pki_dir / f"node-{node.name}-serving.key",
        ca=settings.pki_dir / "ca.crt",
        machine_nodes=settings.nodes,
        shutdown_seconds=settings.shutdown_grace_period,
        shutdown_critical_seconds=settings.shutdown_grace_period_critical_pods,
        static_pods=Path(settings.static_pods) if settings.static_pods else None,
        pod_pids_limit=settings.pod_pids_limit,
    )


def proxy_config(settings: Settings, node: NodeSettings) -> ProxyConfig:
    """The service proxy's config for a node of this machine."""
    from sparsam.proxy.config import ProxyConfig

    return ProxyConfig(
        client=node_client(settings, node),
        node_name=node.name,
        node_ips=node.ips,
        cluster_cidrs=settings.cluster_cidrs,
        service_cidrs=settings.service_cidrs,
        machine_cidrs=tuple(map(str, settings.machine_networks)),
        dns_ip=settings.dns_ip,
        balancer_cidrs=settings.balancer_cidrs,
        announce=bool(settings.balancer_cidrs) and not node.netns,
        cluster_domain=settings.cluster_domain,
    )


def routes_config(settings: Settings, node: NodeSettings) -> RoutesConfig:
    """What keeps the routes to the pods of other machines' nodes."""
    from sparsam.agent.routes import RoutesConfig

    return RoutesConfig(client=node_client(settings, node), node_name=node.name, cluster_cidrs=settings.cluster_cidrs)
