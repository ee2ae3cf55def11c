"""The nftables table for NetworkPolicies of one address family, as a value; two as the transaction between them.

Pods that may do the same share a chain, named after what it holds: a chain never changes, it comes and goes. Sets and
maps change by elements. So a pod that comes or goes costs some elements, however many pods and policies there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sparsam.proxy.families import IPV6, Family
from sparsam.proxy.policies import INGRESS, LAST_PORT, Allowed, Compiled, Ports

RECEIVING, SENDING, ITSELF = "receiving", "sending", "itself"
_BASE = {
    "forward": (
        "ct state established,related accept",
        # A pod may always talk with itself, by way of a Service too.
        f"{{ip}} saddr . {{ip}} daddr @{ITSELF} accept",
        f"{{ip}} saddr vmap @{SENDING}",
        f"{{ip}} daddr vmap @{RECEIVING}",
    ),
    # What the node itself sends to its pods is not filtered, so that probes reach them.
    "input": ("ct state established,related accept", f"{{ip}} saddr vmap @{SENDING}"),
}
_NEIGHBOURS = "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report }} accept"
_BASE_IPV6 = {
    # Without these no address can be reached at all; of ARP, their like, no rule of IPv4 knows.
    "forward": (
        _NEIGHBOURS,
        # By the addresses that links have of themselves a pod would reach its neighbours past every rule.
        'iifname "{link}" ip6 saddr fe80::/10 drop',
        'iifname "{link}" ip6 daddr fe80::/10 drop',
    ),
    "input": (_NEIGHBOURS, 'iifname "{link}" ip6 saddr fe80::/10 drop'),
}
_CONTAINERS = {
    RECEIVING: "map {{type {key} : verdict;}}",
    SENDING: "map {{type {key} : verdict;}}",
    ITSELF: "set {{type {key} . {key};}}",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a table belongs."""

    family: Family
    table: str
    link: str
    """Bridge of the node's pods."""

    @property
    def name(self) -> str:
        """The table as nft names it."""
        return f"{self.family.nft} {self.table}"


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """Chains with their rules, sets with their addresses, and the verdict maps' and the own set's elements."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By container; the text is what comes after the key."""
    closed: bool = False
    """Whether there is a table although nothing is isolated in it."""

    def __bool__(self) -> bool:
        """Whether there is anything to keep; without, there is no table."""
        return bool(self.chains) or self.closed


EMPTY = PolicyTable()
CLOSED = PolicyTable(closed=True)
"""For IPv6 where the cluster lacks it and something is isolated: no way past the rules by the addresses of links."""


def build_table(compiled: Compiled, family: Family) -> PolicyTable:
    """The table that keeps what was compiled for a family."""
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[str, dict[str, str]] = {name: {} for name in _CONTAINERS}
    names: dict[tuple[str, int], str] = {}
    used: set[str] = set()
    for (direction, ip), allowed in compiled.isolated.items():
        known = (direction, id(allowed))
        if known not in names:
            rules = (*_rules(direction, allowed, family.nft), "drop")
            names[known] = _chain_name(direction, rules)
            chains[names[known]] = rules
            used |= {each.peers for each in allowed if each.peers}
        elements[RECEIVING if direction == INGRESS else SENDING][ip] = f" : jump {names[known]}"
        elements[ITSELF][f"{ip} . {ip}"] = ""
    return PolicyTable(chains, {name: compiled.members[name] for name in used}, elements)


def render_whole(site: Site, wanted: PolicyTable) -> str:
    """One transaction for nft that replaces whatever is there under the table's name."""
    name, family = site.name, site.family
    lines = [f"add table {name}", f"delete table {name}"]
    if wanted:
        lines.append(f"add table {name}")
        for container, kind in _CONTAINERS.items():
            sort, _, body = kind.format(key=family.key).partition(" ")
            lines.append(f"add {sort} {name} {container} {body}")
        lines += _difference(site, EMPTY, wanted)
        for hook, rules in _BASE.items():
            lines.append(f"add chain {name} {hook} {{ type filter hook {hook} priority -10; policy accept; }}")
            first = _BASE_IPV6[hook] if family is IPV6 else ()
            texts = (rule.format(ip=family.nft, link=site.link) for rule in (*first, *rules))
            lines += [f"add rule {name} {hook} {text}" for text in texts]
    return "\n".join(lines) + "\n"


def render_change(site: Site, present: PolicyTable, wanted: PolicyTable) -> str:
    """One transaction for nft that makes the one table of the other."""
    if not present or not wanted:
        return render_whole(site, wanted)
    return "\n".join(_difference(site, present, wanted)) + "\n"


def _difference(site: Site, present: PolicyTable, wanted: PolicyTable) -> list[str]:
    table = site.name
    before = {**{name: dict.fromkeys(ips, "") for name, ips in present.sets.items()}, **present.elements}
    after = {**{name: dict.fromkeys(ips, "") for name, ips in wanted.sets.items()}, **wanted.elements}
    new_chains = sorted(wanted.chains.keys() - present.chains.keys())
    old_chains = sorted(present.chains.keys() - wanted.chains.keys())
    old_sets = sorted(present.sets.keys() - wanted.sets.keys())
    new_sets = sorted(wanted.sets.keys() - present.sets.keys())
    lines = [f"add set {table} {name} {{type {site.family.key};}}" for name in new_sets]
    for name in sorted(before.keys() - set(old_sets)):
        lines += _elements("delete", table, name, before[name].items() - after.get(name, {}).items())
    lines += [f"add chain {table} {name}" for name in new_chains]
    lines += [f"add rule {table} {name} {rule}" for name in new_chains for rule in wanted.chains[name]]
    for name in sorted(after):
        lines += _elements("add", table, name, after[name].items() - before.get(name, {}).items())
    lines += [f"flush chain {table} {name}" for name in old_chains]
    lines += [f"delete chain {table} {name}" for name in old_chains]
    lines += [f"delete set {table} {name}" for name in old_sets]
    return lines


def _elements(verb: str, table: str, name: str, elements: Iterable[tuple[str, str]]) -> Iterator[str]:
    texts = sorted(key if verb == "delete" else f"{key}{rest}" for key, rest in elements)
    if texts:
        yield f"{verb} element {table} {name} {{ {', '.join(texts)} }}"


def _rules(direction: str, allowed: Iterable[Allowed], ip: str) -> Iterator[str]:
    peer = "saddr" if direction == INGRESS else "daddr"
    for each in allowed:
        where = f"{ip} {peer} @{each.peers} " if each.peers else ""
        if each.block:
            where = f"{ip} {peer} {each.block} "
        if each.excluded:
            where += f"{ip} {peer} != {{ {', '.join(each.excluded)} }} "
        yield from (f"{where}{ports}return" for ports in _port_matches(each.ports))


def _port_matches(ports: Ports) -> Iterator[str]:
    if not ports:
        yield ""
    for protocol in dict.fromkeys(protocol for protocol, _, _ in ports):
        spans = [(first, last) for each, first, last in ports if each == protocol]
        if (0, LAST_PORT) in spans:
            yield f"meta l4proto {protocol} "
        else:
            texts = (str(first) if first == last else f"{first}-{last}" for first, last in spans)
            yield f"{protocol} dport {{ {', '.join(texts)} }} "


def _chain_name(direction: str, rules: Iterable[str]) -> str:
    return f"{'in' if direction == INGRESS else 'out'}-{hashlib.sha256(chr(10).join(rules).encode()).hexdigest()[:16]}"
