"""The load-balancer addresses of this machine's pool, as addresses of its own on the link of the DNS.

So the machine's programs reach them without a route, and the kernel answers neighbours that ask who has one, when the
pool is a part of their network. Every address on the link but that of the DNS, and those of the link
itself, is ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from sparsam.proxy.dnslink import ensure_link
from sparsam.proxy.families import Family
from sparsam.proxy.netlink import NetlinkError, add_address, open_netlink
from sparsam.proxy.services import Fragment
from sparsam.proxy.view import ServiceKey

log = logging.getLogger(__name__)

_UNIVERSE = 0
"""Scope of all addresses but those that the kernel gives to a link by itself."""


class OwnAddresses:
    """What Services want of one address family, and what the link has."""

    def __init__(self, link: str, family: Family, dns_ip: str) -> None:
        self._link, self._family, self._dns_ip = link, family, dns_ip
        self._wanted: dict[ServiceKey, frozenset[str]] = {}
        self._users: Counter[str] = Counter()
        self._present: frozenset[str] | None = None
        self._said = ""

    def put(self, key: ServiceKey, fragment: Fragment) -> None:
        """Note the addresses of a Service."""
        self._users.subtract(self._wanted.pop(key, ()))
        if fragment.own_ips:
            self._wanted[key] = fragment.own_ips
            self._users.update(fragment.own_ips)
        self._users = +self._users

    async def settle(self, *, healthy: bool) -> bool:
        """Bring the link's addresses in step; False if that failed."""
        wanted = frozenset(self._users)
        if wanted == self._present:
            return True
        try:
            await asyncio.to_thread(set_addresses, self._link, self._family, wanted, keep=self._dns_ip)
        except (NetlinkError, OSError) as error:
            if str(error) != self._said:
                log.warning("load balancer addresses not in place error=%s", error)
            self._said = str(error)
            return False
        self._present = wanted
        return True


def set_addresses(link: str, family: Family, wanted: frozenset[str], *, keep: str) -> None:
    """Give a link exactly these addresses of a family beside one that stays; raises NetlinkError. Blocks shortly."""
    with open_netlink() as route:
        index = ensure_link(route, link)
        known = route.get_addr(index=index, family=family.socket, scope=_UNIVERSE)
        present = {each.get_attr("IFA_ADDRESS") for each in known} - {keep}
        for address in sorted(present - wanted):
            route.addr("del", index=index, address=address, prefixlen=family.bits)
        for address in sorted(wanted - present):
            add_address(route, index, address, family.bits)
        if wanted:
            route.link("set", index=index, state="up")
