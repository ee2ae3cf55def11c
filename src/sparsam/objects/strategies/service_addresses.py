"""A Service's cluster addresses and families: kept in step, carried over by updates, settled and validated.

What a Service gets of its own depends on the families that the cluster has, the default one first. Source: KEP-563.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def settle(spec: Obj, old: Obj | None, cluster: Sequence[str]) -> list[Cause]:
    """Fill in policy and families for a cluster that has these; the causes why that cannot be."""
    if spec.get("type") == "ExternalName" or (old is not None and _stays_preferred(spec, old)):
        return []
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = "RequireDualStack" if _takes_all(spec) else "SingleStack"
    causes = validate(spec)
    if causes:
        return causes
    if old is not None:
        causes += _release(spec, old)
    causes += _too_many(spec) + _infer_families(spec, cluster)
    return causes or (_complete_headless(spec, cluster) if _takes_all(spec) else _complete(spec, cluster))


def _takes_all(spec: Obj) -> bool:
    """Whether nobody knows what addresses the endpoints will have: there is neither selector nor address."""
    return spec.get("clusterIP") == "None" and not spec.get("selector")


def _stays_preferred(spec: Obj, old: Obj) -> bool:
    """Whether a Service that takes what there is stays as it is, even if the cluster has other families by now."""
    fields = ("type", "ipFamilyPolicy", "clusterIPs", "ipFamilies")
    return spec.get("ipFamilyPolicy") == "PreferDualStack" and all(spec.get(each) == old.get(each) for each in fields)


def _release(spec: Obj, old: Obj) -> list[Cause]:
    """With another policy the second address and family go; without one they may not."""
    policy = spec["ipFamilyPolicy"]
    causes: list[Cause] = []
    for field, name in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        mine, before = spec.get(field) or [], old.get(field) or []
        if policy == "SingleStack" and mine == before and len(mine) > 1:
            spec[field] = mine[:1]
        elif policy != "SingleStack" and mine and len(mine) < len(before):
            detail = f"must be 'SingleStack' to release the secondary {name}"
            causes.append(invalid("spec.ipFamilyPolicy", policy, detail))
    return causes


def _too_many(spec: Obj) -> list[Cause]:
    policy = spec["ipFamilyPolicy"]
    detail = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    return [
        invalid("spec.ipFamilyPolicy", policy, detail.format(name))
        for field, name in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if policy == "SingleStack" and len(spec.get(field) or []) == 2
    ]


def _infer_families(spec: Obj, cluster: Sequence[str]) -> list[Cause]:
    every = spec.get("clusterIPs") or []
    families = list(spec.get("ipFamilies") or [])
    causes: list[Cause] = []
    for position, address in enumerate(map(parse_ip, every)):
        if address is None or position < len(families):
            continue
        family = f"IPv{address.version}"
        if family in cluster:
            families.append(family)
        else:
            detail = f"{family} is not configured on this cluster"
            causes.append(invalid(f"{_PATH}[{position}]", every, detail))
    if families:
        spec["ipFamilies"] = families
    return causes


def _complete_headless(spec: Obj, cluster: Sequence[str]) -> list[Cause]:
    families = spec.get("ipFamilies") or [cluster[0]]
    spec["ipFamilies"] = families if spec["ipFamilyPolicy"] == "SingleStack" else _both(families)
    return []


def _complete(spec: Obj, cluster: Sequence[str]) -> list[Cause]:
    policy, families = spec["ipFamilyPolicy"], spec.get("ipFamilies") or []
    causes: list[Cause] = []
    if policy == "RequireDualStack" and len(cluster) < 2:
        detail = "this cluster is not configured for dual-stack services"
        causes.append(invalid("spec.ipFamilyPolicy", policy, detail))
    causes += [
        invalid(f"spec.ipFamilies[{position}]", family, "not configured on this cluster")
        for position, family in enumerate(families)
        if family not in cluster
    ]
    if not causes:
        families = families or [cluster[0]]
        spec["ipFamilies"] = families if policy == "SingleStack" or len(cluster) < 2 else _both(families)
    return causes


def _both(families: Sequence[str]) -> list[str]:
    return [families[0], FAMILIES[1 - FAMILIES.index(families[0])]]


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
    if (
        not spec.get("clusterIPs")
        and spec.get("clusterIP") in (None, "", old.get("clusterIP"))
        and old.get("clusterIP")
    ):
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
    return causes + _match_families(every, families)


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
