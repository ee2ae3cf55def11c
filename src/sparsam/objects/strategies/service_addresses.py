"""A Service's cluster addresses and families: kept in step, carried over by updates, validated.

The cluster has one address family, IPv4.
"""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, not_supported, required
from sparsam.objects.strategies.common import dual_stack, ip_causes, parse_ip
from sparsam.objects.strategy import Obj

FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_PATH = "spec.clusterIPs"
_ONCE = "may not change once set"


def is_headless(spec: Obj) -> bool:
    """Whether the Service has no address of its own: DNS gives those of its pods."""
    every: list[str | None] = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return every[0] == "None"


def normalise(spec: Obj, old: Obj | None) -> None:
    """Bring clusterIP and clusterIPs into step: clients may know only one of the two."""
    first, every = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if old is None:
        if first and not every:
            spec["clusterIPs"] = [first]
        elif every and not first:
            spec["clusterIP"] = every[0]
        return
    if first != (old.get("clusterIP") or "") and every == (old.get("clusterIPs") or []):
        if first:
            spec["clusterIPs"] = [first]
        else:
            spec.pop("clusterIPs", None)


def default_families(spec: Obj) -> None:
    """Families follow from the addresses, or are the cluster's own."""
    if spec.get("type") == "ExternalName":
        return
    families = spec.get("ipFamilies") or []
    # Without a selector nobody knows what addresses the endpoints will have.
    if is_headless(spec) and not spec.get("selector"):
        spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        if len(families) < 2 and all(family in FAMILIES for family in families):
            first = families[0] if families else "IPv4"
            spec["ipFamilies"] = [first, FAMILIES[1 - FAMILIES.index(first)]]
        return
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if not families:
        found = [parse_ip(text) for text in spec.get("clusterIPs") or []]
        spec["ipFamilies"] = [f"IPv{address.version}" for address in found if address] or ["IPv4"]


def drop_by_type(spec: Obj, old: Obj) -> None:
    """A change of type takes away what the new type has no use for, unless the client set it anew."""
    kind = spec.get("type", "")
    if kind == "ExternalName" and old.get("type") != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            _drop_same(spec, old, field)
    if kind not in ("NodePort", "LoadBalancer"):
        before = [port.get("nodePort") for port in old.get("ports") or []]
        for port in spec.get("ports") or []:
            if port.get("nodePort") in before:
                port.pop("nodePort", None)
        if not (kind == "ClusterIP" and spec.get("externalIPs")):
            _drop_same(spec, old, "externalTrafficPolicy")
    if kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            _drop_same(spec, old, field)
    if kind != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        _drop_same(spec, old, "healthCheckNodePort")


def _drop_same(spec: Obj, old: Obj, field: str) -> None:
    if field in spec and spec.get(field) == old.get(field):
        del spec[field]


