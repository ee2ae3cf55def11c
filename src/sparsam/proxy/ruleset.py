"""The node's whole ruleset: a base that never changes and one fragment for each Service. Pure.

A change of a Service is compiled alone and compared with what it was, so its cost does not grow with the number of
other Services. Two Services may claim the same address and port (external addresses are free text): the first by
namespace and name has it, whatever the order of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sparsam.proxy.families import Family
from sparsam.proxy.rules import (
    Element,
    Field,
    Hook,
    Jump,
    Lookup,
    Mark,
    Marked,
    Masquerade,
    Match,
    Reject,
    Return,
    Rule,
    Verdict,
    format_rule,
)
from sparsam.proxy.services import (
    BALANCER_IPS,
    EMPTY,
    HAIRPIN,
    NODE_PORTS,
    REFUSE,
    SERVICE_IPS,
    TO_MASQUERADE,
    Fragment,
    Network,
)

ServiceKey = tuple[str, str]
"""Namespace and name."""

CONTAINERS = {
    SERVICE_IPS: "map {{type {key} . inet_proto . inet_service : verdict;}}",
    NODE_PORTS: "map {{type inet_proto . inet_service : verdict;}}",
    HAIRPIN: "set {{type {key} . {key};}}",
    BALANCER_IPS: "set {{type {key};}}",
}
"""Named maps and sets; `key` is the type of the table's addresses."""
HOOKS = {
    "prerouting": Hook("nat", "prerouting", -100),
    "output": Hook("nat", "output", -100),
    "postrouting": Hook("nat", "postrouting", 100),
    "filter-input": Hook("filter", "input", 0),
    "filter-forward": Hook("filter", "forward", 0),
    "filter-output": Hook("filter", "output", 0),
}
_SERVICES = "services"
_UNKNOWN = "unknown-service"


@dataclass(slots=True)
class Transaction:
    """What one update changes, in the order in which the kernel accepts it."""

    family: Family
    gone_elements: set[Element] = field(default_factory=set)
    new_maps: dict[str, int] = field(default_factory=dict)
    chains: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    """New and changed ones, with all their rules."""
    new_elements: dict[Element, Verdict | None] = field(default_factory=dict)
    gone_chains: set[str] = field(default_factory=set)
    gone_maps: set[str] = field(default_factory=set)
    gone_udp_targets: set[tuple[str, int]] = field(default_factory=set)
    """Endpoints whose tracked flows must be forgotten afterwards; no part of the text."""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return any((self.gone_elements, self.chains, self.new_elements, self.gone_chains))

    def render(self, table: str) -> str:
        """As nft reads it; applied as a whole or not at all."""
        family, table = self.family, f"{self.family.nft} {table}"
        lines = [*_elements("delete", family, table, dict.fromkeys(self.gone_elements))]
        for name, seconds in sorted(self.new_maps.items()):
            # Without a size: the kernel would make room for as many at once, a megabyte for each Service.
            kind = f"type {family.key} : mark; flags dynamic,timeout; timeout {seconds}s;"
            lines.append(f"add map {table} {name} {{ {kind} }}")
        lines += _chains(family, table, self.chains)
        lines += _elements("add", family, table, self.new_elements)
        lines += [f"flush chain {table} {name}" for name in sorted(self.gone_chains)]
        lines += [f"delete chain {table} {name}" for name in sorted(self.gone_chains)]
        lines += [f"delete map {table} {name}" for name in sorted(self.gone_maps)]
        return "\n".join(lines) + "\n"


