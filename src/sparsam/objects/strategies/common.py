"""Rules that several kinds share and that are neither names nor metadata: addresses, paths, numbers, enumerations."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.names import port_name_errors, port_number_errors

MAX_INT32 = 2**31 - 1
PROTOCOLS = ("SCTP", "TCP", "UDP")
IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def text_causes(value: str, path: str, rule: Callable[[str], list[str]]) -> list[Cause]:
    """Causes for a text that breaks a rule of `names`."""
    return [invalid(path, value, error) for error in rule(value)]


def inclusive(low: int, high: int) -> str:
    """The text for a number outside of a range."""
    return f"must be between {low} and {high}, inclusive"


def one_of(value: str | None, path: str, supported: Iterable[str]) -> list[Cause]:
    """Causes for a value that must be given and one of the supported ones."""
    if not value:
        return [required(path)]
    return optional_one_of(value, path, supported)


def optional_one_of(value: str, path: str, supported: Iterable[str]) -> list[Cause]:
    """Causes for a value that must be one of the supported ones; an empty one is none of them either."""
    known = tuple(supported)
    return [] if value in known else [not_supported(path, value, known)]


@lru_cache(maxsize=4096)
def parse_ip(text: str) -> Address | None:
    """The address, or None; a zone (`fe80::1%eth0`) is not accepted."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network a CIDR text names, host bits allowed, or None."""
    if "/" not in text or not text.rpartition("/")[2].isdigit():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def ip_causes(text: str, path: str) -> list[Cause]:
    """Causes for a text that is not an IP address."""
    return [] if parse_ip(text) else [invalid(path, text, IP_TEXT)]


def cidr_causes(text: str, path: str) -> list[Cause]:
    """Causes for a text that is not a CIDR."""
    return [] if parse_cidr(text) else [invalid(path, text, CIDR_TEXT)]


def dual_stack(families: Iterable[int]) -> bool:
    """Whether the IP versions are exactly one of each."""
    return sorted(families) == [4, 6]


def port_causes(port: int | str, path: str) -> list[Cause]:
    """Causes for a port given by number or by name."""
    errors = port_number_errors(port) if isinstance(port, int) else port_name_errors(port)
    return [invalid(path, port, error) for error in errors]


def non_negative(value: int | None, path: str) -> list[Cause]:
    """A cause for a negative number; nothing given is fine."""
    if value is None or value >= 0:
        return []
    return [invalid(path, value, "must be greater than or equal to 0")]


def path_no_backsteps(path_value: str, path: str) -> list[Cause]:
    """A cause for a path with a `..` element."""
    if ".." in path_value.split("/"):
        return [invalid(path, path_value, "must not contain '..'")]
    return []


def local_descending_path(path_value: str, path: str) -> list[Cause]:
    """Causes for a path that is absolute or climbs."""
    causes = []
    if path_value.startswith("/"):
        causes.append(invalid(path, path_value, "must be a relative path"))
    return causes + path_no_backsteps(path_value, path)


def put_default(obj: dict[str, Any], name: str, value: Any) -> None:
    """Set a field that is missing, null or empty text; zero and false stay."""
    current = obj.get(name)
    if current is None or current == "":
        obj[name] = value