def keep_allocated(spec: Obj, old: Obj) -> None:
    """Fill in what the server once chose and the client left out."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs") and old.get("clusterIP"):
        spec["clusterIP"] = old["clusterIP"]
        spec["clusterIPs"] = list(old.get("clusterIPs") or [old["clusterIP"]])
    for field in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(field) and old.get(field):
            spec[field] = old[field]
    if spec.get("type") in ("NodePort", "LoadBalancer") and old.get("type") in ("NodePort", "LoadBalancer"):
        _keep_node_ports(spec, old)
    local = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if local and not spec.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old["healthCheckNodePort"]


def _keep_node_ports(spec: Obj, old: Obj) -> None:
    known = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in old.get("ports") or []}
    used = {port.get("nodePort") for port in spec.get("ports") or []}
    for port in spec.get("ports") or []:
        before = known.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and before and before not in used:
            port["nodePort"] = before


def validate(spec: Obj) -> list[Cause]:
    """Causes for clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy."""
    if spec.get("type") == "ExternalName":
        return []
    every, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    causes = _in_step(spec.get("clusterIP") or "", every) + _families(families)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        causes.append(not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    wrong: list[Cause] = []
    for position, text in enumerate(every):
        if position == 0 and text == "None":
            if len(every) > 1:
                wrong.append(invalid(_PATH, every, "'None' must be the first and only value"))
        else:
            wrong += ip_causes(text, f"{_PATH}[{position}]")
    causes += wrong
    if len(every) > 2:
        causes.append(invalid(_PATH, every, "may only hold up to 2 values"))
    if wrong:
        return causes
    return causes + _match_families(every, families) + _one_family_cluster(spec, every, families, bool(causes))


def _in_step(first: str, every: list[str]) -> list[Cause]:
    if not first:
        return [invalid(_PATH, every, "must be empty when `clusterIP` is not specified")] if every else []
    if not every:
        return [required(_PATH)]
    return [] if every[0] == first else [invalid(_PATH, every, "first value must match `clusterIP`")]


def _families(families: list[str]) -> list[Cause]:
    causes: list[Cause] = []
    for position, family in enumerate(families):
        path = f"spec.ipFamilies[{position}]"
        if family not in FAMILIES:
            causes.append(not_supported(path, family, FAMILIES))
        if family in families[:position]:
            causes.append(duplicate(path, family))
    return causes


def _match_families(every: list[str], families: list[str]) -> list[Cause]:
    found = [parse_ip(text) for text in every]
    causes: list[Cause] = []
    if len(every) > 1 and not dual_stack(address.version for address in found if address):
        causes.append(invalid(_PATH, every, "may specify no more than one IP for each IP family"))
    for position, (address, family) in enumerate(zip(found, families, strict=False)):
        if address and family in FAMILIES and family != f"IPv{address.version}":
            detail = f"expected an {family} value as indicated by `ipFamilies[{position}]`"
            causes.append(invalid(f"{_PATH}[{position}]", every[position], detail))
    return causes


def _one_family_cluster(spec: Obj, every: list[str], families: list[str], already: bool) -> list[Cause]:
    if already or (is_headless(spec) and not spec.get("selector")):
        return []
    policy, detail = spec.get("ipFamilyPolicy"), "this cluster is not configured for dual-stack services"
    causes: list[Cause] = []
    if policy == "RequireDualStack":
        causes.append(invalid("spec.ipFamilyPolicy", policy, detail))
    if len(every) > 1:
        causes.append(invalid(_PATH, every, detail))
    if len(families) > 1:
        causes.append(invalid("spec.ipFamilies", families, detail))
    if families[:1] == ["IPv6"] and not causes:
        causes.append(invalid("spec.ipFamilies[0]", "IPv6", "not configured on this cluster"))
    return causes


def validate_change(spec: Obj, old: Obj) -> list[Cause]:
    """Causes for addresses and families that changed: the first of each is settled."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return []
    headless, was_headless = is_headless(spec), is_headless(old)
    causes: list[Cause] = []
    if not (headless and was_headless):
        causes += _changes(spec, old, "clusterIPs", "primary clusterIP can not be unset")
    if not headless and not was_headless:
        causes += _changes(spec, old, "ipFamilies", "primary ipFamily can not be unset")
    return causes


def _changes(spec: Obj, old: Obj, field: str, unset: str) -> list[Cause]:
    new_values, old_values = spec.get(field) or [], old.get(field) or []
    path = f"spec.{field}"
    if len(new_values) == len(old_values):
        changed = [position for position, value in enumerate(old_values) if value != new_values[position]]
        # Upstream blames the first family whichever changed.
        places = [0 if field == "ipFamilies" else position for position in changed]
        return [invalid(f"{path}[{position}]", new_values, _ONCE) for position in places]
    causes: list[Cause] = []
    if not new_values:
        causes.append(invalid(f"{path}[0]", new_values, unset))
    elif old_values and new_values[0] != old_values[0]:
        causes.append(invalid(f"{path}[0]", new_values, _ONCE))
    if len(old_values) > len(new_values) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        word = "clusterIP" if field == "clusterIPs" else "ipFamily"
        detail = f"must be set to 'SingleStack' when releasing the secondary {word}"
        causes.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))
    return causes
