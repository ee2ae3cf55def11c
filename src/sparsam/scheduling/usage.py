"""What pods really use of a CPU, learned by service, since requests are guesses and some pods state none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsam.objects.selectors import LabelSelector, Requirement
from sparsam.scheduling.demand import PodDemand

MEMORY_RATIO = 0.98
"""What is left of an observation's weight after one more."""
ENOUGH_OBSERVATIONS = 5
_PER_POD_LABELS = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
    }
)
LEVELS = 20
"""Steps of the share of their requests that pods use."""
Service = tuple[str, tuple[tuple[str, str], ...]]
"""Namespace, and the labels that all pods of a service share."""


@dataclass(slots=True)
class _Learned:
    millicores: float
    peak_millicores: float
    observations: int = 1


def use_level(requested: float, used: float) -> int:
    """The share of what is requested that is used, in steps of `LEVELS`; 0 for nothing requested."""
    return int(LEVELS * min(max(used / requested, 0.0), 1.0)) if requested else 0


class Usage:
    """Learned use by service."""

    KEPT = 10_000

    def __init__(self) -> None:
        self._learned: dict[Service, _Learned] = {}

    def observe(self, demand: PodDemand, millicores: float) -> None:
        """One pod was seen using so much. Of pods without labels nothing is learned: nothing tells them apart."""
        if not demand.labels:
            return
        service = service_of(demand.namespace, demand.labels)
        known = self._learned.get(service)
        if known is None:
            if len(self._learned) >= self.KEPT:
                del self._learned[next(iter(self._learned))]
            self._learned[service] = _Learned(millicores, millicores)
            return
        weight = max(1.0 - MEMORY_RATIO, 1.0 / (known.observations + 1))
        known.millicores += weight * (millicores - known.millicores)
        known.peak_millicores = max(millicores, MEMORY_RATIO * known.peak_millicores)
        known.observations += 1

    def teach(self, demand: PodDemand, millicores: float, peak_millicores: float) -> None:
        """What is known of a pod's service from elsewhere, as if it had been observed often enough."""
        if demand.labels:
            service = service_of(demand.namespace, demand.labels)
            self._learned[service] = _Learned(millicores, peak_millicores, ENOUGH_OBSERVATIONS)

    def expected_millicores(self, demand: PodDemand) -> float:
        """What a pod will use: as learned, else its request, else upstream's stand-in for pods that state none."""
        known = self._known(demand)
        return float(demand.scored_cpu_millicores) if known is None else known.millicores

    def peak_millicores(self, demand: PodDemand) -> float:
        """What a pod will use when it is busy: the highest use that was seen of its service, fading; else as above."""
        known = self._known(demand)
        return float(demand.scored_cpu_millicores) if known is None else known.peak_millicores

    def _known(self, demand: PodDemand) -> _Learned | None:
        known = self._learned.get(service_of(demand.namespace, demand.labels)) if self._learned else None
        return known if known is not None and known.observations >= ENOUGH_OBSERVATIONS else None


def service_of(namespace: str, labels: tuple[tuple[str, str], ...]) -> Service:
    """What a pod's service goes by: its labels but for those that differ from pod to pod or revision to revision."""
    return namespace, tuple(each for each in labels if each[0] not in _PER_POD_LABELS)


def service_selector(demand: PodDemand) -> LabelSelector:
    """Selects the pods of the same service."""
    shared: Mapping[str, str] = dict(service_of(demand.namespace, demand.labels)[1])
    return LabelSelector(tuple(Requirement(key, "in", frozenset([value])) for key, value in shared.items()))
