"""Route netlink through pyroute2, whose constructors carry no types."""

from __future__ import annotations

from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as NetlinkError

_IFA_F_NODAD = 0x02
"""No detection of duplicates, which would take a second (rtnetlink(7))."""


def open_netlink(netns: str | None = None) -> Any:
    """A blocking netlink socket, for use as a context manager; of a named network namespace or of this thread's."""
    constructor: Any = IPRoute
    return constructor(netns=netns) if netns else constructor()


def add_address(netlink: Any, index: int | None, address: str, prefix_length: int, **more: str) -> None:
    """Give a link an address, usable at once: nobody else has those that we give out."""
    flags = _IFA_F_NODAD if ":" in address else 0
    netlink.addr("replace", index=index, address=address, prefixlen=prefix_length, flags=flags, **more)


def link_index(netlink: Any, name: str) -> int | None:
    """The index of a link, or None."""
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None
