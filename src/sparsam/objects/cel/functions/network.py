"""Addresses, networks and URLs: Kubernetes' ip, cidr and url libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from sparsam.objects.cel.declarations import Overload, overload, table
from sparsam.objects.cel.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class IP:
    """An address."""

    address: IPv4Address | IPv6Address
    type_name = "net.IP"

    def __str__(self) -> str:
        """The canonical form."""
        return str(self.address)


@dataclass(frozen=True, slots=True)
class CIDR:
    """A network: an address in it, and the length of the prefix."""

    address: IPv4Address | IPv6Address
    length: int
    type_name = "net.CIDR"

    def __str__(self) -> str:
        """As it was written."""
        return f"{self.address}/{self.length}"

    def network(self) -> IPv4Network | IPv6Network:
        """Without the bits of the host."""
        return ip_network(f"{self.address}/{self.length}", strict=False)


@dataclass(frozen=True, slots=True)
class URL:
    """An absolute URL, or a path."""

    parts: SplitResult
    type_name = "kubernetes.URL"


def parse_ip(text: str) -> IP:
    """An address; raises EvaluationError with upstream's words."""
    try:
        address = ip_address(text)
    except ValueError:
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string: invalid') from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return IP(address)


def parse_cidr(text: str) -> CIDR:
    """A network; raises EvaluationError with upstream's words."""
    address, slash, length = text.partition("/")
    try:
        found = parse_ip(address)
        bits = found.address.max_prefixlen
        if not slash or not length.isdigit() or (length != "0" and length[0] == "0") or int(length) > bits:
            raise EvaluationError("wrong length")
    except EvaluationError:
        raise EvaluationError(f'network address parse error during conversion from string: "{text}"') from None
    return CIDR(found.address, int(length))


def parse_url(text: str) -> URL:
    """A URL as a request could name it; raises EvaluationError."""
    wrong = EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    if any(ord(each) <= 32 or ord(each) == 127 for each in text):
        raise wrong
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise wrong from None
    if not parts.scheme and not text.startswith("/"):
        raise wrong
    return URL(parts)


def _holds(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def run(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return run


def _contains_ip(outer: CIDR, inner: IP) -> bool:
    return inner.address in outer.network()


def _contains_cidr(outer: CIDR, inner: CIDR) -> bool:
    # A network of the other family is not contained, and no error.
    return outer.address.version == inner.address.version and (
        outer.length <= inner.length and inner.address in outer.network()
    )


def _is_canonical(text: str) -> bool:
    return str(parse_ip(text)) == text


def _host(url: URL) -> str:
    _, _, host = url.parts.netloc.rpartition("@")
    return host


def _hostname(url: URL) -> str:
    host = _host(url)
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _port(url: URL) -> str:
    return "" if url.parts.port is None else str(url.parts.port)


def _flag(name: str, property_name: str) -> tuple[str, Overload]:
    return overload(name, "(net.IP) -> bool", lambda ip: bool(getattr(ip.address, property_name)), member=True)


def _is_link_local_multicast(ip: IP) -> bool:
    address = ip.address
    if isinstance(address, IPv4Address):
        return address in IPv4Network("224.0.0.0/24")
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02


def _is_global_unicast(ip: IP) -> bool:
    address = ip.address
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and str(address) != "255.255.255.255"


def _url_part(name: str, run: Callable[[URL], Any], result: str = "string") -> tuple[str, Overload]:
    return overload(name, f"(kubernetes.URL) -> {result}", run, member=True)


FUNCTIONS = table(
    overload("ip", "(string) -> net.IP", parse_ip),
    overload("isIP", "(string) -> bool", _holds(parse_ip)),
    overload("ip.isCanonical", "(string) -> bool", _is_canonical),
    overload("family", "(net.IP) -> int", lambda ip: ip.address.version, member=True),
    _flag("isUnspecified", "is_unspecified"),
    _flag("isLoopback", "is_loopback"),
    overload("isLinkLocalUnicast", "(net.IP) -> bool", lambda ip: bool(ip.address.is_link_local), member=True),
    overload("isLinkLocalMulticast", "(net.IP) -> bool", _is_link_local_multicast, member=True),
    overload("isGlobalUnicast", "(net.IP) -> bool", _is_global_unicast, member=True),
    overload("string", "(net.IP) -> string", str),
    overload("cidr", "(string) -> net.CIDR", parse_cidr),
    overload("isCIDR", "(string) -> bool", _holds(parse_cidr)),
    overload("containsIP", "(net.CIDR, net.IP) -> bool", _contains_ip, member=True),
    overload(
        "containsIP", "(net.CIDR, string) -> bool", lambda net, text: _contains_ip(net, parse_ip(text)), member=True
    ),
    overload("containsCIDR", "(net.CIDR, net.CIDR) -> bool", _contains_cidr, member=True),
    overload(
        "containsCIDR",
        "(net.CIDR, string) -> bool",
        lambda net, text: _contains_cidr(net, parse_cidr(text)),
        member=True,
    ),
    overload("ip", "(net.CIDR) -> net.IP", lambda net: IP(net.address), member=True),
    overload(
        "masked",
        "(net.CIDR) -> net.CIDR",
        lambda net: CIDR(net.network().network_address, net.length),
        member=True,
    ),
    overload("prefixLength", "(net.CIDR) -> int", lambda net: net.length, member=True),
    overload("string", "(net.CIDR) -> string", str),
    overload("url", "(string) -> kubernetes.URL", parse_url),
    overload("isURL", "(string) -> bool", _holds(parse_url)),
    _url_part("getScheme", lambda url: url.parts.scheme),
    _url_part("getHost", _host),
    _url_part("getHostname", _hostname),
    _url_part("getPort", _port),
    _url_part("getEscapedPath", lambda url: url.parts.path),
    _url_part("getQuery", lambda url: parse_qs(url.parts.query, keep_blank_values=True), "map(string, list(string))"),
)
