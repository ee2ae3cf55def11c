"""The link that carries the address of the cluster's DNS, and the route that gives ClusterIPs a way out.

A process of the node reaches a ClusterIP only if some route leads there: the rules that redirect the packet come
after the choice of a route. The link is a dummy, or an empty bridge on kernels without dummies.
"""

from __future__ import annotations

import contextlib
import errno
from ipaddress import IPv4Network
from typing import Any

from sparsam.proxy.netlink import NetlinkError, link_index, open_netlink


def ensure_dns_link(name: str, dns_ip: str, service_cidr: str, node_ip: str) -> None:
    """Make the link, its address and the route, as far as they are missing. Blocks shortly.

    Raises NetlinkError or OSError.
    """
    with open_netlink() as route:
        index = ensure_link(route, name)
        route.addr("replace", index=index, address=dns_ip, prefixlen=32)
        route.link("set", index=index, state="up")
        destination = str(IPv4Network(service_cidr))
        try:
            route.route("replace", dst=destination, oif=index, scope="link", prefsrc=node_ip)
        except NetlinkError:
            # The node's address is not in this namespace; any will do, since the rules replace it.
            route.route("replace", dst=destination, oif=index, scope="link")


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
