"""Route netlink through pyroute2, whose constructors carry no types."""

from __future__ import annotations

from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as NetlinkError


def open_netlink(netns: str | None = None) -> Any:
    """A blocking netlink socket, for use as a context manager; of a named network namespace or of this thread's."""
    constructor: Any = IPRoute
    return constructor(netns=netns) if netns else constructor()


def link_index(netlink: Any, name: str) -> int | None:
    """The index of a link, or None."""
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None