class Ruleset:
    """The rules as they are, or should be, in the kernel."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.base = base_chains(network)
        self.fragments: dict[ServiceKey, Fragment] = {}
        self._claims: dict[Element, dict[ServiceKey, Verdict | None]] = {}

    def replace(self, changes: Mapping[ServiceKey, Fragment]) -> Transaction:
        """Take over new fragments (an empty one ends a Service); returns what that changes."""
        touched = {
            element
            for key, fragment in changes.items()
            for each in (self.fragments.get(key, EMPTY), fragment)
            for element in each.elements
        }
        before = {element: self._effective(element) for element in touched}
        transaction = Transaction(self.network.family)
        for key, fragment in changes.items():
            self._replace_one(key, fragment, transaction)
        for element in touched:
            old, new = before[element], self._effective(element)
            if old == new:
                continue
            if old:
                transaction.gone_elements.add(element)
            if new:
                transaction.new_elements[element] = new[0]
        return transaction

    @property
    def chains(self) -> dict[str, tuple[Rule, ...]]:
        """Every chain with its rules."""
        chains = dict(self.base)
        for fragment in self.fragments.values():
            chains.update(fragment.chains)
        return chains

    @property
    def elements(self) -> dict[Element, Verdict | None]:
        """Every element of the named maps (with its verdict) and sets."""
        return {element: _first(claims) for element, claims in self._claims.items()}

    @property
    def affinity_maps(self) -> dict[str, int]:
        """Every map that remembers clients, with the seconds that it does."""
        return {name: seconds for each in self.fragments.values() for name, seconds in each.affinity_maps.items()}

    def render(self, table: str) -> str:
        """The whole table, replacing whatever is there under its name in one step."""
        family = self.network.family
        full = f"{family.nft} {table}"
        lines = [f"add table {full}", f"delete table {full}", f"add table {full}"]
        for name, kind in CONTAINERS.items():
            sort, _, body = kind.format(key=family.key).partition(" ")
            lines.append(f"add {sort} {full} {name} {body}")
        lines += [f"add chain {full} {name} {hook}" for name, hook in HOOKS.items()]
        whole = Transaction(family, new_maps=self.affinity_maps, chains=self.chains, new_elements=self.elements)
        return "\n".join(lines) + "\n" + whole.render(table)

    def _replace_one(self, key: ServiceKey, new: Fragment, transaction: Transaction) -> None:
        old = self.fragments.pop(key, EMPTY)
        if new != EMPTY:
            self.fragments[key] = new
        for element in old.elements:
            claims = self._claims[element]
            del claims[key]
            if not claims:
                del self._claims[element]
        for element, verdict in new.elements.items():
            self._claims.setdefault(element, {})[key] = verdict
        transaction.chains.update({n: rules for n, rules in new.chains.items() if old.chains.get(n) != rules})
        transaction.gone_chains |= old.chains.keys() - new.chains.keys()
        transaction.new_maps.update({n: t for n, t in new.affinity_maps.items() if n not in old.affinity_maps})
        transaction.gone_maps |= old.affinity_maps.keys() - new.affinity_maps.keys()
        transaction.gone_udp_targets |= old.udp_targets - new.udp_targets

    def _effective(self, element: Element) -> tuple[Verdict | None] | None:
        claims = self._claims.get(element)
        return (_first(claims),) if claims else None


def base_chains(network: Network) -> dict[str, tuple[Rule, ...]]:
    """The chains that do not depend on any Service."""
    to_service = Match(Field.DESTINATION, network.service_cidr)
    # Answers too come to such an address: it is the sender's when the machine's own programs ask for it.
    new = Match(Field.STATE, "new")
    to_balancer = Match(Field.DESTINATION, f"@{BALANCER_IPS}")
    not_dns = (Match(Field.DESTINATION, network.dns_ip, negated=True),) if network.dns_ip else ()
    not_from_pod = Match(Field.SOURCE, network.cluster_cidr, negated=True)
    inside = ", ".join(sorted({network.cluster_cidr, network.machine_cidr}))
    reached = ", ".join(sorted({network.cluster_cidr, network.machine_cidr, network.service_cidr}))
    return {
        "prerouting": ((Jump(_SERVICES),),),
        "output": ((Jump(_SERVICES),),),
        _SERVICES: (
            *(((Match(Field.DESTINATION, network.dns_ip), Return()),) if network.dns_ip else ()),
            # The answer to whoever is no pod must come back through this node.
            (to_service, not_from_pod, Jump(TO_MASQUERADE)),
            (Lookup((Field.DESTINATION, Field.PROTOCOL, Field.DESTINATION_PORT), SERVICE_IPS),),
            (
                Match(Field.DESTINATION_TYPE, "local"),
                Match(Field.DESTINATION, network.family.loopback, negated=True),
                Lookup((Field.PROTOCOL, Field.DESTINATION_PORT), NODE_PORTS),
            ),
        ),
        "postrouting": (
            (Marked(), Masquerade()),
            (
                Match(Field.STATUS, "dnat"),
                Match((Field.SOURCE, Field.DESTINATION), f"@{HAIRPIN}"),
                Masquerade(),
            ),
            # Nobody outside knows the way back to a pod.
            (
                Match(Field.SOURCE, f"{{ {inside} }}"),
                Match(Field.DESTINATION, f"{{ {reached} }}", negated=True),
                Masquerade(),
            ),
        ),
        # What still carries a ClusterIP here belongs to no Service port, nor what came for an address of the pool: the
        # machine has it as its own, but not for its other servers.
        "filter-input": ((new, to_balancer, Jump(REFUSE)),),
        "filter-forward": ((to_service, Jump(_UNKNOWN)), (new, to_balancer, Jump(REFUSE))),
        "filter-output": ((to_service, Jump(_UNKNOWN)), (new, to_balancer, Jump(REFUSE))),
        _UNKNOWN: ((*not_dns, Jump(REFUSE)),),
        TO_MASQUERADE: ((Mark(),),),
        REFUSE: ((Match(Field.PROTOCOL, "tcp"), Reject("tcp reset")), (Reject(),)),
    }


def _first(claims: Mapping[ServiceKey, Verdict | None]) -> Verdict | None:
    return claims[min(claims)]


def _chains(family: Family, table: str, chains: Mapping[str, Iterable[Rule]]) -> list[str]:
    lines = [f"add chain {table} {name}" for name in chains if name not in HOOKS]
    lines += [f"flush chain {table} {name}" for name in chains]
    for name, rules in chains.items():
        lines += [f"add rule {table} {name} {format_rule(rule, family.nft)}" for rule in rules]
    return lines


def _elements(verb: str, family: Family, table: str, elements: Mapping[Element, Verdict | None]) -> list[str]:
    keys: dict[str, list[str]] = {}
    for element in sorted(elements):
        verdict = elements[element]
        keys.setdefault(element.container, []).append(
            f"{element.key} : {verdict.text(family.nft)}" if verdict else element.key
        )
    return [f"{verb} element {table} {name} {{ {', '.join(each)} }}" for name, each in keys.items()]
