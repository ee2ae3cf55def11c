"""NetworkPolicies."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, required
from sparsam.objects.strategies.common import cidr_causes, optional_one_of, parse_cidr, port_causes
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")


def default_policy(policy: Obj) -> None:
    """TCP where no protocol is named; the types follow from the rules."""
    spec = policy.setdefault("spec", {})
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            if port.get("protocol") is None:
                port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = list(_TYPES) if spec.get("egress") else ["Ingress"]


def validate(policy: Obj) -> list[Cause]:
    """Causes for a NetworkPolicy."""
    spec = policy["spec"]
    causes = validate_label_selector(spec.get("podSelector"), "spec.podSelector")
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for position, rule in enumerate(spec.get(field) or []):
            causes += _rule(rule, peers, f"spec.{field}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        causes.append(invalid("spec.policyTypes", types, "may not specify more than two policyTypes"))
        return causes
    for position, kind in enumerate(types):
        causes += optional_one_of(kind, f"spec.policyTypes[{position}]", _TYPES)
    return causes


def _rule(rule: Obj, peers: str, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, port in enumerate(rule.get("ports") or []):
        causes += _port(port, f"{path}.ports[{position}]")
    for position, peer in enumerate(rule.get(peers) or []):
        causes += _peer(peer, f"{path}.{peers}[{position}]")
    return causes


def _port(port: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if port.get("protocol") is not None:
        causes += optional_one_of(port["protocol"], f"{path}.protocol", _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    here = f"{path}.endPort"
    if number is None:
        if end is not None:
            causes.append(invalid(here, end, "may not be specified when `port` is not specified"))
        return causes
    if isinstance(number, int):
        causes += port_causes(number, f"{path}.port")
        if end is not None and end < number:
            causes.append(invalid(here, end, "must be greater than or equal to `port`"))
        if end is not None:
            causes += port_causes(end, here)
        return causes
    if end is not None:
        causes.append(invalid(here, end, "may not be specified when `port` is non-numeric"))
    return causes + port_causes(number, f"{path}.port")


def _peer(peer: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    count = 0
    for name in ("podSelector", "namespaceSelector"):
        if peer.get(name) is not None:
            count += 1
            causes += validate_label_selector(peer[name], f"{path}.{name}")
    if peer.get("ipBlock") is not None:
        count += 1
        causes += _ip_block(peer["ipBlock"], f"{path}.ipBlock")
    if count == 0:
        causes.append(required(path, "must specify a peer"))
    elif count > 1 and peer.get("ipBlock") is not None:
        causes.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return causes


def _ip_block(block: Obj, path: str) -> list[Cause]:
    cidr = block.get("cidr")
    if not cidr:
        return [required(f"{path}.cidr")]
    causes = cidr_causes(cidr, f"{path}.cidr")
    whole = parse_cidr(cidr)
    if whole is None:
        return causes
    for position, text in enumerate(block.get("except") or []):
        here = f"{path}.except[{position}]"
        causes += cidr_causes(text, here)
        part = parse_cidr(text)
        if part is None:
            continue
        inside = part.version == whole.version and part.network_address in whole and part.prefixlen > whole.prefixlen
        if not inside:
            causes.append(invalid(here, text, "must be a strict subset of `cidr`"))
    return causes


def validate_update(policy: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed NetworkPolicy."""
    return validate(policy)


STRATEGIES = {
    ("networking.k8s.io", "NetworkPolicy"): Strategy(
        default=default_policy,
        validate=validate,
        validate_update=validate_update,
        has_status=False,
        has_generation=True,
    ),
}
