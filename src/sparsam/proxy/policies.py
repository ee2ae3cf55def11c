"""NetworkPolicies as what each pod of this node may receive and send, in one address family. Pure.

A pod that some policy selects for a direction is isolated in it: only what a rule of one of those policies allows comes
through, and answers to that. Peers are named sets of addresses, so that a pod that comes or goes changes sets and no
rules. Source: Kubernetes API reference, NetworkPolicy v1 networking.k8s.io; KEP-2079 (endPort).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.proxy.families import IPV4, Family

Obj = dict[str, Any]

INGRESS, EGRESS = "Ingress", "Egress"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
LAST_PORT = 65535

Ports = tuple[tuple[str, int, int], ...]
"""(protocol, first, last) of ranges that do not touch; no range at all is every port of every protocol."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod as policies see it; `ports` are its named ports: (name, protocol) to number."""

    namespace: str
    name: str
    ip: str
    labels: Mapping[str, str]
    ports: Mapping[tuple[str, str], int]
    local: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """A set of pods' addresses by its name, or a network without some parts, or everybody; and ports."""

    peers: str = ""
    block: str = ""
    excluded: tuple[str, ...] = ()
    ports: Ports = ()


@dataclass(slots=True)
class Compiled:
    """What holds on this node."""

    members: dict[str, frozenset[str]] = field(default_factory=dict)
    """Addresses of each named set."""
    isolated: dict[tuple[str, str], tuple[Allowed, ...]] = field(default_factory=dict)
    """By direction and address of a pod."""


def facts_of(pod: Obj, node_name: str, family: Family) -> PodFacts | None:
    """A pod with its own address of a family; None for one without, for ended ones and those in a node's network."""
    spec, status = pod["spec"], pod.get("status") or {}
    ip = family.of(tuple(each["ip"] for each in status.get("podIPs") or ()))
    if not ip or spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    ports = {
        (port["name"], port.get("protocol") or "TCP"): int(port["containerPort"])
        for container in (*sidecars, *spec["containers"])
        for port in container.get("ports") or ()
        if port.get("name")
    }
    metadata = pod["metadata"]
    local = spec.get("nodeName") == node_name
    return PodFacts(metadata["namespace"], metadata["name"], ip, metadata.get("labels") or {}, ports, local)


class Cluster:
    """Pods of one address family and the labels of namespaces, to select from."""

    def __init__(
        self,
        pods: Iterable[PodFacts] = (),
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        family: Family = IPV4,
    ) -> None:
        self.family = family
        self._pods: dict[str, dict[str, PodFacts]] = {}
        self._labels: dict[str, Mapping[str, str]] = dict(namespaces or {})
        for pod in pods:
            self.replace_pod(None, pod)

    def replace_pod(self, old: PodFacts | None, new: PodFacts | None) -> bool:
        """A pod came (no old facts), changed or went (no new ones); returns whether that means anything here."""
        if old == new:
            return False
        if old is not None:
            pods = self._pods[old.namespace]
            del pods[old.name]
            if not pods:
                del self._pods[old.namespace]
        if new is not None:
            self._pods.setdefault(new.namespace, {})[new.name] = new
        return True

    def label_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """A namespace has these labels now, or is gone; returns whether that is news."""
        if self._labels.get(name) == labels:
            return False
        if labels is None:
            del self._labels[name]
        else:
            self._labels[name] = labels
        return True

    def select(self, namespaces: Sequence[str], selector: LabelSelector, *, local: bool = False) -> list[PodFacts]:
        """Pods of some namespaces with matching labels, or only this node's own among them."""
        found = (pod for name in namespaces for pod in self._pods.get(name, {}).values())
        return [pod for pod in found if (pod.local or not local) and selector.matches(pod.labels)]

    def namespaces(self, selector: Obj | None, own: str) -> list[str]:
        """Names of the namespaces that a selector matches; without one the policy's own."""
        if selector is None:
            return [own]
        wanted = parse_label_selector_object(selector)
        names = self._pods.keys() | self._labels.keys()
        return [name for name in names if wanted.matches({NAMESPACE_NAME: name, **self._labels.get(name, {})})]


