"""The machine's side of the cluster's network, and taking everything off the machine again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from sparsam.agent.config import AgentPaths
from sparsam.cli.nodes import local_nodes
from sparsam.errors import SparsamError
from sparsam.settings import NodeSettings, Settings

if TYPE_CHECKING:
    from sparsam.proxy.links import NetworkPlan

CLEAR_SECONDS = 120


def ensure_machine_network(settings: Settings) -> None:
    """The machine-internal bridge, and a namespace with wire and routes for each node that has one.

    Raises SparsamError if the machine refuses.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    from sparsam.proxy.links import ensure_network

    try:
        changed = ensure_network(_plan(settings))
    except NetlinkError as error:
        hint = "another cluster of this machine may have nodes of the same names; sparsam down ends it"
        raise SparsamError(f"cannot set up the machine's network: {error.args[-1]} ({hint})") from error
    kept = settings.data_path / "network.json"
    former = json.loads(kept.read_text()) if kept.exists() else {}
    # What was there before the first start counts, not what an earlier start left.
    kept.write_text(json.dumps({**changed, **former}))


def clear_machine(settings: Settings, *, keep_data: bool) -> None:
    """Stop every container of this machine's nodes and take the network down; raises SparsamError."""
    for node in local_nodes(settings):
        _clear_node(settings, node, keep_data=keep_data)
    asyncio.run(_clear_services())
    if settings.server:
        return
    from sparsam.proxy.links import remove_network

    kept = settings.data_path / "network.json"
    remove_network(_plan(settings), json.loads(kept.read_text()) if kept.exists() else {})
    kept.unlink(missing_ok=True)


def agent_paths(settings: Settings, node: NodeSettings) -> AgentPaths:
    """Where a node keeps what it makes."""
    return AgentPaths(
        node_name=node.name, data_dir=settings.data_path / "nodes" / node.name, run_dir=settings.run_path / node.name
    )


async def clear_node_here(settings: Settings, node: NodeSettings, *, keep_data: bool) -> None:
    """Remove what a node made; runs in the node's network namespace."""
    from sparsam.agent.purge import purge, purge_foreign
    from sparsam.agent.routes import purge as purge_routes

    if settings.cri_socket:
        await purge_foreign(settings.cri_socket, node.name)
    await purge(agent_paths(settings, node), keep_data=keep_data)
    await asyncio.to_thread(purge_routes, settings.cluster_cidrs)
    await _clear_services()


async def _clear_services() -> None:
    from sparsam.proxy.main import purge

    await purge()


def _clear_node(settings: Settings, node: NodeSettings, *, keep_data: bool) -> None:
    # A process of its own, since a network namespace is entered for good.
    command = [sys.executable, "-m", "sparsam.cli", "serve", "clear-node", node.name, "--data-dir", settings.data_dir]
    command += ["--keep-data"] if keep_data else []
    result = subprocess.run(command, capture_output=True, text=True, timeout=CLEAR_SECONDS, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise SparsamError(f"cannot clear node {node.name}: {lines[-1]}")


def _plan(settings: Settings) -> NetworkPlan:
    from sparsam.proxy.links import NetworkPlan, NodeWire

    wires = [NodeWire(node.netns, node.ips, node.pod_cidrs) for node in local_nodes(settings) if node.netns]
    networks = zip(settings.machine_ips, settings.machine_networks, strict=True)
    addresses = tuple(f"{address}/{network.prefixlen}" for address, network in networks)
    return NetworkPlan(addresses=addresses, nodes=tuple(wires))
