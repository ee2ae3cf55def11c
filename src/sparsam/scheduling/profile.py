"""How one profile scores: which plugins count, with which weight, and their arguments. The defaults are upstream's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sparsam.scheduling.demand import Term
from sparsam.scheduling.podterms import SYSTEM_DEFAULTS

DEFAULT_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "NodeResourcesBalancedAllocation": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "ImageLocality": 1,
    }
)
DEFAULT_FILTERS = frozenset(
    {
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
        "PodTopologySpread",
        "InterPodAffinity",
    }
)
CPU_AND_MEMORY = (("cpu", 1), ("memory", 1))


@dataclass(frozen=True, slots=True)
class FitStrategy:
    """How NodeResourcesFit scores."""

    kind: str = "LeastAllocated"
    """`LeastAllocated`, `MostAllocated` or `RequestedToCapacityRatio`."""
    resources: tuple[tuple[str, int], ...] = CPU_AND_MEMORY
    """Resource name and weight."""
    shape: tuple[tuple[int, int], ...] = ()
    """Utilization in per cent and score 0 to 10, for RequestedToCapacityRatio."""


@dataclass(frozen=True, slots=True)
class DefaultSpread:
    """A cluster-level spreading constraint."""

    topology_key: str
    max_skew: int
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of the scheduler."""

    name: str = "default-scheduler"
    filters: frozenset[str] = DEFAULT_FILTERS
    weights: Mapping[str, int] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    fit: FitStrategy = FitStrategy()
    balanced_resources: tuple[str, ...] = ("cpu", "memory")
    ignored_resources: frozenset[str] = frozenset()
    ignored_resource_groups: frozenset[str] = frozenset()
    added_affinity: tuple[Term, ...] | None = None
    """Required of every pod, any of them."""
    added_preferences: tuple[Term, ...] = ()
    default_spread: tuple[DefaultSpread, ...] = tuple(DefaultSpread(key, skew) for key, skew in SYSTEM_DEFAULTS)
    system_defaults: bool = True
    """Whether `default_spread` is upstream's own, which also spreads over nodes that lack a zone."""
    hard_affinity_weight: int = 1
    ignore_preferences_of_others: bool = False
