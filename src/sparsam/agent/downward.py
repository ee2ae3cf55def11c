"""The downward API: fields and resources of a pod as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING

from sparsam.agent.podspec import Obj, container_spec
from sparsam.agent.references import ConfigFault
from sparsam.units import parse_quantity

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]\Z")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod is told about itself and its node."""

    pod: Obj
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    node_name: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)


def field_value(facts: PodFacts, path: str) -> str:
    """A `fieldRef`; raises ConfigFault for a path that is not offered."""
    metadata, spec = facts.pod["metadata"], facts.pod["spec"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "metadata.labels": _format_map(metadata.get("labels")),
        "metadata.annotations": _format_map(metadata.get("annotations")),
        "spec.nodeName": spec.get("nodeName", facts.node_name),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in values:
        raise ConfigFault(f"unsupported fieldPath: {path}")
    return str(values[path])


def resource_value(facts: PodFacts, reference: Obj, own: Obj | None) -> str:
    """A `resourceFieldRef`: in units of the divisor, rounded up; a missing limit is the node's allocatable."""
    name = reference.get("containerName")
    spec = container_spec(facts.pod, name) if name else own
    if spec is None:
        raise ConfigFault(f"container {name} not found")
    kind, _, resource = str(reference["resource"]).partition(".")
    amounts = (spec.get("resources") or {}).get(kind) or {}
    amount = amounts.get(resource)
    if amount is None:
        amount = facts.allocatable.get(resource, "0") if kind == "limits" else "0"
    divisor = parse_quantity(reference.get("divisor") or "1") or parse_quantity("1")
    return str(int((parse_quantity(amount) / divisor).to_integral_value(ROUND_CEILING)))


def _format_map(entries: Mapping[str, str] | None) -> str:
    return "\n".join(f"{name}={_quoted(value)}" for name, value in sorted((entries or {}).items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
