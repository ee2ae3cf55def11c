"""The nftables table for NetworkPolicies, as a value; two of them as the transaction that leads from one to the other.

Pods that may do the same share a chain, named after what it holds: a chain never changes, it comes and goes. Sets and
maps change by elements. So a pod that comes or goes costs some elements, however many pods and policies there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sparsam.proxy.policies import INGRESS, LAST_PORT, Allowed, Compiled, Ports

RECEIVING, SENDING, ITSELF = "receiving", "sending", "itself"
_BASE = {
    "forward": (
        "ct state established,related accept",
        # A pod may always talk with itself, by way of a Service too.
        f"ip saddr . ip daddr @{ITSELF} accept",
        f"ip saddr vmap @{SENDING}",
        f"ip daddr vmap @{RECEIVING}",
    ),
    # What the node itself sends to its pods is not filtered, so that probes reach them.
    "input": ("ct state established,related accept", f"ip saddr vmap @{SENDING}"),
}
_CONTAINERS = {
    RECEIVING: "map {type ipv4_addr : verdict;}",
    SENDING: "map {type ipv4_addr : verdict;}",
    ITSELF: "set {type ipv4_addr . ipv4_addr;}",
}


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """Chains with their rules, sets with their addresses, and the verdict maps' and the own set's elements."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By container; the text is what comes after the key."""

    def __bool__(self) -> bool:
        """Whether anything is isolated; without, there is no table."""
        return bool(self.chains)


EMPTY = PolicyTable()


def build_table(compiled: Compiled) -> PolicyTable:
    """The table that keeps what was compiled."""
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[str, dict[str, str]] = {name: {} for name in _CONTAINERS}
    names: dict[tuple[str, int], str] = {}
    used: set[str] = set()
    for (direction, ip), allowed in compiled.isolated.items():
        known = (direction, id(allowed))
        if known not in names:
            rules = (*_rules(direction, allowed), "drop")
            names[known] = _chain_name(direction, rules)
            chains[names[known]] = rules
            used |= {each.peers for each in allowed if each.peers}
        elements[RECEIVING if direction == INGRESS else SENDING][ip] = f" : jump {names[known]}"
        elements[ITSELF][f"{ip} . {ip}"] = ""
    return PolicyTable(chains, {name: compiled.members[name] for name in used}, elements)


def render_whole(table: str, wanted: PolicyTable) -> str:
    """One transaction for nft that replaces whatever is there under the table's name."""
    lines = [f"add table ip {table}", f"delete table ip {table}"]
    if wanted:
        lines.append(f"add table ip {table}")
        for name, kind in _CONTAINERS.items():
            sort, _, body = kind.partition(" ")
            lines.append(f"add {sort} ip {table} {name} {body}")
        lines += _difference(table, EMPTY, wanted)
        for hook, rules in _BASE.items():
            lines.append(f"add chain ip {table} {hook} {{ type filter hook {hook} priority -10; policy accept; }}")
            lines += [f"add rule ip {table} {hook} {rule}" for rule in rules]
    return "\n".join(lines) + "\n"


def render_change(table: str, present: PolicyTable, wanted: PolicyTable) -> str:
    """One transaction for nft that makes the one table of the other."""
    if not present or not wanted:
        return render_whole(table, wanted)
    return "\n".join(_difference(table, present, wanted)) + "\n"


def _difference(table: str, present: PolicyTable, wanted: PolicyTable) -> list[str]:
    before = {**{name: dict.fromkeys(ips, "") for name, ips in present.sets.items()}, **present.elements}
    after = {**{name: dict.fromkeys(ips, "") for name, ips in wanted.sets.items()}, **wanted.elements}
    new_chains = sorted(wanted.chains.keys() - present.chains.keys())
    old_chains = sorted(present.chains.keys() - wanted.chains.keys())
    old_sets = sorted(present.sets.keys() - wanted.sets.keys())
    new_sets = sorted(wanted.sets.keys() - present.sets.keys())
    lines = [f"add set ip {table} {name} {{type ipv4_addr;}}" for name in new_sets]
    for name in sorted(before.keys() - set(old_sets)):
        lines += _elements("delete", table, name, before[name].items() - after.get(name, {}).items())
    lines += [f"add chain ip {table} {name}" for name in new_chains]
    lines += [f"add rule ip {table} {name} {rule}" for name in new_chains for rule in wanted.chains[name]]
    for name in sorted(after):
        lines += _elements("add", table, name, after[name].items() - before.get(name, {}).items())
    lines += [f"flush chain ip {table} {name}" for name in old_chains]
    lines += [f"delete chain ip {table} {name}" for name in old_chains]
    lines += [f"delete set ip {table} {name}" for name in old_sets]
    return lines


def _elements(verb: str, table: str, name: str, elements: Iterable[tuple[str, str]]) -> Iterator[str]:
    texts = sorted(key if verb == "delete" else f"{key}{rest}" for key, rest in elements)
    if texts:
        yield f"{verb} element ip {table} {name} {{ {', '.join(texts)} }}"


def _rules(direction: str, allowed: Iterable[Allowed]) -> Iterator[str]:
    peer = "saddr" if direction == INGRESS else "daddr"
    for each in allowed:
        where = f"ip {peer} @{each.peers} " if each.peers else ""
        if each.block:
            where = f"ip {peer} {each.block} "
        if each.excluded:
            where += f"ip {peer} != {{ {', '.join(each.excluded)} }} "
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
