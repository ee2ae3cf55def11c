"""The vocabulary of decisions: a Plan of Binds, and a Rejection with reasons for every pod left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bind:
    """Put a pod on a node."""

    pod: str
    """`namespace/name`."""
    node: str
    reason: str
    """One sentence for people: why this node, in watts."""
    watts_delta: float
    """Predicted extra watts of the whole fleet."""
    estimated: bool
    """Whether the node's power model is only a prior."""
    feasible_nodes: int
    runner_up: str | None = None
    runner_up_watts_delta: float | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """No node takes the pod now."""

    pod: str
    total_nodes: int
    counts: Mapping[str, int] = field(default_factory=dict)
    """Upstream's reason text to the number of nodes it applies to."""
    resolvable_nodes: int = 0
    """Nodes that only lack room: removing other pods could help there."""

    @property
    def message(self) -> str:
        """Text of the FailedScheduling event and the PodScheduled condition, as kube-scheduler 1.36 words it."""
        head = f"0/{self.total_nodes} nodes are available"
        if not self.total_nodes:
            return "no nodes available to schedule pods"
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in self.counts.items()))
        helpless = self.total_nodes - self.resolvable_nodes
        outcomes = []
        if self.resolvable_nodes:
            outcomes.append(f"{self.resolvable_nodes} No preemption victims found for incoming pod")
        if helpless:
            outcomes.append(f"{helpless} Preemption is not helpful for scheduling")
        preemption = f"preemption: {head}: {', '.join(sorted(outcomes))}."
        return f"{head}: {reasons}. no new claims to deallocate, {preemption}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order; one entry for each pending pod."""

    binds: tuple[Bind, ...] = ()
    rejections: tuple[Rejection, ...] = ()
