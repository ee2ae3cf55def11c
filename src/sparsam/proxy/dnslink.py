"""The link that carries the address of the cluster's DNS, and the routes that give ClusterIPs a way out.

A process of the node reaches a ClusterIP only if some route leads there: the rules that redirect the packet come
after the choice of a route. The link is a dummy, or an empty bridge on kernels without dummies.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from typing import Any

from sparsam.proxy.families import family_of
from sparsam.proxy.netlink import NetlinkError, add_address, link_index, open_netlink


def ensure_dns_link(name: str, dns_ip: str, ways: Mapping[str, str]) -> None:
    """Make the link, its address and the routes, as far as they are missing. Blocks shortly.

    `ways` are networks of ClusterIPs, with the node's own address of the same family. Raises NetlinkError or OSError.
    """
    with open_netlink() as route:
        index = ensure_link(route, name)
        add_address(route, index, dns_ip, family_of(dns_ip).bits)
        route.link("set", index=index, state="up")
        for network, node_ip in ways.items():
            _ensure_route(route, index, network, node_ip)


def _ensure_route(route: Any, index: int, network: str, node_ip: str) -> None:
    wanted = {"dst": network, "oif": index, "family": family_of(network).socket, "scope": "link"}
    try:
        route.route("replace", **wanted, prefsrc=node_ip)
    except NetlinkError:
        # The node's address is not in this namespace; any will do, since the rules replace it.
        route.route("replace", **wanted)


def remove_dns_link(name: str) -> None:
    """Remove the link, and with it address and route. Blocks shortly."""
    with open_netlink() as route:
        index = link_index(route, name)
        if index is not None:
            with contextlib.suppress(NetlinkError):
                route.link("del", index=index)


def ensure_link(route: Any, name: str) -> int:
    """The index of the link, which is made if it is missing; raises OSError."""
    for kind in ("dummy", "bridge"):
        index = link_index(route, name)
        if index is not None:
            return index
        # No dummies in this kernel, or somebody else was faster.
        with contextlib.suppress(NetlinkError):
            route.link("add", ifname=name, kind=kind)
    (made,) = route.link_lookup(ifname=name) or (None,)
    if made is None:
        raise OSError(errno.ENODEV, f"no link {name} can be made")
    return int(made)
