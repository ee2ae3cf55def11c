"""Pod security: namespaces' labels say which of the Pod Security Standards their pods must or should keep to.

Source: upstream's PodSecurity plug-in; KEP-2579. There is no audit log, so that `audit` labels are only checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Attributes, Reader, forbidden
from sparsam.apiserver.admission.podsecuritychecks import LATEST, LEVELS, Subject, Violation, violations
from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.kinds import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
    Resource,
    find,
)
from sparsam.objects.strategy import Obj

LABEL = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
MOST_PODS = 3000
"""So many existing pods are looked at when a namespace becomes stricter."""
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)\Z")
_FREE_PARTS = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
_POD_TEMPLATES = find("", "v1", "podtemplates")
_TEMPLATED: dict[Resource, tuple[str, ...]] = {
    **dict.fromkeys(
        (DAEMONSETS, DEPLOYMENTS, JOBS, REPLICASETS, REPLICATIONCONTROLLERS, STATEFULSETS), ("spec", "template")
    ),
    CRONJOBS: ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True, slots=True)
class Standard:
    """A level, and the version of it that is meant."""

    level: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.level}:{self.version}"

    def judge(self, pod: Obj) -> list[Violation]:
        """What the standard forbids a pod or a pod template."""
        found = _VERSION.match(self.version)
        annotations = (pod.get("metadata") or {}).get("annotations") or {}
        return violations(self.level, Subject(annotations, pod.get("spec") or {}, int(found[1]) if found else LATEST))


def policy_of(labels: Mapping[str, str]) -> tuple[dict[str, Standard], list[Cause]]:
    """A namespace's standards by mode, and what is wrong with its labels.

    A level that cannot be read is the strictest for `enforce` and none for the others.
    """
    policy, causes = {}, []
    for mode in MODES:
        level = labels.get(LABEL + mode, "privileged")
        version = labels.get(f"{LABEL}{mode}-version", "latest")
        if level not in LEVELS:
            path = f"metadata.labels[{LABEL}{mode}]"
            causes.append(invalid(path, level, f"must be one of {', '.join(LEVELS)}"))
            level = "restricted" if mode == "enforce" else "privileged"
        if version != "latest" and not _VERSION.match(version):
            path = f"metadata.labels[{LABEL}{mode}-version]"
            causes.append(invalid(path, version, 'must be "latest" or "v1.x"'))
            version = "latest"
        policy[mode] = Standard(level, version)
    return policy, causes


async def pod_security(attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> list[str]:
    """Warnings; raises Forbidden for pods that violate what is enforced, and Invalid for labels of a namespace."""
    if attributes.operation not in ("CREATE", "UPDATE"):
        return []
    resource = attributes.resource
    if resource is NAMESPACES:
        return [] if attributes.subresource else await _namespace(new, old, reader)
    if resource is PODS:
        if attributes.subresource in _FREE_PARTS or (old is not None and not is_significant(new, old)):
            return []
        return await _judge(attributes, new, new, reader)
    template = _template(resource, new)
    if template is None or attributes.subresource:
        return []
    return await _judge(attributes, new, template, reader)


def _template(resource: Resource, obj: Obj) -> Obj | None:
    """The pods that a workload makes."""
    if resource is _POD_TEMPLATES:
        return obj.get("template")
    path = _TEMPLATED.get(resource)
    if path is None:
        return None
    found: Obj = obj
    for name in path:
        found = found.get(name) or {}
    return found


async def _judge(attributes: Attributes, obj: Obj, pod: Obj, reader: Reader) -> list[str]:
    namespace = await reader.find(NAMESPACES, attributes.namespace)
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    policy, _ = policy_of(labels)
    enforced = policy["enforce"]
    if attributes.resource is PODS and (found := enforced.judge(pod)):
        raise forbidden(attributes, obj, f'violates PodSecurity "{enforced}": {", ".join(str(each) for each in found)}')
    found = policy["warn"].judge(pod)
    if not found:
        return []
    return [f'would violate PodSecurity "{policy["warn"]}": {", ".join(str(each) for each in found)}']


def is_significant(new: Obj, old: Obj) -> bool:
    """Whether an update of a pod touches what the standards are about: images, added containers, profiles."""

    def seen(pod: Obj) -> tuple[object, ...]:
        spec = pod["spec"]
        annotations = pod["metadata"].get("annotations") or {}
        profiles = {key: value for key, value in annotations.items() if "seccomp" in key or "apparmor" in key}
        fields = ("initContainers", "containers", "ephemeralContainers")
        return profiles, [(each["name"], each.get("image")) for field in fields for each in spec.get(field) or ()]

    return seen(new) != seen(old)


async def _namespace(new: Obj, old: Obj | None, reader: Reader) -> list[str]:
    """Checks the labels; tells which pods a stricter level would not have let in."""
    policy, causes = policy_of(new["metadata"].get("labels") or {})
    before, known = policy_of(((old or {}).get("metadata") or {}).get("labels") or {})
    if causes and (old is None or causes != known):
        raise statuses.invalid("Namespace", new["metadata"]["name"], causes)
    enforced, previous = policy["enforce"], before["enforce"]
    if old is None or enforced in (previous, Standard("privileged", enforced.version)):
        return []
    if enforced.version == previous.version and LEVELS.index(enforced.level) < LEVELS.index(previous.level):
        return []
    return warnings_for(new["metadata"]["name"], enforced, await reader.items(PODS, new["metadata"]["name"]))


def warnings_for(namespace: str, enforced: Standard, pods: list[Obj]) -> list[str]:
    """Which pods violate a standard, those with the same faults together."""
    by_fault: dict[str, list[str]] = {}
    for pod in pods[:MOST_PODS]:
        if faults := enforced.judge(pod):
            by_fault.setdefault(", ".join(each.reason for each in faults), []).append(pod["metadata"]["name"])
    told = []
    if len(pods) > MOST_PODS:
        first = f"the first {MOST_PODS} of {len(pods)} existing pods"
        told.append(f"new PodSecurity enforce level only checked against {first}")
    if by_fault:
        told.append(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{enforced}"')
    return told + sorted(f"{_first_of(sorted(names))}: {fault}" for fault, names in by_fault.items())


def _first_of(names: list[str]) -> str:
    others = len(names) - 1
    return f"{names[0]} (and {others} other {'pod' if others == 1 else 'pods'})" if others else names[0]
