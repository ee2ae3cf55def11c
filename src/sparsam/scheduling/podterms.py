"""What a pod says about other pods: (anti-)affinity terms and topology spread, compiled to small hashable values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparsam.objects.selectors import LabelSelector, Requirement, parse_label_selector_object

Obj = Mapping[str, Any]

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pods of some namespaces that a selector matches, and the label that says which nodes count as one place."""

    namespaces: frozenset[str]
    namespace_selector: LabelSelector
    selector: LabelSelector
    topology_key: str

    def matches(self, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        """Whether a pod is one of them."""
        if namespace not in self.namespaces and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selector.matches(labels)


class PodClass(NamedTuple):
    """Pods that no selector can tell apart."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class PodTerms:
    """All terms of one pod. Preferred ones carry their weight, below zero for those of anti-affinity."""

    required: tuple[PodTerm, ...] = ()
    forbidden: tuple[PodTerm, ...] = ()
    preferred: tuple[tuple[int, PodTerm], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.required or self.forbidden or self.preferred)


NO_TERMS = PodTerms()


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint."""

    topology_key: str
    max_skew: int
    selector: LabelSelector
    hard: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


SYSTEM_DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))
"""Topology key and maxSkew for pods that state no constraints (scheduler reference, "cluster-level defaults")."""


def compile_terms(spec: Obj, namespace: str, labels: Mapping[str, str]) -> PodTerms:
    """The pod's inter-pod affinity. Raises ValueError on a selector that the API server would have refused."""
    affinity = spec.get("affinity") or {}
    likes, dislikes = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )

    def terms(raw: Iterable[Obj]) -> tuple[PodTerm, ...]:
        return tuple(_term(each, namespace, labels) for each in raw)

    def weighted(raw: Iterable[Obj], sign: int) -> tuple[tuple[int, PodTerm], ...]:
        return tuple((sign * each["weight"], _term(each["podAffinityTerm"], namespace, labels)) for each in raw)

    return PodTerms(
        required=terms(likes.get(required) or ()),
        forbidden=terms(dislikes.get(required) or ()),
        preferred=(*weighted(likes.get(preferred) or (), 1), *weighted(dislikes.get(preferred) or (), -1)),
    )


def compile_spread(spec: Obj, labels: Mapping[str, str]) -> tuple[Spread, ...]:
    """The pod's own topology spread constraints."""
    return tuple(
        Spread(
            topology_key=each["topologyKey"],
            max_skew=each["maxSkew"],
            selector=_with_label_keys(each, labels),
            hard=each["whenUnsatisfiable"] == "DoNotSchedule",
            min_domains=each.get("minDomains") or 1,
            honor_affinity=each.get("nodeAffinityPolicy", "Honor") == "Honor",
            honor_taints=each.get("nodeTaintsPolicy", "Ignore") == "Honor",
        )
        for each in spec.get("topologySpreadConstraints") or ()
    )


def _term(raw: Obj, namespace: str, labels: Mapping[str, str]) -> PodTerm:
    named, selected = raw.get("namespaces") or (), raw.get("namespaceSelector")
    return PodTerm(
        namespaces=frozenset(named or (() if selected is not None else (namespace,))),
        namespace_selector=parse_label_selector_object(selected),
        selector=_with_label_keys(raw, labels),
        topology_key=raw["topologyKey"],
    )


def _with_label_keys(raw: Obj, labels: Mapping[str, str]) -> LabelSelector:
    """The selector with the pod's own values of `matchLabelKeys` and `mismatchLabelKeys` (KEP-3243, KEP-3633).

    An API server may have written them into the selector already.
    """
    selector = parse_label_selector_object(raw.get("labelSelector"))
    if selector.nothing:
        return selector
    stated = set(selector.requirements)
    added = [
        Requirement(key, operator, frozenset([labels[key]]))
        for name, operator in (("matchLabelKeys", "in"), ("mismatchLabelKeys", "notin"))
        for key in raw.get(name) or ()
        if key in labels
    ]
    return LabelSelector((*selector.requirements, *(each for each in added if each not in stated)))
