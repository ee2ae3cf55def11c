"""The two address families, each with a table of its own in nftables: what differs between them in one place.

Two tables rather than one of nftables' family `inet`: a cluster of one family has exactly the rules that it needs, and
one that has both has the same ones twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """One address family by the names that others give it."""

    version: int
    kubernetes: str
    """As EndpointSlices and Services say it."""
    nft: str
    """Family of the table, and how matches of addresses begin."""
    key: str
    """nftables' type for addresses."""
    socket: AddressFamily
    loopback: str
    """Network of addresses that never leave a node."""
    everywhere: str
    """Address to listen on for all that a node has."""
    bits: int
    network: type[IPv4Network | IPv6Network]

    def has(self, address: str) -> bool:
        """Whether a valid address or network is of this family."""
        return (":" in address) == (self.version == 6)

    @property
    def all(self) -> str:
        """The network of every address: where a default route leads."""
        return f"{self.everywhere}/0"

    def of(self, addresses: tuple[str, ...]) -> str:
        """The first one of this family, or nothing."""
        return next(filter(self.has, addresses), "")

    def merged(self, networks: Iterable[str]) -> tuple[str, ...]:
        """The networks of this family among some, without overlaps: nftables refuses those."""
        found: list[Any] = []
        for each in filter(self.has, networks):
            with contextlib.suppress(ValueError):
                found.append(self.network(each, strict=False))
        return tuple(map(str, collapse_addresses(found)))


IPV4 = Family(4, "IPv4", "ip", "ipv4_addr", AF_INET, "127.0.0.0/8", "0.0.0.0", 32, IPv4Network)
IPV6 = Family(6, "IPv6", "ip6", "ipv6_addr", AF_INET6, "::1", "::", 128, IPv6Network)
FAMILIES = (IPV4, IPV6)


def family_of(address: str) -> Family:
    """The family of a valid address or network."""
    return IPV6 if ":" in address else IPV4
