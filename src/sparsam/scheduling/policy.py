"""What a placement policy is: from a pod before all nodes to a number for each node.

The ones here rank by kube-scheduler's scores (`kube-default`, `most-allocated`) or by chance (`random`); those that
rank by watts are in `watts`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, Protocol

import numpy as np

from sparsam.scheduling.assessment import BALANCE, RowColumns
from sparsam.scheduling.columns import Floats
from sparsam.scheduling.profile import FitStrategy, Profile
from sparsam.scheduling.view import FULL, View


@dataclass(frozen=True, slots=True)
class Ranking:
    """Totals of shape (rows,), the higher the better; numbers of nodes that are not feasible mean nothing."""

    total: Any
    watts_delta: Floats | None = None
    """Predicted extra watts of the whole fleet, where the policy knows of watts."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """What the total is made of, by name; scalars are the same for all nodes."""


class Policy(Protocol):
    """Ranks nodes. `row_columns` computes what depends on one node alone, or is None."""

    name: str
    row_columns: RowColumns | None

    def profile(self, profile: Profile) -> Profile:
        """The profile as this policy wants it."""

    def rank(self, view: View, pod: str) -> Ranking:
        """Rank the nodes for the pod of this key."""


class KubeDefault:
    """The weighted sum of the plugins' scores, as kube-scheduler has it."""

    name = "kube-default"
    row_columns: RowColumns | None = None

    def profile(self, profile: Profile) -> Profile:
        """As it is."""
        return profile

    def rank(self, view: View, pod: str) -> Ranking:
        """Sum up."""
        parts = plugin_parts(view)
        return Ranking(summed(parts, np.zeros(view.snapshot.alive.shape, np.int64)), parts=parts)


class MostAllocated(KubeDefault):
    """The same with NodeResourcesFit turned round: fill nodes before others, blind to watts."""

    name = "most-allocated"

    def profile(self, profile: Profile) -> Profile:
        """With MostAllocated, and without the score that would even nodes out."""
        weights = {**profile.weights, BALANCE: 0}
        return replace(profile, fit=FitStrategy("MostAllocated", profile.fit.resources), weights=weights)


class Random(KubeDefault):
    """Any feasible node, by a hash of pod and node: the same each time."""

    name = "random"

    def rank(self, view: View, pod: str) -> Ranking:
        """A number for each node that only pod and name decide."""
        salt = np.uint64(zlib.crc32(pod.encode()))
        mixed = (view.snapshot.tie_rank.astype(np.uint64) ^ salt) * np.uint64(0x9E3779B97F4A7C15)
        return Ranking((mixed >> np.uint64(33)).astype(np.int64))


def summed(parts: Mapping[str, Any], start: Any) -> Any:
    """The sum of all parts, of scalars first: each step with an array costs a look at all nodes."""
    arrays = []
    for part in parts.values():
        if isinstance(part, np.ndarray):
            arrays.append(part)
        else:
            start = start + part
    return reduce(add, arrays, start)


def plugin_parts(view: View) -> dict[str, Any]:
    """The weighted scores by plugin; scalars are the same for all nodes."""
    parts: dict[str, Any] = {name: values * np.int64(weight) for name, weight, values in view.plugin_scores()}
    taints = view.assessment.profile.weights.get("TaintToleration", 0)
    if "TaintToleration" not in parts and taints:
        # All nodes are alike in it then, and it counts in full.
        parts["TaintToleration"] = FULL * taints
    return parts
