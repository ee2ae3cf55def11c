"""The vocabulary of decisions: a Plan of Binds and Preempts, and a Rejection with reasons for every pod left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from sparsam.scheduling.storage import Promise

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Candidate(NamedTuple):
    """A node that could have been chosen."""

    node: str
    score: float
    watts_delta: float | None = None
    parts: Mapping[str, float] = NOTHING
    """What its score is made of."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A node that would have cost fewer watts, and what keeps the pod from it."""

    node: str
    constraint: str
    watts_saved: float


class Bind(NamedTuple):
    """Put a pod on a node."""

    pod: str
    """`namespace/name`."""
    ranked: tuple[Candidate, ...]
    """The chosen node, and the next best ones where a plan explains."""
    estimated: bool
    """Whether the node's power model is only a prior."""
    feasible_nodes: int
    rejected: Mapping[str, int] = NOTHING
    """Upstream's reason text to the number of nodes it applies to; only where a plan explains."""
    blocked: Blocked | None = None
    policy: str = ""
    promises: tuple[Promise, ...] = ()
    """What the pod's unbound claims get; to be carried out before the pod is bound."""

    @property
    def node(self) -> str:
        """The chosen node."""
        return self.ranked[0].node

    @property
    def watts_delta(self) -> float | None:
        """Predicted extra watts of the whole fleet; None from policies that know nothing of watts."""
        return self.ranked[0].watts_delta

    @property
    def reason(self) -> str:
        """One sentence for people: why this node."""
        best = self.ranked[0]
        kind = "estimated" if self.estimated else "modelled"
        cost = f"score {best.score:g}" if best.watts_delta is None else f"{best.watts_delta:+g} W ({kind})"
        reason = f"{cost} on {best.node}, best of {self.feasible_nodes} feasible node(s)"
        if len(self.ranked) > 1:
            second = self.ranked[1]
            other = f"score {second.score:g}" if second.watts_delta is None else f"{second.watts_delta:+g} W"
            reason += f"; next {second.node} at {other}"
        return reason


@dataclass(frozen=True, slots=True)
class Preempt:
    """End pods so that another one fits."""

    pod: str
    node: str
    victims: tuple[str, ...]
    """`namespace/name`, in the order in which they were chosen."""
    violations: int
    """Victims whose PodDisruptionBudget allows no more."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """No node takes the pod now."""

    pod: str
    total_nodes: int
    counts: Mapping[str, int] = field(default_factory=dict)
    """Upstream's reason text to the number of nodes it applies to."""
    plugins: frozenset[str] = frozenset()
    """The filters that refused nodes."""
    preemption: Mapping[str, int] | str = field(default_factory=dict)
    """Why making room does not help, by reason, or in one sentence."""
    preempt: Preempt | None = None
    """What makes room; the pod waits for it."""
    note: str = ""
    """What was wrong before any node was looked at."""

    @property
    def message(self) -> str:
        """Text of the FailedScheduling event and the PodScheduled condition, as kube-scheduler 1.36 words it."""
        head = f"0/{self.total_nodes} nodes are available"
        if self.note and not (self.total_nodes and self.preemption):
            return f"{head}: {self.note}" if self.total_nodes else self.note
        if not self.total_nodes:
            return "no nodes available to schedule pods"
        reasons = f"{head}: {self.note or _listed(self.counts)}."
        if self.preempt is not None:
            return reasons
        if isinstance(self.preemption, str):
            return f"{reasons} no new claims to deallocate, preemption: {self.preemption}"
        return f"{reasons} no new claims to deallocate, preemption: {head}: {_listed(self.preemption)}."


@dataclass(frozen=True, slots=True)
class Evict:
    """Move a pod; room for it is reserved on the target."""

    pod: str
    node: str
    target: str
    reason: str
    watts_delta: float
    """What the fleet draws more (below zero: less) for its part of the move."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Put a node without pods to sleep."""

    node: str
    reason: str
    watts_delta: float
    """What the fleet draws more (below zero: less) while it sleeps."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake a node."""

    node: str
    reason: str
    watts_delta: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order: with pending pods, with pods that are to move, with nodes that are to sleep or wake."""

    binds: tuple[Bind, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    evicts: tuple[Evict, ...] = ()
    sleeps: tuple[Sleep, ...] = ()
    wakes: tuple[Wake, ...] = ()


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
