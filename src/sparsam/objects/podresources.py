"""What a pod asks for and may use as a whole, for limits and quotas. Pure.

Source: upstream's component-helpers/resource (PodRequests, PodLimits); KEP-753 (sidecars), KEP-2837 (pod-level
resources), KEP-1287 (resize in place).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.objects.quantity import Amount, amount

Obj = dict[str, Any]
Amounts = dict[str, Amount]

_POD_LEVEL = ("cpu", "memory")
_POD_LEVEL_PREFIX = "hugepages-"


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """Quantities to calculate with."""
    return {name: amount(value) for name, value in (quantities or {}).items()}


def texts(known: Mapping[str, Amount]) -> dict[str, str]:
    """And back."""
    return {name: str(value) for name, value in known.items()}


def added(first: Mapping[str, Amount], second: Mapping[str, Amount]) -> Amounts:
    """The sum of each."""
    result = dict(first)
    for name, value in second.items():
        result[name] = result[name] + value if name in result else value
    return result


def largest(first: Mapping[str, Amount], second: Mapping[str, Amount]) -> Amounts:
    """The larger of each."""
    result = dict(first)
    for name, value in second.items():
        if name not in result or value.value > result[name].value:
            result[name] = value
    return result


def of_spec(spec: Mapping[str, Any], kind: str, *, overhead: bool = False, status: Obj | None = None) -> Amounts:
    """`requests` or `limits` of a pod: its containers' together, or its init containers' when they need more.

    With a status the larger of what is wished and what is in effect counts, so that a resize frees nothing early.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        total = added(total, _of_container(container, kind, status))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of_container(container, kind, status)
        if container.get("restartPolicy") == "Always":
            total, sidecars = added(total, own), added(sidecars, own)
            peak = sidecars
        else:
            peak = added(own, sidecars)
        starting = largest(starting, peak)
    total = largest(total, starting)
    for name, value in amounts((spec.get("resources") or {}).get(kind)).items():
        if name in _POD_LEVEL or name.startswith(_POD_LEVEL_PREFIX):
            total[name] = value
    if overhead:
        extra = amounts(spec.get("overhead"))
        wanted = extra if kind == "requests" else {name: value for name, value in extra.items() if name in total}
        total = added(total, wanted)
    return total


def _of_container(container: Obj, kind: str, status: Obj | None) -> Amounts:
    wished = amounts((container.get("resources") or {}).get(kind))
    if status is None:
        return wished
    listed = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    known: Obj = next((each for each in listed if each.get("name") == container["name"]), {})
    effective = amounts((known.get("resources") or {}).get(kind))
    if kind == "requests":
        effective = largest(effective, amounts(known.get("allocatedResources")))
    return largest(wished, {name: value for name, value in effective.items() if name in wished})
