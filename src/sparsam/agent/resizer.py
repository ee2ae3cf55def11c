"""Carries out in-place resizes of one pod, as `resizing` (pure) decides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sparsam.agent.node_context import NodeContext
from sparsam.agent.operations import Operations
from sparsam.agent.podspec import Obj, container_spec
from sparsam.agent.podstate import KillContainer, PodView
from sparsam.agent.resizing import Resize, ResizeState, Room, resize_state
from sparsam.agent.resources import ContainerResources, container_resources, qos_class

Neighbours = Callable[[], Iterable[Obj]]


class Resizer:
    """Knows what each run of the pod's containers was given."""

    def __init__(self, node: NodeContext, operations: Operations, neighbours: Neighbours) -> None:
        self._node, self._operations, self._neighbours = node, operations, neighbours
        self._sizes: dict[str, ContainerResources] = {}

    def started(self, pod: Obj, name: str, container_id: str) -> None:
        """A run was started as this pod asked for."""
        spec = container_spec(pod, name)
        if spec is not None:
            self._sizes[container_id] = container_resources(spec, qos_class(pod), self._node.memory_bytes)

    def state(self, view: PodView) -> ResizeState:
        """What is to do."""
        self._sizes = {run.id: self._sizes[run.id] for run in view.containers if run.id in self._sizes}
        room = Room(self._node.allocatable, self._node.memory_bytes, self._neighbours())
        return resize_state(view, self._sizes, room)

    async def carry_out(self, view: PodView, steps: tuple[Resize, ...]) -> None:
        """Change the containers, with the pod's own group out of the way meanwhile."""
        groups, pod = self._node.cgroups, view.pod
        qos, uid = qos_class(pod), pod["metadata"]["uid"]
        groups.lift_limits(qos, uid)
        for step in steps:
            if step.restart:
                message = f"Container {step.run.name} resize requires restart"
                await self._operations.kill(view, KillContainer(step.run, view.grace_seconds, message))
            else:
                await self._node.cri.update_resources(step.run.id, step.resources)
                self._sizes[step.run.id] = step.resources
        groups.create_pod(qos, uid, self._operations.group_limits(pod))
        self._node.api.event(pod, "Normal", "ResizeCompleted", "Pod resize completed")