def compile_policies(policies: Iterable[Obj], cluster: Cluster) -> Compiled:
    """What the isolated pods of this node may do, and who their peers are."""
    peers, compiled = _Peers(cluster), Compiled()
    found: dict[tuple[str, str], list[tuple[Allowed, ...]]] = {}
    for policy in sorted(policies, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"])):
        for isolated, allowed in _of_policy(policy, peers):
            found.setdefault(isolated, []).append(allowed)
    # Pods with the same policies share one tuple, which is joined once.
    joined: dict[tuple[int, ...], tuple[Allowed, ...]] = {}
    for isolated, parts in found.items():
        key = tuple(map(id, parts))
        if key not in joined:
            joined[key] = tuple(dict.fromkeys(each for part in parts for each in part))
        compiled.isolated[isolated] = joined[key]
    compiled.members = peers.members
    return compiled


def _of_policy(policy: Obj, peers: _Peers) -> Iterator[tuple[tuple[str, str], tuple[Allowed, ...]]]:
    """What a policy allows each pod of this node that it isolates."""
    spec, own = policy["spec"], policy["metadata"]["namespace"]
    selector = parse_label_selector_object(spec.get("podSelector") or {})
    selected = peers.cluster.select([own], selector, local=True)
    for direction in _directions(spec) if selected else ():
        ingress = direction == INGRESS
        rules = spec.get("ingress" if ingress else "egress") or []
        names = {(each["port"], each.get("protocol") or "TCP") for each in _ports_of(rules) if _is_name(each)}
        variants: dict[tuple[int | None, ...], tuple[Allowed, ...]] = {}
        for pod in selected:
            # What comes in goes by the named ports of the pod itself; most rules name none.
            key = tuple(pod.ports.get(name) for name in sorted(names)) if ingress else ()
            if key not in variants:
                target = pod if ingress else None
                made = (each for rule in rules for each in _of_rule(rule, ingress, own, target, peers))
                variants[key] = tuple(dict.fromkeys(made))
            yield (direction, pod.ip), variants[key]


def _directions(spec: Obj) -> Sequence[str]:
    stated = spec.get("policyTypes")
    if stated:
        return [each for each in (INGRESS, EGRESS) if each in stated]
    return [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]


def _ports_of(rules: Iterable[Obj]) -> Iterator[Obj]:
    return (port for rule in rules for port in rule.get("ports") or ())


def _is_name(port: Obj) -> bool:
    return isinstance(port.get("port"), str)


def _of_rule(rule: Obj, ingress: bool, own: str, target: PodFacts | None, peers: _Peers) -> Iterator[Allowed]:
    """What one rule allows; `target` has the named ports for what comes in, each peer its own for what goes out."""
    ports = rule.get("ports") or []
    named = rule.get("from" if ingress else "to") or []
    numbers = port_ranges(ports, target)
    some = bool(numbers) or not ports
    if not named and some:
        yield Allowed(ports=numbers)
    for peer in named:
        if "ipBlock" in peer:
            merged = peers.cluster.family.merged
            for block in merged([peer["ipBlock"]["cidr"]]) if some else ():
                yield Allowed("", block, merged(peer["ipBlock"].get("except") or ()), numbers)
        elif target is None and any(map(_is_name, ports)):
            yield from peers.by_their_ports(peer, ports, own)
        elif some:
            yield Allowed(peers.set_of(peer, own), ports=numbers)


class _Peers:
    """Makes the sets of addresses that rules name; equal ones once."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.members: dict[str, frozenset[str]] = {}

    def set_of(self, peer: Obj, own: str) -> str:
        """The set of the addresses of the pods that a peer selects."""
        everywhere = peer.get("namespaceSelector")
        name = _set_name(own if everywhere is None else None, everywhere, peer.get("podSelector") or {})
        if name not in self.members:
            self.members[name] = frozenset(pod.ip for pod in self._selected(peer, own))
        return name

    def by_their_ports(self, peer: Obj, ports: Sequence[Obj], own: str) -> Iterator[Allowed]:
        """A named port of what goes out is whatever each peer calls so: one set for each number."""
        by_numbers: dict[Ports, set[str]] = {}
        for pod in self._selected(peer, own):
            if numbers := port_ranges(ports, pod):
                by_numbers.setdefault(numbers, set()).add(pod.ip)
        for numbers, addresses in sorted(by_numbers.items()):
            name = _set_name(own, peer, ports, numbers)
            self.members[name] = frozenset(addresses)
            yield Allowed(name, ports=numbers)

    def _selected(self, peer: Obj, own: str) -> list[PodFacts]:
        selector = parse_label_selector_object(peer.get("podSelector") or {})
        return self.cluster.select(self.cluster.namespaces(peer.get("namespaceSelector"), own), selector)


def _set_name(*what: Any) -> str:
    return f"peers-{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}"


def port_ranges(ports: Sequence[Obj], target: PodFacts | None) -> Ports:
    """Ports as ranges, merged where they touch. Names that the target lacks are left out."""
    found: dict[str, list[tuple[int, int]]] = {}
    for port in ports:
        protocol, number = port.get("protocol") or "TCP", port.get("port")
        if isinstance(number, str):
            number = target.ports.get((number, protocol)) if target is not None else None
            if number is None:
                continue
        span = (0, LAST_PORT) if number is None else (int(number), int(port.get("endPort") or number))
        found.setdefault(protocol.lower(), []).append(span)
    return tuple((protocol, *span) for protocol, spans in sorted(found.items()) for span in _merged(spans))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first, last = -1, -2
    for start, end in sorted(spans):
        if start > last + 1:
            if first >= 0:
                yield first, last
            first, last = start, end
        last = max(last, end)
    if first >= 0:
        yield first, last
