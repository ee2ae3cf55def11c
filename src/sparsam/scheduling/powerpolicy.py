"""PowerPolicy objects as values, and which of them holds for a pod. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.scheduling.watts import SparsamPolicy, Weights

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PowerPolicy:
    """One policy and the pods that it holds for."""

    name: str
    policy: str = SparsamPolicy.name
    shadow: bool = False
    weights: Weights = field(default_factory=Weights)
    namespaces: LabelSelector | None = None
    """None for all."""
    scheduler_names: frozenset[str] = frozenset()
    """Empty for all."""

    def holds_for(self, namespace_labels: Mapping[str, str], scheduler_name: str) -> bool:
        """Whether it holds for a pod of such a namespace and schedulerName."""
        if self.scheduler_names and scheduler_name not in self.scheduler_names:
            return False
        return self.namespaces is None or self.namespaces.matches(namespace_labels)


def read_power_policy(obj: Obj) -> PowerPolicy:
    """Raises ValueError on a selector that is none."""
    spec = obj.get("spec") or {}
    selector, stated, standard = spec.get("namespaceSelector"), spec.get("weights") or {}, Weights()
    weights = Weights(
        joules=stated.get("joules", standard.joules),
        performance=stated.get("performance", standard.performance),
        spread=stated.get("spread", standard.spread),
        devices=stated.get("devices", standard.devices),
        headroom_ratio=spec.get("headroomRatio", standard.headroom_ratio),
        uncertainty=spec.get("uncertainty", standard.uncertainty),
        max_service_share=spec.get("maxServiceShare", standard.max_service_share),
        sleeps=spec.get("nodesSleep", standard.sleeps),
    )
    return PowerPolicy(
        name=obj["metadata"]["name"],
        policy=spec.get("policy") or SparsamPolicy.name,
        shadow=spec.get("mode") == "shadow",
        weights=weights,
        namespaces=None if selector is None else parse_label_selector_object(selector),
        scheduler_names=frozenset(spec.get("schedulerNames") or ()),
    )


def choose(
    policies: Iterable[PowerPolicy], namespace_labels: Mapping[str, str], scheduler_name: str
) -> PowerPolicy | None:
    """The policy for a pod: one that selects namespaces before one that does not, then one that names schedulers, then
    the first by name; None when none holds.
    """
    holding = [each for each in policies if each.holds_for(namespace_labels, scheduler_name)]
    return min(holding, key=lambda each: (each.namespaces is None, not each.scheduler_names, each.name), default=None)
