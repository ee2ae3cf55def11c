"""What pods ask for and nodes have: NodeResourcesFit, NodeResourcesBalancedAllocation."""

from __future__ import annotations

from math import ceil, sqrt

from sparsam.units import parse_quantity
from tests.support.twin.cluster import Cluster, Obj, name_of

FULL = 100
STAND_INS = {"cpu": 100, "memory": 200 * 1024 * 1024}
"""What scoring assumes of a container that names no request: a tenth of a core, 200 MiB."""
POD_LEVEL = ("cpu", "memory")
Amounts = dict[str, int]


def amounts(quantities: Obj | None) -> Amounts:
    """Whole units, thousandths of a core for cpu, rounded up."""
    return {
        name: ceil(parse_quantity(text) * (1000 if name == "cpu" else 1)) for name, text in (quantities or {}).items()
    }


def allocatable(node: Obj) -> Amounts:
    """What pods may use of a node."""
    return amounts(node.get("status", {}).get("allocatable"))


def demand(pod: Obj, stand_ins: Amounts | None = None) -> Amounts:
    """What a pod needs at its hungriest moment, given what unnamed requests count as."""
    spec = pod["spec"]

    def asked(container: Obj) -> Amounts:
        return {**(stand_ins or {}), **amounts((container.get("resources") or {}).get("requests"))}

    total: Amounts = {}
    for container in spec["containers"]:
        total = _plus(total, asked(container))
    sidecars: Amounts = {}
    hungriest: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            total = _plus(total, asked(container))
            sidecars = _plus(sidecars, asked(container))
            hungriest = _most(hungriest, sidecars)
        else:
            hungriest = _most(hungriest, _plus(asked(container), sidecars))
    total = _most(total, hungriest)
    for name, amount in amounts((spec.get("resources") or {}).get("requests")).items():
        if name in POD_LEVEL or name.startswith("hugepages-"):
            total[name] = amount
    return _plus(total, amounts(spec.get("overhead")))


def _plus(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def used(cluster: Cluster, node: Obj, stand_ins: Amounts | None = None) -> Amounts:
    """What the pods of a node ask for."""
    total: Amounts = {}
    for pod in cluster.on(name_of(node)):
        total = _plus(total, demand(pod, stand_ins))
    return total


def shortages(cluster: Cluster, pod: Obj, node: Obj) -> tuple[tuple[str, ...], bool]:
    """Why the pod has no room on the node, and whether even an empty node had none."""
    has, taken, wants = allocatable(node), used(cluster, node), demand(pod)
    reasons = []
    if len(cluster.on(name_of(node))) + 1 > has.get("pods", 0):
        reasons.append("Too many pods")
    short = [name for name, amount in wants.items() if amount and amount > has.get(name, 0) - taken.get(name, 0)]
    reasons += [f"Insufficient {name}" for name in short]
    return tuple(reasons), any(wants[name] > has.get(name, 0) for name in short)


def least_allocated(cluster: Cluster, pod: Obj, node: Obj) -> int:
    """How much of cpu and memory stays free, on average."""
    has, taken, wants = allocatable(node), used(cluster, node, STAND_INS), demand(pod, STAND_INS)
    scores = []
    for name in ("cpu", "memory"):
        capacity = has.get(name, 0)
        if capacity:
            total = taken.get(name, 0) + wants.get(name, 0)
            scores.append(0 if total > capacity else (capacity - total) * FULL // capacity)
    return sum(scores) // len(scores) if scores else 0


def best_effort(pod: Obj) -> bool:
    """Whether the pod asks for neither cpu nor memory: its balance is not scored."""
    wants = demand(pod)
    return not wants.get("cpu") and not wants.get("memory")


def balanced_allocation(cluster: Cluster, pod: Obj, node: Obj) -> int:
    """Above 75 when the pod makes the use of cpu and memory more alike, below when less."""
    has, taken = allocatable(node), used(cluster, node)
    before, after = _balance(taken, has), _balance(_plus(taken, demand(pod)), has)
    return (after - before + FULL + FULL // 2) // 2


def _balance(taken: Amounts, has: Amounts) -> int:
    shares = [min(taken.get(name, 0) / has[name], 1.0) for name in ("cpu", "memory") if has.get(name)]
    if len(shares) < 2:
        return FULL
    if len(shares) == 2:
        return int((1 - abs((shares[0] - shares[1]) / 2)) * FULL)
    mean = sum(shares) / len(shares)
    return int((1 - sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))) * FULL)
