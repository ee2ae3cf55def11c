"""A node's watts, parted among those who cause them; and their energy, added up.

The whole is the node's measured (or modelled) watts over an interval. It is parted into idle (drawn without any load,
which belongs to nobody), the active watts of each consumer and of the system's own processes, memory and cards where
they are metered, and what no load explains. The parts add up to the whole, whatever the inputs.

Active watts go by CPU time, weighted with frequency or counters where those are known: the rule of Kepler (Amaral et
al., "Kepler: A Framework to Calculate the Energy Consumption of Containerized Applications", IEEE CLOUD 2023), with two
differences. Idle is kept apart rather than shared out, and no more is given out than the node's power model explains
at its utilization: an idle node's drifting sensor is not charged to the one pod that used a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Use:
    """What consumers used during an interval; all arrays have shape (consumers,)."""

    cpu_seconds: Floats
    """Weighted with frequency or counters where they are known, else plain CPU time."""
    memory_bytes: Floats
    gpu_watts: Floats
    """Of the cards that each consumer has to itself."""

    @staticmethod
    def of_cpu(cpu_seconds: Sequence[float], memory_bytes: Sequence[float] = ()) -> Use:
        """Use without cards."""
        cpu = np.asarray(cpu_seconds, dtype=np.float64)
        memory = np.asarray(memory_bytes, dtype=np.float64) if len(memory_bytes) else np.zeros_like(cpu)
        return Use(cpu, memory, np.zeros_like(cpu))


@dataclass(frozen=True, slots=True)
class Node:
    """The whole during the same interval."""

    watts: float
    idle_watts: float
    """What it draws without load; more than `watts` counts as all of them."""
    system_cpu_seconds: float = 0.0
    """CPU time of processes outside of all consumers, weighted like theirs."""
    explained_watts: float = float("inf")
    """What the power model grants to load at this utilization, beyond idle and without cards; infinite without one."""
    memory_watts: float = 0.0
    """Beyond idle, where memory is metered on its own."""
    gpu_watts: float = 0.0
    """All cards beyond their idle watts."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who has which part. `idle + system + unattributed + active + memory + gpu` is the node's watts."""

    idle_watts: float
    system_watts: float
    unattributed_watts: float
    active_watts: Floats
    memory_watts: Floats
    gpu_watts: Floats

    @property
    def consumer_watts(self) -> Floats:
        """All that each consumer has; shape (consumers,)."""
        return np.asarray(self.active_watts + self.memory_watts + self.gpu_watts)

    @property
    def watts(self) -> float:
        """The sum of all parts."""
        return float(self.idle_watts + self.system_watts + self.unattributed_watts + float(np.sum(self.consumer_watts)))


def attribute(node: Node, use: Use) -> Attribution:
    """Part a node's watts. Inputs that are negative count as zero; raises ValueError on what is not finite.

    A consumer that used nothing gets nothing and changes nobody's part, so that pods come and go without a jump.
    """
    watts = _known(node.watts, "node watts")
    idle = min(_known(node.idle_watts, "idle watts"), watts)
    left = watts - idle
    gpu, left = _shared(min(_known(node.gpu_watts, "GPU watts"), left), use.gpu_watts, left, limited=True)
    memory, left = _shared(min(_known(node.memory_watts, "memory watts"), left), use.memory_bytes, left)
    if np.isnan(node.explained_watts):
        raise ValueError("the watts that load explains are not a number")
    explained = max(node.explained_watts - float(memory.sum()), 0.0)
    shares = np.append(_nonnegative(use.cpu_seconds), max(node.system_cpu_seconds, 0.0))
    active, left = _shared(min(left, explained), shares, left)
    return Attribution(idle, float(active[-1]), left, active[:-1], memory, gpu)


def _shared(amount: float, weights: Floats, left: float, *, limited: bool = False) -> tuple[Floats, float]:
    """An amount shared out by weights, and what is left of `left`; `limited`: nobody gets more than its weight."""
    sane = _nonnegative(weights)
    total = float(sane.sum())
    if total <= 0.0 or amount <= 0.0:
        return np.zeros_like(sane), left
    given = min(amount, total) if limited else amount
    # Divided first: tiny weights must not overflow.
    shares = sane / total * given
    return shares, max(left - float(shares.sum()), 0.0)


def _nonnegative(values: Floats) -> Floats:
    if not np.isfinite(values).all():
        raise ValueError("the use of a consumer is not a finite number")
    return np.maximum(values, 0.0)


def _known(value: float, name: str) -> float:
    if not np.isfinite(value):
        raise ValueError(f"{name} are not a finite number")
    return max(value, 0.0)


NODE_PARTS = ("idle", "system", "unattributed", "pods")


@dataclass(slots=True)
class EnergyLedger:
    """Joules that only ever rise: of the node's parts, and of each consumer by key.

    The state is two plain mappings, so that it can be written down and taken up again after a restart. Time without a
    reading adds nothing; it is counted in `gap_seconds`.
    """

    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NODE_PARTS, 0.0))
    consumers: dict[str, float] = field(default_factory=dict)
    gap_seconds: float = 0.0

    def observe(self, keys: Sequence[str], attribution: Attribution, seconds: float) -> None:
        """Add an interval; raises ValueError on a negative one or when there is not one key for each consumer."""
        if not 0.0 <= seconds < float("inf"):
            raise ValueError(f"an interval of {seconds} s")
        if len(keys) != len(attribution.active_watts):
            raise ValueError(f"{len(keys)} keys for {len(attribution.active_watts)} consumers")
        for key, watts in zip(keys, attribution.consumer_watts.tolist(), strict=True):
            self.consumers[key] = self.consumers.get(key, 0.0) + watts * seconds
        self.parts["idle"] += attribution.idle_watts * seconds
        self.parts["system"] += attribution.system_watts * seconds
        self.parts["unattributed"] += attribution.unattributed_watts * seconds
        self.parts["pods"] += float(attribution.consumer_watts.sum()) * seconds

    def miss(self, seconds: float) -> None:
        """Note an interval without a reading."""
        self.gap_seconds += max(seconds, 0.0)

    def forget(self, kept: Mapping[str, object]) -> None:
        """Drop consumers that are not among `kept`; the node's parts keep their energy."""
        self.consumers = {key: joules for key, joules in self.consumers.items() if key in kept}

    @property
    def joules(self) -> float:
        """The node's energy."""
        return sum(self.parts.values())
