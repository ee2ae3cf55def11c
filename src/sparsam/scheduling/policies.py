"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sparsam.scheduling.policy import KubeDefault, MostAllocated, Policy, Random
from sparsam.scheduling.watts import LeastIncrease, Peaks, SparsamPolicy, Weights

POLICIES: Mapping[str, Callable[[], Policy]] = {
    each.name: each for each in (SparsamPolicy, KubeDefault, MostAllocated, Peaks, LeastIncrease, Random)
}


def make_policy(name: str, weights: Weights) -> Policy:
    """A policy; the weights count for `sparsam` alone. Raises KeyError for a name that is none."""
    return SparsamPolicy(weights) if name == SparsamPolicy.name else POLICIES[name]()
