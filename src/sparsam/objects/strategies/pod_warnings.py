"""Warnings for pods and pod templates: what is accepted but surely not meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sparsam.objects.fields import quote
from sparsam.objects.strategies.affinity import PREFERRED, REQUIRED
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategy import Obj

_NO_SELECTOR = "a null labelSelector results in matching no pod"
_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "seccomp.security.alpha.kubernetes.io/pod": 'non-functional in v1.27+; use the "seccompProfile" field instead',
}


def template_warnings(template: Obj | None, path: str) -> list[str]:
    """Warnings for a pod template at `path`."""
    template = template or {}
    meta = template.get("metadata") or {}
    return pod_warnings(template.get("spec") or {}, meta, f"{path}.spec", f"{path}.metadata")


def pod_warnings(spec: Obj, meta: Mapping[str, Any], path: str, meta_path: str) -> list[str]:
    """Warnings for a pod."""
    warnings = [
        f"{path}.nodeSelector[{name}]: {_NODE_LABELS[name]}"
        for name in spec.get("nodeSelector") or {}
        if name in _NODE_LABELS
    ]
    warnings += [
        f"{meta_path}.annotations[{name}]: {_ANNOTATIONS[name]}"
        for name in meta.get("annotations") or {}
        if name in _ANNOTATIONS
    ]
    warnings += _volume_warnings(spec.get("volumes") or [], f"{path}.volumes")
    for field in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(field) or []):
            warnings += _container_warnings(container, f"{path}.{field}[{position}]")
    warnings += _list_warnings(spec, path)
    if spec.get("affinity"):
        warnings += [f"{here}.labelSelector: {_NO_SELECTOR}" for here in _terms_without_selector(spec, path)]
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        warnings.append(f"{path}.terminationGracePeriodSeconds: {text}")
    return warnings


def _volume_warnings(volumes: list[Obj], path: str) -> list[str]:
    warnings: list[str] = []
    for position, volume in enumerate(volumes):
        warnings += [f"{path}[{position}].{kind}: {_VOLUMES[kind]}" for kind in volume if kind in _VOLUMES]
        projected = volume.get("projected")
        if projected is not None:
            sources = projected.get("sources") or []
            if any(not source for source in sources) or not sources:
                warnings.append(f"volume {quote(volume.get('name', ''))} (Projected) has no sources provided")
    return warnings


def _container_warnings(container: Obj, path: str) -> list[str]:
    warnings: list[str] = []
    taken: set[str] = set()
    for position, variable in enumerate(container.get("env") or []):
        name = variable.get("name", "")
        if name in taken:
            text = f"hides previous definition of {quote(name)}, which may be dropped when using apply"
            warnings.append(f"{path}.env[{position}]: {text}")
        taken.add(name)
    limits_and_requests = container.get("resources") or {}
    for field in ("limits", "requests"):
        for name, value in (limits_and_requests.get(field) or {}).items():
            if name in ("memory", "ephemeral-storage") and quantity(value) % 1:
                text = f"fractional byte value {quote(str(value))} is invalid, must be an integer"
                warnings.append(f"{path}.resources.{field}[{name}]: {text}")
    ports = container.get("ports") or []
    return warnings + _port_warnings(ports, f"{path}.ports") if len(ports) > 1 else warnings


def _port_warnings(ports: list[Obj], path: str) -> list[str]:
    warnings: list[str] = []
    taken: dict[tuple[Any, ...], int] = {}
    for position, port in enumerate(ports):
        key = (port.get("protocol"), port.get("containerPort"), port.get("hostPort"), port.get("hostIP"))
        if key in taken:
            warnings.append(f"{path}[{position}]: duplicate port definition with {path}[{taken[key]}]")
        else:
            taken[key] = position
    return warnings


def _list_warnings(spec: Obj, path: str) -> list[str]:
    warnings: list[str] = []
    for position, constraint in enumerate(spec.get("topologySpreadConstraints") or []):
        if constraint.get("labelSelector") is None:
            warnings.append(f"{path}.topologySpreadConstraints[{position}].labelSelector: {_NO_SELECTOR}")
    for field, item in (("imagePullSecrets", "name"), ("hostAliases", "ip")):
        taken: set[str] = set()
        for position, each in enumerate(spec.get(field) or []):
            value = each.get(item, "")
            if not value and field == "imagePullSecrets":
                warnings.append(f'{path}.{field}[{position}].{item}: invalid empty name ""')
            elif value in taken:
                warnings.append(f"{path}.{field}[{position}].{item}: duplicate {item} {quote(value)}")
            taken.add(value)
    return warnings


def _terms_without_selector(spec: Obj, path: str) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = spec["affinity"].get(kind) or {}
        here = f"{path}.affinity.{kind}"
        for position, term in enumerate(terms.get(REQUIRED) or []):
            if term.get("labelSelector") is None:
                yield f"{here}.{REQUIRED}[{position}]"
        for position, weighted in enumerate(terms.get(PREFERRED) or []):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                yield f"{here}.{PREFERRED}[{position}].podAffinityTerm"
