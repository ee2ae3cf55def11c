"""Carries out in-place resizes of one pod, as `resizing` (pure) decides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from sparsam.agent.node_context import NodeContext
from sparsam.agent.operations import Operations
from sparsam.agent.podspec import Obj, container_spec
from sparsam.agent.podstate import KillContainer, PodView
from sparsam.agent.resizing import Resize, ResizeState, Room, resize_state, too_small
from sparsam.agent.resources import ContainerResources, container_resources, qos_class
from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.server.groups import read_group

Neighbours = Callable[[], Iterable[Obj]]

_RETRY_SECONDS = 5.0


class Resizer:
    """Knows what each run of the pod's containers was given."""

    def __init__(self, node: NodeContext, operations: Operations, neighbours: Neighbours) -> None:
        self._node, self._operations, self._neighbours = node, operations, neighbours
        self._sizes: dict[str, ContainerResources] = {}
        self._fault = ""
        self.retry_at = 0.0
        """When a failed resize may be tried again, Unix seconds."""

    def started(self, pod: Obj, name: str, container_id: str) -> None:
        """A run was started as this pod asked for."""
        spec = container_spec(pod, name)
        if spec is not None:
            self._sizes[container_id] = container_resources(spec, qos_class(pod), self._node.memory_bytes)

    def state(self, view: PodView) -> ResizeState:
        """What is to do."""
        self._sizes = {run.id: self._sizes[run.id] for run in view.containers if run.id in self._sizes}
        room = Room(self._node.allocatable, self._node.memory_bytes, self._neighbours())
        state = resize_state(view, self._sizes, room)
        if not state.steps:
            self._fault, self.retry_at = "", 0.0
        return replace(state, fault=self._fault)

    async def carry_out(self, view: PodView, steps: tuple[Resize, ...]) -> None:
        """Change the containers, with the pod's own group out of the way until all are as they should be."""
        groups, pod = self._node.cgroups, view.pod
        qos, uid = qos_class(pod), pod["metadata"]["uid"]
        groups.lift_limits(qos, uid)
        faults = [fault for step in steps if (fault := await self._change(view, step, groups.pod_path(qos, uid)))]
        self._fault = "; ".join(faults)
        if faults:
            self.retry_at = self._node.now() + _RETRY_SECONDS
            self._node.api.event(pod, "Warning", "ResizeError", f"Pod resize error: {self._fault}")
            return
        groups.create_pod(qos, uid, self._operations.group_limits(pod))
        self._node.api.event(pod, "Normal", "ResizeCompleted", "Pod resize completed")

    async def _change(self, view: PodView, step: Resize, group: str) -> str:
        """Change one container, or end it for its next run; returns what keeps it from being changed."""
        if step.restart:
            message = f"Container {step.run.name} resize requires restart"
            await self._operations.kill(view, KillContainer(step.run, view.grace_seconds, message))
            return ""
        usage = read_group(f"{group}/{step.run.id}", unified=self._node.cgroups.unified)
        fault = too_small(step.run.name, step.resources.memory_bytes, usage.memory_working_set_bytes if usage else 0)
        if not fault:
            try:
                await self._node.cri.update_resources(step.run.id, step.resources)
            except RuntimeFault as error:
                return str(error)
            self._sizes[step.run.id] = step.resources
        return fault
