"""References from a container or volume to fields of its pod (the downward API): defaults and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.names import qualified_name_errors
from sparsam.objects.strategies.common import put_default
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategy import Obj

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
_KNOWN = frozenset({*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"})
_HUGEPAGES = ("requests.hugepages-", "limits.hugepages-")
_SIZES = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
_CPU_DIVISORS = frozenset(map(quantity, ("1m", "1")))
_SIZE_DIVISORS = frozenset(map(quantity, _SIZES.split(", ")))


def default_field_ref(reference: Obj | None) -> None:
    """The version in which a field path is read."""
    if reference is not None:
        put_default(reference, "apiVersion", "v1")


def default_resource_field_ref(reference: Obj | None) -> None:
    """A divisor that is not given is kept as zero."""
    if reference is not None:
        put_default(reference, "divisor", "0")


def validate_field_ref(reference: Mapping[str, Any], supported: tuple[str, ...], path: str) -> list[Cause]:
    """Causes for a fieldRef."""
    version, field_path = reference.get("apiVersion", ""), reference.get("fieldPath", "")
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field_path:
        return [required(f"{path}.fieldPath")]
    if version != "v1":
        error = f"error converting fieldPath: unsupported pod version: {version}"
        return [invalid(f"{path}.fieldPath", field_path, error)]
    base, subscript = _split(field_path)
    if subscript is not None:
        if base not in _SUBSCRIPTED:
            error = f"error converting fieldPath: field label does not support subscript: {field_path}"
            return [invalid(f"{path}.fieldPath", field_path, error)]
        name = subscript.lower() if base == "metadata.annotations" else subscript
        return [invalid(path, name, error) for error in qualified_name_errors(name)]
    if field_path not in _KNOWN:
        error = f"error converting fieldPath: field label not supported: {field_path}"
        return [invalid(f"{path}.fieldPath", field_path, error)]
    if field_path not in supported:
        return [not_supported(f"{path}.fieldPath", field_path, supported)]
    return []


def _split(field_path: str) -> tuple[str, str | None]:
    if field_path.endswith("']"):
        base, found, subscript = field_path[:-2].partition("['")
        if found and base:
            return base, subscript
    return field_path, None


def validate_resource_field_ref(reference: Mapping[str, Any], path: str, *, volume: bool) -> list[Cause]:
    """Causes for a resourceFieldRef; in a volume the container must be named."""
    resource = reference.get("resource", "")
    causes: list[Cause] = []
    if volume and not reference.get("containerName"):
        causes.append(required(f"{path}.containerName"))
    elif not resource:
        causes.append(required(f"{path}.resource"))
    elif resource not in RESOURCE_FIELDS and not resource.startswith(_HUGEPAGES):
        causes.append(not_supported(f"{path}.resource", resource, RESOURCE_FIELDS))
    return causes + _divisor(resource, reference.get("divisor") or "0", f"{path}.divisor")


def _divisor(resource: str, divisor: str, path: str) -> list[Cause]:
    value = quantity(divisor)
    if value == 0:
        return []
    _, _, name = resource.partition(".")
    if name == "cpu":
        detail = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [] if value in _CPU_DIVISORS else [invalid(path, resource, detail)]
    nouns = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}
    noun = "hugepages" if resource.startswith(_HUGEPAGES) else nouns.get(name)
    if noun is None or value in _SIZE_DIVISORS:
        return []
    return [invalid(path, resource, f"only divisor's values {_SIZES} are supported with the {noun} resource")]
