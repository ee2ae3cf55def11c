"""In-place resize (KEP-1287): what a pod's containers should have, and how its status says so. Pure.

A container keeps what it was started with until the node has room for the change. Sizes are remembered by run; those of
runs that another agent started are unknown, and are set once more, which changes nothing where they are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sparsam.agent.fitting import Shortage, shortages
from sparsam.agent.podspec import Obj, init_containers, is_sidecar, main_containers, reported_status
from sparsam.agent.podstate import PodView
from sparsam.agent.resources import ContainerResources, container_resources, qos_class
from sparsam.agent.runtime import Container

PENDING, IN_PROGRESS = RESIZE_CONDITIONS = ("PodResizePending", "PodResizeInProgress")
_RESIZABLE = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Resize:
    """One container to change while it runs, or to start anew."""

    run: Container
    resources: ContainerResources
    restart: bool


@dataclass(frozen=True, slots=True)
class ResizeState:
    """What is to do, and why it waits; nothing and empty when all is as wanted."""

    steps: tuple[Resize, ...] = ()
    reason: str = ""
    """Deferred or Infeasible."""
    message: str = ""
    fault: str = ""
    """Why the last try failed; there will be another."""


NO_RESIZE = ResizeState()


@dataclass(frozen=True, slots=True)
class Room:
    """A node as far as resizes matter: what it allots, its memory, and the pods on it."""

    allocatable: Mapping[str, str]
    memory_bytes: int
    pods: Iterable[Obj]


def resize_state(view: PodView, sizes: Mapping[str, ContainerResources], room: Room) -> ResizeState:
    """`sizes` by container id."""
    if view.terminating or view.sandbox is None:
        return ResizeState()
    steps = tuple(_steps(view, sizes, room.memory_bytes))
    if not steps:
        return ResizeState()
    missing = shortages(view.pod, room.pods, room.allocatable)
    if not missing:
        return ResizeState(steps)
    first = next((each for each in missing if each.hopeless), missing[0])
    return ResizeState(reason="Infeasible" if first.hopeless else "Deferred", message=_why(first))


def _why(shortage: Shortage) -> str:
    if shortage.hopeless:
        words = f"{shortage.resource}, requested: {shortage.requested}, capacity: {shortage.capacity}"
        return f"Node didn't have enough capacity: {words}"
    return f"Node didn't have enough resource: {shortage}"


def too_small(name: str, memory_bytes: int, used_bytes: int) -> str:
    """Why a running container cannot have this memory limit; the kernel would kill it. Empty when it can."""
    if not 0 < memory_bytes < used_bytes:
        return ""
    return f'attempting to set container "{name}" memory limits ({memory_bytes}) below current usage ({used_bytes})'


def _steps(view: PodView, sizes: Mapping[str, ContainerResources], memory_bytes: int) -> Iterable[Resize]:
    qos = (view.pod.get("status") or {}).get("qosClass") or qos_class(view.pod)
    for spec in resizable(view.pod):
        run = view.run(spec["name"])
        if run is None or not run.running:
            continue
        wanted, known = container_resources(spec, qos, memory_bytes), sizes.get(run.id)
        if known is None and view.pod["metadata"].get("generation", 1) == 1:
            continue
        if known is None or _kernel(wanted) != _kernel(known):
            yield Resize(run, wanted, known is not None and _must_restart(spec, wanted, known))


def resizable(pod: Obj) -> Sequence[Obj]:
    """Containers that may be resized: the main ones and sidecars."""
    return [*(spec for spec in init_containers(pod) if is_sidecar(spec)), *main_containers(pod)]


def _kernel(resources: ContainerResources) -> tuple[int, int, int]:
    """The out-of-memory score stays what it was."""
    return resources.cpu_shares, resources.cpu_quota_microseconds, resources.memory_bytes


def _must_restart(spec: Obj, wanted: ContainerResources, known: ContainerResources) -> bool:
    policy = {each["resourceName"]: each.get("restartPolicy") for each in spec.get("resizePolicy") or ()}
    cpu = (wanted.cpu_shares, wanted.cpu_quota_microseconds) != (known.cpu_shares, known.cpu_quota_microseconds)
    memory = wanted.memory_bytes != known.memory_bytes
    changed = {"cpu": cpu, "memory": memory}
    return any(changed[name] and policy.get(name) == "RestartContainer" for name in _RESIZABLE)


def reported_resources(view: PodView, entry: Obj, state: ResizeState) -> Obj:
    """`allocatedResources` and `resources` of a container's status: as last reported until it has others."""
    spec = next((each for each in resizable(view.pod) if each["name"] == entry["name"]), None)
    if spec is None:
        return {}
    changing = state.reason or any(step.run.name == entry["name"] for step in state.steps)
    before = reported_status(view.pod, entry["name"]) or {}
    if changing and "resources" in before:
        return {name: before[name] for name in ("allocatedResources", "resources") if name in before}
    stated = {name: amounts for name in ("limits", "requests") if (amounts := (spec.get("resources") or {}).get(name))}
    return {
        **({"allocatedResources": stated["requests"]} if "requests" in stated else {}),
        "resources": stated,
    }


def resize_conditions(pod: Obj, state: ResizeState, moment: str) -> list[Obj]:
    """The conditions PodResizePending and PodResizeInProgress as they should be now."""
    old = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    wanted = {}
    if state.reason:
        wanted[PENDING] = {"reason": state.reason, "message": state.message}
    elif state.steps:
        wanted[IN_PROGRESS] = {"reason": "Error", "message": state.fault} if state.fault else {}
    found = []
    for kind, words in wanted.items():
        since = old.get(kind, {}).get("lastTransitionTime") or moment
        condition = {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": since, **words}
        generation = pod["metadata"].get("generation")
        found.append({**condition, **({"observedGeneration": generation} if generation else {})})
    return found
