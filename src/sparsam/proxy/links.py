"""The machine-internal network: a bridge for the API server, and for each node a namespace wired to it.

The plan is a value; `ensure_network` brings the machine to it from any state, and `remove_network` takes away all that
a plan names. Both block for some milliseconds per node.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from pyroute2 import netns

from sparsam.proxy.netlink import NetlinkError, link_index, open_netlink

_NODE_LINK = "eth0"
_NETNS_DIR = Path("/run/netns")
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True, slots=True)
class NodeWire:
    """One node in a namespace of its own."""

    netns: str
    ip: str
    pod_cidr: str


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What the machine should have; without nodes the bridge alone, for the API server's address."""

    address: str = "10.245.0.1"
    """The machine's own address on the bridge, and the nodes' default gateway."""
    prefix_length: int = 24
    bridge: str = "sparsam0"
    nodes: tuple[NodeWire, ...] = ()

    def host_link(self, node: NodeWire) -> str:
        """Name of a node's wire at the bridge; unique, and short enough for the kernel."""
        return f"{self.bridge[:10]}n{self.nodes.index(node) + 1}"

    def machine_routes(self) -> dict[str, str]:
        """Routes of the machine: network to gateway."""
        return {node.pod_cidr: node.ip for node in self.nodes}

    def node_routes(self, node: NodeWire) -> dict[str, str]:
        """Routes inside a node's namespace: network to gateway."""
        others = {other.pod_cidr: other.ip for other in self.nodes if other != node}
        return {"0.0.0.0/0": self.address, **others}


def ensure_network(plan: NetworkPlan) -> dict[str, str]:
    """Make what is missing; returns the kernel settings of the machine that changed, with their former values."""
    changed = {}
    former = IP_FORWARD.read_text().strip()
    if plan.nodes and former != "1":
        IP_FORWARD.write_text("1")
        changed[str(IP_FORWARD)] = former
    with open_netlink() as machine:
        bridge = link_index(machine, plan.bridge)
        if bridge is None:
            machine.link("add", ifname=plan.bridge, kind="bridge")
            bridge = link_index(machine, plan.bridge)
        _address(machine, bridge, plan.address, plan.prefix_length)
        for node in plan.nodes:
            _ensure_wire(machine, bridge, plan, node)
            _ensure_inside(plan, node)
        _routes(machine, plan.machine_routes())
    return changed


def remove_network(plan: NetworkPlan, restore: dict[str, str] | None = None) -> None:
    """Remove all that the plan names, and write back kernel settings; what is gone already is no error."""
    with open_netlink() as machine:
        for node in plan.nodes:
            _remove_link(machine, plan.host_link(node))
        _remove_link(machine, plan.bridge)
    for node in plan.nodes:
        if (_NETNS_DIR / node.netns).exists():
            netns.remove(node.netns)
    for name, value in (restore or {}).items():
        Path(name).write_text(value)


def _ensure_wire(machine: Any, bridge: int | None, plan: NetworkPlan, node: NodeWire) -> None:
    if not (_NETNS_DIR / node.netns).exists():
        netns.create(node.netns)
    name = plan.host_link(node)
    if link_index(machine, name) is None:
        peer = {"ifname": _NODE_LINK, "net_ns_fd": node.netns}
        machine.link("add", ifname=name, kind="veth", peer=peer)
    machine.link("set", index=link_index(machine, name), master=bridge, state="up")


def _ensure_inside(plan: NetworkPlan, node: NodeWire) -> None:
    with open_netlink(node.netns) as inside:
        inside.link("set", index=link_index(inside, "lo"), state="up")
        _address(inside, link_index(inside, _NODE_LINK), node.ip, plan.prefix_length)
        _routes(inside, plan.node_routes(node))
    _in_namespace(node.netns, lambda: IP_FORWARD.write_text("1"))


def _address(netlink: Any, index: int | None, address: str, prefix_length: int) -> None:
    network = IPv4Network(f"{address}/{prefix_length}", strict=False)
    netlink.addr(
        "replace", index=index, address=address, prefixlen=prefix_length, broadcast=str(network.broadcast_address)
    )
    netlink.link("set", index=index, state="up")


def _routes(netlink: Any, routes: dict[str, str]) -> None:
    for destination, gateway in routes.items():
        netlink.route("replace", dst=destination, gateway=gateway)


def _remove_link(netlink: Any, name: str) -> None:
    index = link_index(netlink, name)
    if index is not None:
        with contextlib.suppress(NetlinkError):
            netlink.link("del", index=index)


def _in_namespace(name: str, work: Callable[[], object]) -> None:
    """Run something in a namespace; in a thread, since the namespace belongs to the thread."""
    failures: list[OSError] = []

    def inside() -> None:
        try:
            netns.setns(name)
            work()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
