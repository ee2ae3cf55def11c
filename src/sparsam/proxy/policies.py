"""NetworkPolicies as what each pod of this node may receive and send. Pure.

A pod that some policy selects for a direction is isolated in it: only what a rule of one of those policies allows comes
through, and answers to that. Source: Kubernetes API reference, NetworkPolicy v1 networking.k8s.io; KEP-2079 (endPort).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

Obj = dict[str, Any]

INGRESS, EGRESS = "Ingress", "Egress"
NAMESPACE_NAME = "kubernetes.io/metadata.name"


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
    """Addresses (None for all) without some, and ports (protocol and number or range; empty for all)."""

    addresses: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()
    ports: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Isolation:
    """What an isolated pod may do in one direction."""

    ip: str
    direction: str
    allowed: tuple[Allowed, ...]


def facts_of(pod: Obj, node_name: str) -> PodFacts | None:
    """A pod with an IPv4 address of its own; None for one without, for ended ones and those in a node's network."""
    spec, status = pod["spec"], pod.get("status") or {}
    ip = status.get("podIP") or ""
    if not ip or ":" in ip or spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
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
    """Pods and the labels of namespaces, to select from."""

    def __init__(self, pods: Iterable[PodFacts], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._by_namespace: dict[str, list[PodFacts]] = {}
        for pod in sorted(pods, key=lambda each: (each.namespace, each.name)):
            self._by_namespace.setdefault(pod.namespace, []).append(pod)
        self._namespaces = namespaces

    def select(self, namespaces: Sequence[str], selector: LabelSelector) -> list[PodFacts]:
        """Pods of some namespaces with matching labels."""
        found = (pod for name in namespaces for pod in self._by_namespace.get(name, ()))
        return [pod for pod in found if selector.matches(pod.labels)]

    def namespaces(self, selector: Obj | None, own: str) -> list[str]:
        """Names of the namespaces that a selector matches; without one the policy's own."""
        if selector is None:
            return [own]
        wanted = parse_label_selector_object(selector)
        names = self._by_namespace.keys() | self._namespaces.keys()
        return [
            name for name in sorted(names) if wanted.matches({NAMESPACE_NAME: name, **self._namespaces.get(name, {})})
        ]


def isolations(policies: Iterable[Obj], cluster: Cluster) -> list[Isolation]:
    """What the isolated pods of this node may do, in a stable order."""
    found: dict[tuple[str, str], list[Allowed]] = {}
    for policy in sorted(policies, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"])):
        spec, own = policy["spec"], policy["metadata"]["namespace"]
        selected = cluster.select([own], parse_label_selector_object(spec.get("podSelector") or {}))
        for direction in _directions(spec):
            for pod in selected:
                if pod.local:
                    rules = found.setdefault((pod.ip, direction), [])
                    rules += _allowed(spec, direction, own, pod, cluster)
    return [Isolation(ip, direction, tuple(dict.fromkeys(rules))) for (ip, direction), rules in sorted(found.items())]


def _directions(spec: Obj) -> Sequence[str]:
    stated = spec.get("policyTypes")
    if stated:
        return [each for each in (INGRESS, EGRESS) if each in stated]
    return [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]


def _allowed(spec: Obj, direction: str, own: str, pod: PodFacts, cluster: Cluster) -> Iterator[Allowed]:
    ingress = direction == INGRESS
    for rule in spec.get("ingress" if ingress else "egress") or ():
        ports = rule.get("ports") or []
        peers = rule.get("from" if ingress else "to") or []
        if not peers:
            numbers = _numbers(ports, pod if ingress else None)
            if numbers or not ports:
                yield Allowed(None, (), numbers)
            continue
        for peer in peers:
            yield from _from_peer(peer, ports, own, pod if ingress else None, cluster)


def _from_peer(
    peer: Obj, ports: Sequence[Obj], own: str, target: PodFacts | None, cluster: Cluster
) -> Iterator[Allowed]:
    """What one peer may; `target` has the named ports for what comes in, each peer its own for what goes out."""
    if "ipBlock" in peer:
        block, numbers = peer["ipBlock"], _numbers(ports, target)
        if _is_ipv4(block["cidr"]) and (numbers or not ports):
            yield Allowed(
                (block["cidr"],), tuple(each for each in block.get("except") or () if _is_ipv4(each)), numbers
            )
        return
    selector = parse_label_selector_object(peer.get("podSelector") or {})
    pods = cluster.select(cluster.namespaces(peer.get("namespaceSelector"), own), selector)
    by_ports: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for pod in pods:
        numbers = _numbers(ports, target or pod)
        if numbers or not ports:
            by_ports.setdefault(numbers, []).append(pod.ip)
    for numbers, addresses in by_ports.items():
        yield Allowed(tuple(addresses), (), numbers)


def _numbers(ports: Sequence[Obj], target: PodFacts | None) -> tuple[tuple[str, str], ...]:
    """Protocols with numbers or ranges; an empty number is every port. Names that the target lacks are left out."""
    found = []
    for port in ports:
        protocol, number = port.get("protocol") or "TCP", port.get("port")
        if isinstance(number, str):
            number = target.ports.get((number, protocol)) if target is not None else None
            if number is None:
                continue
        end = port.get("endPort")
        text = "" if number is None else f"{number}-{end}" if end else str(number)
        found.append((protocol.lower(), text))
    return tuple(dict.fromkeys(found))


def _is_ipv4(cidr: str) -> bool:
    try:
        IPv4Network(cidr, strict=False)
    except ValueError:
        return False
    return True


def render(table: str, found: Sequence[Isolation]) -> str:
    """One transaction for nft that replaces the whole table.

    What the node itself sends to its pods is not filtered, so that probes reach them; nor is a pod's talk with itself.
    """
    lines = [f"add table ip {table}", f"delete table ip {table}"]
    if not found:
        return "\n".join(lines) + "\n"
    lines.append(f"add table ip {table}")
    lines += [
        f"add chain ip {table} {hook} {{ type filter hook {hook} priority -10; policy accept; }}"
        for hook in ("forward", "input")
    ]
    lines += [f"add map ip {table} {name} {{ type ipv4_addr : verdict; }}" for name in ("receiving", "sending")]
    for each in found:
        lines += _chain(table, each)
    lines += [
        f"add rule ip {table} forward ct state established,related accept",
        f"add rule ip {table} forward ip saddr vmap @sending",
        f"add rule ip {table} forward ip daddr vmap @receiving",
        f"add rule ip {table} input ct state established,related accept",
        f"add rule ip {table} input ip saddr vmap @sending",
    ]
    return "\n".join(lines) + "\n"


def _chain(table: str, isolation: Isolation) -> list[str]:
    ingress = isolation.direction == INGRESS
    name = f"{'in' if ingress else 'out'}-{isolation.ip}"
    peer = "saddr" if ingress else "daddr"
    lines = [f"add chain ip {table} {name}", f"add rule ip {table} {name} ip {peer} {isolation.ip} return"]
    for allowed in isolation.allowed:
        where = ""
        if allowed.addresses is not None:
            where = f"ip {peer} {{ {', '.join(sorted(set(allowed.addresses)))} }} "
        if allowed.excluded:
            where += f"ip {peer} != {{ {', '.join(allowed.excluded)} }} "
        lines += [f"add rule ip {table} {name} {where}{ports}return" for ports in _port_matches(allowed.ports)]
    lines.append(f"add rule ip {table} {name} drop")
    verdicts = "receiving" if ingress else "sending"
    lines.append(f"add element ip {table} {verdicts} {{ {isolation.ip} : jump {name} }}")
    return lines


def _port_matches(ports: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not ports:
        yield ""
    for protocol in dict.fromkeys(protocol for protocol, _ in ports):
        numbers = [number for each, number in ports if each == protocol]
        if "" in numbers:
            yield f"meta l4proto {protocol} "
        else:
            yield f"{protocol} dport {{ {', '.join(numbers)} }} "
