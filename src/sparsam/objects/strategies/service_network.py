"""IPAddresses and ServiceCIDRs: which addresses Services may have, and which are taken."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import path_segment_errors, validate_immutable
from sparsam.objects.strategies.common import CIDR_TEXT, dual_stack, parse_cidr, parse_ip, text_causes
from sparsam.objects.strategy import Obj, Strategy

_PARENT = "spec.parentRef"


def validate_address(address: Obj) -> list[Cause]:
    """Causes for a new IPAddress: its name is an address in its shortest form."""
    name = address["metadata"].get("name", "")
    causes: list[Cause] = []
    parsed = parse_ip(name)
    if parsed is None:
        causes.append(invalid("metadata.name", name, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
    elif str(parsed) != name:
        causes.append(invalid("metadata.name", name, f'must be in canonical form ("{parsed}")'))
    parent = (address.get("spec") or {}).get("parentRef")
    if parent is None:
        return [*causes, required(_PARENT)]
    for field in ("resource", "name"):
        if not parent.get(field):
            causes.append(required(f"{_PARENT}.{field}"))
        else:
            causes += text_causes(parent[field], f"{_PARENT}.{field}", path_segment_errors)
    for field in ("group", "namespace"):
        if parent.get(field):
            causes += text_causes(parent[field], f"{_PARENT}.{field}", path_segment_errors)
    return causes


def validate_address_update(address: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed IPAddress: its owner stays."""
    new, before = (address.get("spec") or {}).get("parentRef"), (old.get("spec") or {}).get("parentRef")
    return validate_immutable(new, before, _PARENT)


def prepare_cidr(service_cidr: Obj) -> None:
    """A new range has no conditions."""
    service_cidr["status"] = {}


def validate_cidr(service_cidr: Obj) -> list[Cause]:
    """Causes for a new ServiceCIDR: one range, or one of each family."""
    cidrs = (service_cidr.get("spec") or {}).get("cidrs") or []
    if not cidrs:
        return [required("spec.cidrs", "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid("spec", cidrs, "may only hold up to 2 values")]
    causes: list[Cause] = []
    for position, text in enumerate(cidrs):
        network = parse_cidr(text)
        here = f"spec.cidrs[{position}]"
        if network is None:
            causes.append(invalid(here, text, CIDR_TEXT))
        elif str(network) != text:
            causes.append(invalid(here, text, f'must be in canonical form ("{network}")'))
    if len(cidrs) > 1 and not causes:
        versions = [network.version for network in map(parse_cidr, cidrs) if network is not None]
        if not dual_stack(versions):
            causes.append(invalid("spec", cidrs, "may specify no more than one IP for each IP family"))
    return causes


def validate_cidr_update(service_cidr: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ServiceCIDR: a second family may be added."""
    new, before = (service_cidr.get("spec") or {}).get("cidrs"), (old.get("spec") or {}).get("cidrs")
    if before and new and len(before) == 1 and len(new) == 2 and new[0] == before[0]:
        return validate_cidr(service_cidr)
    return validate_immutable(new, before, "spec.cidrs")


STRATEGIES = {
    ("networking.k8s.io", "IPAddress"): Strategy(
        validate=validate_address,
        validate_update=validate_address_update,
        name_rule="path-segment",
        has_status=False,
        has_generation=True,
    ),
    ("networking.k8s.io", "ServiceCIDR"): Strategy(
        prepare_create=prepare_cidr,
        validate=validate_cidr,
        validate_update=validate_cidr_update,
        has_generation=True,
    ),
}
