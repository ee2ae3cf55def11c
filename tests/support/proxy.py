"""Services and EndpointSlices for the proxy's tests, and a walk of a packet through its ruleset."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from sparsam.proxy.rules import (
    Balance,
    Choose,
    Drop,
    Element,
    Field,
    Forget,
    Goto,
    Jump,
    Lookup,
    Mark,
    Match,
    Recall,
    Reject,
    Remember,
    Return,
    Rule,
    SendByMark,
    Statement,
)
from sparsam.proxy.ruleset import Transaction
from sparsam.proxy.services import Network

Obj = dict[str, Any]
NETWORK = Network("10.244.0.0/16", "10.96.0.0/16", "10.245.0.0/24", "10.96.0.10", "n1")
NETWORK6 = Network("fd00:10:244::/56", "fd00:10:96::/112", "fd00:10:245::/64", "", "n1")


def service(name="web", *, namespace="default", ip="10.96.0.5", ports=None, status=None, **spec) -> Obj:
    made: Obj = {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, **spec}}
    made["spec"]["ports"] = [{"name": "http", "port": 80, "protocol": "TCP"}] if ports is None else ports
    if status:
        made["status"] = status
    return made


def endpoint(ip, *, node="n1", ready=True, serving=None, terminating=False, hostname=None, hints=None) -> Obj:
    conditions = {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating}
    made: Obj = {"addresses": [ip], "conditions": conditions, "nodeName": node}
    return made | ({"hostname": hostname} if hostname else {}) | ({"hints": hints} if hints else {})


def endpoint_slice(*endpoints, name="web-1", of="web", namespace="default", ports=None, family="IPv4") -> Obj:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "addressType": family,
        "endpoints": [endpoint(each) if isinstance(each, str) else each for each in endpoints],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports,
    }


@dataclass
class Outcome:
    """Every fate a packet may meet, since chance decides among endpoints."""

    targets: set[tuple[str, int]] = field(default_factory=set)
    marked: set[bool] = field(default_factory=set)
    rejected: bool = False
    dropped: bool = False
    passed: bool = False


class Tracer:
    """Walks the first packet of a connection through the chains, along every branch that chance may take."""

    def __init__(self, chains: Mapping[str, tuple[Rule, ...]], elements, *, local=("192.0.2.10",), remembered=None):
        self.chains = chains
        self.elements = elements
        self.local = set(local)
        self.remembered = remembered or {}
        """Marks of the sender by map."""

    def send(self, source: str, destination: str, port: int, *, protocol="tcp", hook="prerouting", local=()) -> Outcome:
        outcome = Outcome()
        packet = {Field.SOURCE: source, Field.DESTINATION: destination, Field.PROTOCOL: protocol}
        packet |= {Field.DESTINATION_PORT: str(port), Field.STATE: "new"}
        for where, value in ((source, Field.SOURCE_TYPE), (destination, Field.DESTINATION_TYPE)):
            packet[value] = "local" if where in self.local | set(local) or where.startswith("127.") else "unicast"
        ended, marked = self._chain(hook, packet, False, outcome)
        if not ended:
            outcome.passed = True
            outcome.marked.add(marked)
        return outcome

    def _chain(self, name: str, packet, marked: bool, outcome: Outcome) -> tuple[bool, bool]:
        for rule in self.chains[name]:
            ended, marked, left = self._rule(rule, packet, marked, outcome)
            if ended or left:
                return ended, marked
        return False, marked

    def _rule(self, rule: Rule, packet, marked: bool, outcome: Outcome) -> tuple[bool, bool, bool]:
        """Whether the packet's way ended, whether it is marked, whether it left the chain."""
        for statement in rule:
            match statement:
                case Match() | Recall() | Choose() | Remember() | Forget() | SendByMark():
                    if not self._goes_on(statement, packet):
                        return False, marked, False
                    if isinstance(statement, SendByMark):
                        found = Balance(tuple(_by_mark(statement, packet)))
                        return (*self._verdict(found, packet, marked, outcome), True)
                case Mark():
                    marked = True
                case Jump(chain):
                    ended, marked = self._chain(chain, packet, marked, outcome)
                    if ended:
                        return True, marked, True
                case Lookup(fields, name):
                    verdict = self.elements.get(Element(name, " . ".join(packet[each] for each in fields)))
                    if verdict is not None:
                        return (*self._verdict(verdict, packet, marked, outcome), True)
                case _:
                    return (*self._verdict(statement, packet, marked, outcome), True)
        return False, marked, False

    def _goes_on(self, statement: Statement, packet) -> bool:
        """Whether the rule does; `numbers` of the packet are all that its connection's mark may hold."""
        match statement:
            case Match():
                return self._matches(statement, packet)
            case SendByMark():
                return bool(_by_mark(statement, packet))
            case Recall(name):
                packet["numbers"] = {self.remembered.get(name)}
                return name in self.remembered
            case Choose(marks):
                packet["numbers"] = set(marks)
        return True

    def _verdict(self, statement: Statement, packet, marked: bool, outcome: Outcome) -> tuple[bool, bool]:
        match statement:
            case Goto(chain):
                return self._chain(chain, packet, marked, outcome)
            case Return():
                return False, marked
            case Drop():
                outcome.dropped = True
            case Reject():
                outcome.rejected = True
            case Balance(targets):
                outcome.targets |= set(targets)
                outcome.marked.add(marked)
            case _:
                raise AssertionError(statement)
        return True, marked

    def _matches(self, match: Match, packet) -> bool:
        assert isinstance(match.field, Field)
        value = packet[match.field]
        if match.value.startswith("@"):
            found = Element(match.value[1:], value) in self.elements
        elif match.field in (Field.SOURCE, Field.DESTINATION):
            networks = match.value.strip("{} ").split(", ")
            found = any(ip_address(value) in ip_network(each) for each in networks)
        else:
            found = value == match.value
        return found != match.negated


