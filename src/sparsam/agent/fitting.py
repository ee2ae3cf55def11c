"""Whether the node has room for what pods ask for, in the words of upstream's kubelet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsam.agent.podspec import Obj, is_terminal, reported_status
from sparsam.scheduling.demand import amount_of, effective_requests


@dataclass(frozen=True, slots=True)
class Shortage:
    """One resource that does not suffice; amounts are millicores for cpu, else bytes or whole units."""

    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def hopeless(self) -> bool:
        """Even an empty node would not do."""
        return self.requested > self.capacity

    def __str__(self) -> str:
        return f"{self.resource}, requested: {self.requested}, used: {self.used}, capacity: {self.capacity}"


def shortages(pod: Obj, others: Iterable[Obj], allocatable: Mapping[str, str]) -> list[Shortage]:
    """What is missing for a pod beside others that are on the node; ended pods need nothing."""
    wanted = effective_requests(pod["spec"])
    used = dict.fromkeys(wanted, 0)
    for other in others:
        if other["metadata"]["uid"] == pod["metadata"]["uid"] or is_terminal(other):
            continue
        for name, amount in effective_requests(held(other)).items():
            if name in used:
                used[name] += amount
    found = []
    for name, amount in wanted.items():
        capacity = amount_of(name, allocatable[name]) if name in allocatable else 0
        if amount and used[name] + amount > capacity:
            found.append(Shortage(name, amount, used[name], capacity))
    return found


def held(pod: Obj) -> Obj:
    """The spec by which a pod takes room: while a resize waits for room, what its containers were allotted before."""
    spec: Obj = pod["spec"]
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if not any(condition["type"] == "PodResizePending" for condition in conditions):
        return spec
    lists = ("containers", "initContainers")
    return {**spec, **{name: [_allotted(pod, each) for each in spec[name]] for name in lists if name in spec}}


def _allotted(pod: Obj, spec: Obj) -> Obj:
    allocated = (reported_status(pod, spec["name"]) or {}).get("allocatedResources")
    return spec if allocated is None else {**spec, "resources": {**spec["resources"], "requests": allocated}}
