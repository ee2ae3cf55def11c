"""Resource lists (`cpu`, `memory`, `example.com/gpu`, ...) and the requests and limits of containers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import Value, duplicate, forbidden, invalid, key, not_found, required
from sparsam.objects.names import qualified_name_errors
from sparsam.units import parse_quantity

Quantities = Mapping[str, Any]

HUGEPAGES = "hugepages-"
DEFAULT_NAMESPACE = "kubernetes.io/"
STANDARD_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
STANDARD_QUOTA = frozenset(
    {
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims",
        "configmaps", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
STANDARD = STANDARD_QUOTA | {"storage"}
INTEGER_RESOURCES = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_NOT_INTEGER = "must be an integer"


@lru_cache(maxsize=4096)
def quantity(text: str | int | float) -> Decimal:
    """The value of a quantity, remembered: manifests repeat the same few."""
    return parse_quantity(text)


@lru_cache(maxsize=2048)
def is_native(name: str) -> bool:
    """Whether a resource is Kubernetes' own: no prefix, or one of kubernetes.io."""
    return "/" not in name or DEFAULT_NAMESPACE in name


@lru_cache(maxsize=2048)
def is_extended(name: str) -> bool:
    """Whether a resource is a vendor's, such as `example.com/gpu`."""
    return not (is_native(name) or name.startswith("requests.") or qualified_name_errors("requests." + name))


def is_hugepages(name: str) -> bool:
    """Whether a resource counts pages of one huge size."""
    return name.startswith(HUGEPAGES)


def is_overcommittable(name: str) -> bool:
    """Whether requests of a resource may be below its limit."""
    return is_native(name) and not is_hugepages(name)


def is_integer(name: str) -> bool:
    """Whether a resource is counted in whole units."""
    return name in INTEGER_RESOURCES or is_extended(name)


@lru_cache(maxsize=2048)
def _container_name_errors(name: str) -> tuple[str, ...]:
    errors = tuple(qualified_name_errors(name))
    if errors:
        return errors
    if "/" not in name:
        if name in STANDARD or is_hugepages(name):
            return () if _standard_container(name) else ("must be a standard resource for containers",)
        return ("must be a standard resource type or fully qualified", "must be a standard resource for containers")
    if not is_native(name) and not is_extended(name):
        return ("doesn't follow extended resource name standard",)
    return ()


def _standard_container(name: str) -> bool:
    return name in STANDARD_CONTAINER or is_hugepages(name)


def container_resource_name(name: str, path: str) -> list[Cause]:
    """Causes for the name of a resource that a container asks for."""
    return [invalid(path, name, error) for error in _container_name_errors(name)]


@lru_cache(maxsize=2048)
def resource_name_errors(name: str) -> tuple[str, ...]:
    """Broken rules of a resource's name wherever it stands."""
    errors = tuple(qualified_name_errors(name))
    if errors or "/" in name or name in STANDARD or is_hugepages(name):
        return errors
    return ("must be a standard resource type or fully qualified",)


def resource_name(name: str, path: str) -> list[Cause]:
    """Causes for the name of any resource."""
    return [invalid(path, name, error) for error in resource_name_errors(name)]


def quantity_value(name: str, value: Value, path: str) -> list[Cause]:
    """Causes for a negative amount, or a part of something counted in whole units."""
    amount = quantity(value)
    if amount < 0:
        return [invalid(path, value_text(value), "must be greater than or equal to 0")]
    if is_integer(name) and amount != amount.to_integral_value():
        return [invalid(path, value_text(value), _NOT_INTEGER)]
    return []


def value_text(value: Value) -> str:
    """A quantity as messages show it."""
    return str(value)


def validate_requirements(
    resources: Mapping[str, Any] | None, path: str, claim_names: frozenset[str] = frozenset()
) -> list[Cause]:
    """Causes for requests, limits and claims of a container."""
    if not resources:
        return []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes: list[Cause] = []
    state = _Seen()
    for name, value in limits.items():
        here = key(f"{path}.limits", name)
        causes += container_resource_name(name, here)
        causes += quantity_value(name, value, here)
        causes += _hugepage_sizes(name, value, here)
        state.see(name)
    for name, value in requests.items():
        here = key(f"{path}.requests", name)
        causes += container_resource_name(name, here)
        causes += quantity_value(name, value, here)
        causes += _hugepage_sizes(name, value, here)
        causes += _request_within_limit(name, value, limits, path)
        state.see(name)
    if state.hugepages and not state.cpu_or_memory:
        causes.append(forbidden(path, "HugePages require cpu or memory"))
    return causes + _claims(resources.get("claims") or [], f"{path}.claims", claim_names)


class _Seen:
    """Which sorts of resources a container names."""

    __slots__ = ("cpu_or_memory", "hugepages")

    def __init__(self) -> None:
        self.cpu_or_memory = False
        self.hugepages = False

    def see(self, name: str) -> None:
        if name in ("cpu", "memory"):
            self.cpu_or_memory = True
        elif is_hugepages(name):
            self.hugepages = True


def _hugepage_sizes(name: str, value: Value, path: str) -> list[Cause]:
    if not is_hugepages(name):
        return []
    try:
        size = quantity(name[len(HUGEPAGES) :])
    except ValueError:
        return []
    if size <= 0 or quantity(value) % size == 0:
        return []
    return [invalid(path, value_text(value), f"{value_text(value)} is not positive integer multiple of {name}")]


def _request_within_limit(name: str, value: Value, limits: Quantities, path: str) -> list[Cause]:
    here = f"{path}.requests"
    if name in limits:
        limit = limits[name]
        if quantity(value) != quantity(limit) and not is_overcommittable(name):
            return [invalid(here, value_text(value), f"must be equal to {name} limit of {value_text(limit)}")]
        if quantity(value) > quantity(limit):
            return [
                invalid(here, value_text(value), f"must be less than or equal to {name} limit of {value_text(limit)}")
            ]
        return []
    if not is_overcommittable(name):
        return [required(f"{path}.limits", "Limit must be set for non overcommitable resources")]
    return []


def _claims(claims: list[Mapping[str, Any]], path: str, names: frozenset[str]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for position, claim in enumerate(claims):
        here = f"{path}[{position}]"
        name, request = claim.get("name", ""), claim.get("request", "")
        if not name:
            causes.append(required(f"{here}.name"))
            continue
        if (name, request) in seen:
            causes.append(duplicate(here, f"{name}/{request}" if request else name))
        seen.add((name, request))
        if name not in names:
            causes.append(not_found(here, name))
    return causes


def default_requests_from_limits(container: dict[str, Any]) -> None:
    """Give a container that limits a resource the same request, when it names none."""
    resources = container.setdefault("resources", {})
    limits = resources.get("limits")
    if limits:
        requests = resources.get("requests")
        if requests is None:
            requests = resources["requests"] = {}
        for name, value in limits.items():
            requests.setdefault(name, value)