def _by_mark(statement: SendByMark, packet) -> set[tuple[str, int]]:
    return {(ip, port) for mark, ip, port in statement.targets if mark in packet.get("numbers", ())}


@dataclass
class KernelModel:
    """What nftables would hold after transactions; refuses what the kernel refuses."""

    chains: dict[str, tuple[Rule, ...]]
    elements: dict[Element, Any] = field(default_factory=dict)
    maps: dict[str, int] = field(default_factory=dict)

    def apply(self, change: Transaction) -> None:
        for element in change.gone_elements:
            del self.elements[element]
        for name, seconds in change.new_maps.items():
            assert name not in self.maps
            self.maps[name] = seconds
        self.chains.update(change.chains)
        for element, verdict in change.new_elements.items():
            assert element not in self.elements
            self.elements[element] = verdict
        for name in change.gone_chains:
            del self.chains[name]
        for name in change.gone_maps:
            del self.maps[name]
        self.check_references()

    def check_references(self) -> None:
        wanted = {each.chain for each in self.elements.values() if isinstance(each, Goto)}
        maps = set()
        for rules in self.chains.values():
            for statement in (each for rule in rules for each in rule):
                match statement:
                    case Goto(chain) | Jump(chain):
                        wanted.add(chain)
                    case Recall(name) | Remember(name) | Forget(name):
                        maps.add(name)
        assert wanted <= self.chains.keys()
        assert maps == self.maps.keys()


def comparable(listing: str) -> list[str]:
    """What nft lists of one table; chains and elements come in the order they were made."""
    blocks = listing.rstrip().removesuffix("}").split("\n\n")
    return sorted(" ".join(sorted(block.replace(",", " ").split())) for block in blocks)


@cache
def has_nft() -> bool:
    """Whether nftables works here, in a network namespace of its own."""
    if os.geteuid() != 0:
        return False
    try:
        done = subprocess.run(
            ["unshare", "-n", "nft", "add table ip probe"], capture_output=True, timeout=10, check=False
        )
    except OSError:
        return False
    return done.returncode == 0
