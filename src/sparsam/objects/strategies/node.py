"""Nodes: taints, pod addresses, capacity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, render, required
from sparsam.objects.names import label_value_errors, qualified_name_errors
from sparsam.objects.strategies.affinity import taint_effect
from sparsam.objects.strategies.common import cidr_causes, dual_stack, parse_cidr, text_causes
from sparsam.objects.strategies.resources import quantity_value
from sparsam.objects.strategy import Obj, Strategy

_CIDR_ONCE = 'node updates may not change podCIDR except from "" to valid'
_PROVIDER_ONCE = 'node updates may not change providerID except from "" to valid'


def default_node(node: Obj) -> None:
    """What a node offers is what it has, unless it says less; one pod CIDR stands in two fields."""
    status = node.get("status")
    if status and status.get("capacity") and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])
    spec = node.get("spec") or {}
    # The older field wins where the two disagree.
    if spec.get("podCIDR") and (spec.get("podCIDRs") or [""])[0] != spec["podCIDR"]:
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]


def validate(node: Obj) -> list[Cause]:
    """Causes for a new node."""
    spec = node.get("spec") or {}
    causes = _taints(spec) + _resources(node)
    cidrs = spec.get("podCIDRs") or []
    for position, cidr in enumerate(cidrs):
        causes += cidr_causes(cidr, f"spec.podCIDRs[{position}]")
    if len(cidrs) > 1:
        networks = [network.version for network in map(parse_cidr, cidrs) if network]
        if not dual_stack(networks):
            causes.append(invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"))
        for position, cidr in enumerate(cidrs):
            if cidr in cidrs[:position]:
                causes.append(duplicate(f"spec.podCIDRs[{position}]", cidr))
    return causes


def _taints(spec: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[tuple[str, str]] = set()
    for position, taint in enumerate(spec.get("taints") or []):
        path = f"metadata.taints[{position}]"
        key, effect, value = taint.get("key", ""), taint.get("effect", ""), taint.get("value", "")
        causes += text_causes(key, f"{path}.key", qualified_name_errors)
        errors = label_value_errors(value)
        if errors:
            causes.append(invalid(f"{path}.value", value, ";".join(errors)))
        causes += taint_effect(effect, f"{path}.effect") if effect else [required(f"{path}.effect")]
        if (key, effect) in taken:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            detail = f"Duplicate value: {render(shown)}: taints must be unique by key and effect pair"
            causes.append(Cause("FieldValueDuplicate", detail, path))
        taken.add((key, effect))
    return causes


def _resources(node: Obj) -> list[Cause]:
    causes: list[Cause] = []
    for field in ("capacity", "allocatable"):
        for name, value in ((node.get("status") or {}).get(field) or {}).items():
            causes += quantity_value(name, value, f"status.{field}.{name}")
    return causes


def validate_update(node: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed node, spec or status."""
    spec, old_spec = node.get("spec") or {}, old.get("spec") or {}
    causes = _resources(node)
    addresses = (node.get("status") or {}).get("addresses") or []
    for position, address in enumerate(addresses):
        if address in addresses[:position]:
            shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
            causes.append(duplicate(f"status.addresses[{position}]", shown))
    cidrs, old_cidrs = spec.get("podCIDRs") or [], old_spec.get("podCIDRs") or []
    if old_cidrs:
        if len(cidrs) != len(old_cidrs):
            causes.append(forbidden("spec.podCIDRs", _CIDR_ONCE))
        else:
            changed = sum(mine != before for mine, before in zip(cidrs, old_cidrs, strict=True))
            causes += [forbidden("spec.podCIDRs", _CIDR_ONCE)] * changed
    if old_spec.get("providerID") and old_spec["providerID"] != spec.get("providerID", ""):
        causes.append(forbidden("spec.providerID", _PROVIDER_ONCE))
    causes += _taints(spec)
    if spec.get("externalID", "") != old_spec.get("externalID", ""):
        causes.append(forbidden("spec.externalID", "may not be updated"))
    return causes


def validate_node_update(node: Obj, old: Obj) -> list[Cause]:
    """Causes for an update of the main resource: those of the change, and those of the whole."""
    return validate(node) + validate_update(node, old)


def warnings(node: Obj, old: Obj | None) -> list[str]:
    """Warnings for fields that nobody reads any more."""
    spec, old_spec = node.get("spec") or {}, (old or {}).get("spec") or {}
    found = []
    if spec.get("configSource") is not None and old_spec.get("configSource") is None:
        found.append("spec.configSource: the feature is no longer supported")
    if spec.get("externalID") and not old_spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    return found


STRATEGIES = {
    ("", "Node"): Strategy(
        default=default_node,
        validate=validate,
        validate_update=validate_node_update,
        validate_status=validate_update,
        warnings=warnings,
    )
}
