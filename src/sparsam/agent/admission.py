"""Whether the node takes a pod that was bound to it, in the words of upstream's kubelet. Pure.

The scheduler has asked the same before, but it is not the only one that binds: people name a node in the pod's spec,
and two schedulers may fill the same room. Source: upstream's kubelet, general predicates of its admission.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsam.agent.fitting import shortages
from sparsam.agent.podspec import Obj, is_terminal
from sparsam.agent.podstate import Waiting
from sparsam.scheduling.demand import PodDemand, compile_pod
from sparsam.scheduling.onenode import affinity_allows, untolerated

_PENDING = (None, "", "Pending")
_SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""Settings that belong to the pod's own namespaces and cannot be used against other pods."""


def was_taken(pod: Obj) -> bool:
    """Whether an agent took the pod before: it stays, whatever has become of the node since."""
    status = pod.get("status") or {}
    return bool(status.get("startTime")) or status.get("phase") not in _PENDING


def rejection(pod: Obj, others: Iterable[Obj], node: Obj) -> Waiting | None:
    """Why the node does not take a pod beside others that it has taken; None when it does."""
    others = [other for other in others if not is_terminal(other)]
    demand = compile_pod(pod)
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    limit = int(allocatable.get("pods") or 0)
    if limit and len(others) >= limit:
        return _shortage("pods", f"pods, requested: 1, used: {len(others)}, capacity: {limit}")
    for missing in shortages(pod, others, allocatable):
        # A resource that the node does not know yet may be announced by a device's driver later.
        if missing.resource in allocatable or "/" not in missing.resource:
            return _shortage(missing.resource, str(missing))
    if forbidden := _forbidden_sysctl(pod):
        return Waiting("SysctlForbidden", f"Pod was rejected: {forbidden}")
    if not affinity_allows(demand, node):
        return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if _collide(demand, [compile_pod(other) for other in others]):
        return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if untolerated(demand, node, ("NoExecute",)):
        return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _forbidden_sysctl(pod: Obj) -> str:
    """The first kernel setting that a pod may not have here, in upstream's words; empty when there is none."""
    spec = pod["spec"]
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = str(sysctl["name"]).replace("/", ".")
        if name not in _SAFE_SYSCTLS:
            return f'forbidden sysctl: "{name}" not allowlisted'
        if name.startswith("net.") and spec.get("hostNetwork"):
            return f'forbidden sysctl: "{name}" not allowed with host net enabled'
        if name.startswith("kernel.shm") and spec.get("hostIPC"):
            return f'forbidden sysctl: "{name}" not allowed with host ipc enabled'
    return ""


def _collide(demand: PodDemand, others: Sequence[PodDemand]) -> bool:
    return any(port.collides(taken) for port in demand.ports for other in others for taken in other.ports)


def _shortage(resource: str, words: str) -> Waiting:
    return Waiting(f"OutOf{resource}", f"Pod was rejected: Node didn't have enough resource: {words}")


def _predicate(name: str, words: str) -> Waiting:
    return Waiting(name, f"Pod was rejected: Predicate {name} failed: {words}")
