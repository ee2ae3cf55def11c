"""Requests and limits as quality-of-service class, and as what the kernel is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sparsam.agent.cgroups import CgroupLimits
from sparsam.agent.podspec import Obj, all_containers, init_containers, is_sidecar, main_containers
from sparsam.units import parse_bytes, parse_millicores

CPU_PERIOD_MICROSECONDS = 100_000
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_MIN_QUOTA_MICROSECONDS = 1000
_QOS_RESOURCES = ("cpu", "memory")
_NODE_CRITICAL_PRIORITY = 2_000_001_000


@dataclass(frozen=True, slots=True)
class ContainerResources:
    """What one container may use; zero means no limit."""

    cpu_shares: int
    cpu_quota_microseconds: int
    memory_bytes: int
    oom_score_adj: int


def qos_class(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by upstream's rules."""
    requests: list[dict[str, int]] = []
    limits: list[dict[str, int]] = []
    for spec in [pod["spec"]] if pod["spec"].get("resources") else all_containers(pod):
        resources = spec.get("resources") or {}
        requests.append(_positive(resources.get("requests")))
        limits.append(_positive(resources.get("limits")))
    if not any(requests) and not any(limits):
        return "BestEffort"
    for request, limit in zip(requests, limits, strict=True):
        if set(limit) != set(_QOS_RESOURCES) or any(request.get(name, limit[name]) != limit[name] for name in limit):
            return "Burstable"
    return "Guaranteed"


def is_node_critical(pod: Obj) -> bool:
    """Whether the kernel should kill about everything else first (priority class `system-node-critical`)."""
    return int(pod["spec"].get("priority") or 0) >= _NODE_CRITICAL_PRIORITY


def container_resources(
    spec: Obj, qos: str, node_memory_bytes: int, priority_critical: bool = False
) -> ContainerResources:
    """Kernel settings of one container."""
    resources = spec.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    cpu_limit = parse_millicores(limits["cpu"]) if "cpu" in limits else 0
    cpu_request = parse_millicores(requests["cpu"]) if "cpu" in requests else cpu_limit
    memory_request = parse_bytes(requests["memory"]) if "memory" in requests else 0
    return ContainerResources(
        cpu_shares=shares(cpu_request),
        cpu_quota_microseconds=quota(cpu_limit),
        memory_bytes=parse_bytes(limits["memory"]) if "memory" in limits else 0,
        oom_score_adj=_oom_score(qos, memory_request, node_memory_bytes, priority_critical),
    )


def pod_limits(pod: Obj) -> CgroupLimits:
    """Limits of the pod's own group: those of the whole (KEP-2837), else sums, or the largest init container.

    Without a limit for the whole it is unlimited as soon as one member is. What a runtime class adds comes on top.
    """
    mains = main_containers(pod) + [spec for spec in init_containers(pod) if is_sidecar(spec)]
    inits = [spec for spec in init_containers(pod) if not is_sidecar(spec)]
    requests = max(
        sum(_amount(spec, "requests", "cpu") or 0 for spec in mains),
        max((_amount(spec, "requests", "cpu") or 0 for spec in inits), default=0),
    )
    whole = pod["spec"]
    cpu, memory = (_amount(whole, "limits", name) or _limit(mains, inits, name) for name in _QOS_RESOURCES)
    more = {
        name: _whole(name, amount) for name, amount in (whole.get("overhead") or {}).items() if name in _QOS_RESOURCES
    }
    return CgroupLimits(
        cpu_shares=shares((_amount(whole, "requests", "cpu") or requests) + more.get("cpu", 0)),
        cpu_quota_microseconds=quota(cpu + more.get("cpu", 0) if cpu else 0),
        memory_bytes=memory + more.get("memory", 0) if memory else 0,
    )


def shares(cpu_millicores: int) -> int:
    """CPU shares of cgroup v1 for a request: 1024 a core, at least 2."""
    return max(_MIN_SHARES, min(cpu_millicores * 1024 // 1000, _MAX_SHARES))


def quota(cpu_millicores: int) -> int:
    """CFS quota of a limit in microseconds for each period, at least 1 ms; zero for no limit."""
    if cpu_millicores == 0:
        return 0
    return max(cpu_millicores * CPU_PERIOD_MICROSECONDS // 1000, _MIN_QUOTA_MICROSECONDS)


def _amount(spec: Obj, kind: str, name: str) -> int | None:
    resources = spec.get("resources") or {}
    value = (resources.get(kind) or {}).get(name)
    if value is None and kind == "requests":
        value = (resources.get("limits") or {}).get(name)
    if value is None:
        return None
    return parse_millicores(value) if name == "cpu" else parse_bytes(value)


def _limit(mains: list[Obj], inits: list[Obj], name: str) -> int:
    total = 0
    for spec in mains:
        amount = _amount(spec, "limits", name)
        if not amount:
            return 0
        total += amount
    for spec in inits:
        amount = _amount(spec, "limits", name)
        if not amount:
            return 0
        total = max(total, amount)
    return total


def _positive(amounts: dict[str, str] | None) -> dict[str, int]:
    parsed = {name: _whole(name, amounts[name]) for name in _QOS_RESOURCES if amounts and name in amounts}
    return {name: value for name, value in parsed.items() if value > 0}


def _whole(name: str, amount: str) -> int:
    return parse_millicores(amount) if name == "cpu" else parse_bytes(amount)


def _oom_score(qos: str, memory_request: int, node_memory_bytes: int, critical: bool) -> int:
    """Upstream's order of victims: BestEffort first, then by the share of memory asked for."""
    if critical or qos == "Guaranteed":
        return -997
    if qos == "BestEffort":
        return 1000
    score = 1000 - 1000 * memory_request // max(node_memory_bytes, 1)
    return max(3, min(score, 999))
