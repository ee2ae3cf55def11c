"""The machine-internal network: a bridge for the API server, and for each node a namespace wired to it.

The plan is a value; `ensure_network` brings the machine to it from any state, and `remove_network` takes away all that
a plan names. Both block for some milliseconds per node.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import netns

from sparsam.proxy.families import IPV4, IPV6, family_of
from sparsam.proxy.netlink import NetlinkError, add_address, link_index, open_netlink

_NODE_LINK = "eth0"
_NETNS_DIR = Path("/run/netns")
_SYSCTLS = Path("/proc/sys/net")
FORWARDING = {IPV4: _SYSCTLS / "ipv4/ip_forward", IPV6: _SYSCTLS / "ipv6/conf/all/forwarding"}


@dataclass(frozen=True, slots=True)
class NodeWire:
    """One node in a namespace of its own."""

    netns: str
    ips: tuple[str, ...]
    """One of each family that the machine has on the bridge, in the same order; so are the networks of its pods."""
    pod_cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What the machine should have; without nodes the bridge alone, for the API server's address."""

    addresses: tuple[str, ...] = ("10.245.0.1/24",)
    """The machine's own addresses on the bridge, and the nodes' gateways; with the lengths of their networks."""
    bridge: str = "sparsam0"
    nodes: tuple[NodeWire, ...] = ()

    def host_link(self, node: NodeWire) -> str:
        """Name of a node's wire at the bridge; unique, and short enough for the kernel."""
        return f"{self.bridge[:10]}n{self.nodes.index(node) + 1}"

    def machine_routes(self) -> dict[str, str]:
        """Routes of the machine: network to gateway."""
        return _ways(self.nodes)

    def node_routes(self, node: NodeWire) -> dict[str, str]:
        """Routes inside a node's namespace: network to gateway."""
        gateways = (each.partition("/")[0] for each in self.addresses)
        outside = {family_of(each).all: each for each in gateways}
        return outside | _ways(other for other in self.nodes if other != node)


def ensure_network(plan: NetworkPlan) -> dict[str, str]:
    """Make what is missing; returns the kernel settings of the machine that changed, with their former values."""
    changed = _forward(plan) if plan.nodes else {}
    with open_netlink() as machine:
        bridge = link_index(machine, plan.bridge)
        if bridge is None:
            machine.link("add", ifname=plan.bridge, kind="bridge")
            bridge = link_index(machine, plan.bridge)
        for address in plan.addresses:
            _address(machine, bridge, address)
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
        for ip, gateway in zip(node.ips, plan.addresses, strict=True):
            _address(inside, link_index(inside, _NODE_LINK), f"{ip}/{gateway.partition('/')[2]}")
        _routes(inside, plan.node_routes(node))
    _in_namespace(node.netns, lambda: _forward(plan))


def _forward(plan: NetworkPlan) -> dict[str, str]:
    """Let this network namespace pass packets on; returns the former values of the settings that changed."""
    wanted: dict[Path, str] = {}
    for family in map(family_of, plan.addresses):
        if family is IPV6 and FORWARDING[IPV6].read_text().strip() != "1":
            wanted.update(dict.fromkeys(_listening(), "2"))
        wanted[FORWARDING[family]] = "1"
    changed = {}
    for path, value in wanted.items():
        former = path.read_text().strip()
        if former != value:
            path.write_text(value)
            changed[str(path)] = former
    return changed


def _listening() -> Iterator[Path]:
    """The settings of links that learn routes from routers: as a router, a machine does so only if told expressly.

    Links to come and our own are none of them: there pods could pose as routers.
    """
    for path in _SYSCTLS.glob("ipv6/conf/*/accept_ra"):
        if path.parent.name not in ("all", "default", "lo") and path.read_text().strip() == "1":
            yield path


def _address(netlink: Any, index: int | None, text: str) -> None:
    address = ip_interface(text)
    more = {"broadcast": str(address.network.broadcast_address)} if address.version == 4 else {}
    add_address(netlink, index, str(address.ip), address.network.prefixlen, **more)
    netlink.link("set", index=index, state="up")


def _ways(nodes: Iterable[NodeWire]) -> dict[str, str]:
    return {cidr: ip for node in nodes for cidr, ip in zip(node.pod_cidrs, node.ips, strict=True)}


def _routes(netlink: Any, routes: dict[str, str]) -> None:
    for destination, gateway in routes.items():
        netlink.route("replace", dst=destination, gateway=gateway, family=family_of(gateway).socket)


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
