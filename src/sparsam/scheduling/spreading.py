"""Topology spread constraints over all nodes at once: what they forbid and what they prefer.

Source: KEP-895 (pod topology spread), KEP-3022 (minDomains), KEP-3094 (node inclusion policies), and the figures of
kube-scheduler's PodTopologySpread plugin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsam.objects.selectors import LabelSelector
from sparsam.scheduling.columns import Bools, Floats, Ints
from sparsam.scheduling.demand import HARD_EFFECTS, PodDemand
from sparsam.scheduling.nodematch import required_mask, untolerated
from sparsam.scheduling.podterms import HOSTNAME, Spread
from sparsam.scheduling.population import Matching
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Snapshot

FULL = 100
_EVERY = slice(None)


@dataclass(frozen=True, slots=True)
class SpreadRefusal:
    """Shape (rows,): nodes that a constraint forbids, and among them those that lack its label."""

    forbidden: Bools
    unlabelled: Bools


class SpreadRules:
    """The constraints of one pod, with what they need to know of nodes; valid while no node changes."""

    def __init__(self, snapshot: Snapshot, demand: PodDemand, profile: Profile) -> None:
        self._snapshot, self._demand = snapshot, demand
        own = demand.spread
        defaults = () if own else default_constraints(snapshot, demand, profile)
        self.hard = tuple(each for each in own or defaults if each.hard)
        self.soft = tuple(each for each in own or defaults if not each.hard)
        self._need_every_label = bool(own) or not profile.system_defaults
        self._included = {
            (each.honor_affinity, each.honor_taints): self._inclusion(each) for each in (*self.hard, *self.soft)
        }

    def judge(self) -> SpreadRefusal:
        """What the hard constraints forbid."""
        snapshot = self._snapshot
        labelled = self._labelled(self.hard)
        forbidden = np.zeros(snapshot.alive.shape, np.bool_)
        unlabelled = np.zeros_like(forbidden)
        for each in self.hard:
            places, count = snapshot.labels.domains(each.topology_key)
            eligible = labelled & self._included[each.honor_affinity, each.honor_taints]
            matching = self._matching(each.selector)
            present = np.bincount(places[eligible], minlength=count + 1) > 0
            sums = np.bincount(places[eligible], weights=matching[eligible], minlength=count + 1)
            fewest = float(sums[present].min()) if present.any() else math.inf
            if int(present.sum()) < each.min_domains:
                fewest = 0.0
            own = int(each.selector.matches(dict(self._demand.labels)))
            missing = places == count
            # A node counts under the first constraint that refuses it.
            unlabelled |= missing & ~forbidden
            forbidden |= missing | (sums[places] + own - fewest > each.max_skew)
        return SpreadRefusal(forbidden, unlabelled)

    def scores(self, feasible: Bools) -> Ints:
        """0 to 100 for each row: fewer matching pods in the node's places are better."""
        snapshot = self._snapshot
        labelled = self._labelled(self.soft) if self._need_every_label else np.ones(snapshot.alive.shape, np.bool_)
        scored = feasible & labelled
        total: Floats = np.zeros(snapshot.alive.shape)
        for each in self.soft:
            places, count = snapshot.labels.domains(each.topology_key)
            counts, size = self._place_counts(each, scored, labelled & snapshot.alive)
            weight = math.log(size + 2)
            total += np.where(places == count, 0.0, counts * weight + (each.max_skew - 1))
        raw = np.floor(total + 0.5).astype(np.int64)
        if not scored.any():
            return np.zeros_like(raw)
        most, least = int(raw[scored].max()), int(raw[scored].min())
        if most == 0:
            return np.where(scored, FULL, 0)
        return np.where(scored, FULL * (most + least - raw) // most, 0)

    def _place_counts(self, each: Spread, scored: Bools, counted: Bools) -> tuple[Floats, int]:
        """Matching pods in each node's place, and how many places there are to choose from."""
        matching = self._matching(each.selector)
        if each.topology_key == HOSTNAME:
            return matching, int(scored.sum())
        places, count = self._snapshot.labels.domains(each.topology_key)
        candidates = np.bincount(places[scored], minlength=count + 1) > 0
        included = counted & self._included[each.honor_affinity, each.honor_taints]
        sums = np.bincount(places[included], weights=matching[included], minlength=count + 1)
        return np.where(candidates, sums, 0.0)[places], int(candidates.sum())

    def _matching(self, selector: LabelSelector) -> Floats:
        return self._snapshot.population.count(Matching(namespace=self._demand.namespace, selector=selector))

    def _labelled(self, constraints: tuple[Spread, ...]) -> Bools:
        """Nodes with the labels of all constraints."""
        mask = self._snapshot.alive.copy()
        for each in constraints:
            places, count = self._snapshot.labels.domains(each.topology_key)
            mask &= places != count
        return mask

    def _inclusion(self, each: Spread) -> Bools:
        mask = self._snapshot.alive.copy()
        if each.honor_affinity:
            mask &= required_mask(self._snapshot, self._demand, _EVERY)
        if each.honor_taints:
            mask &= untolerated(self._snapshot, self._demand, HARD_EFFECTS, _EVERY) == 0
        return mask


def default_constraints(snapshot: Snapshot, demand: PodDemand, profile: Profile) -> tuple[Spread, ...]:
    """The profile's constraints for a pod that states none: spread like the other pods of its Services and owner."""
    labels = dict(demand.labels)
    services = snapshot.services.get(demand.namespace, {}).values()
    selectors = [selector for selector in services if selector.matches(labels)]
    owner = snapshot.owners.get((demand.namespace, *demand.owner))
    if owner is not None and not owner.nothing:
        selectors.append(owner)
    if not selectors or not profile.default_spread:
        return ()
    merged = LabelSelector(tuple(dict.fromkeys(each for selector in selectors for each in selector.requirements)))
    return tuple(Spread(each.topology_key, each.max_skew, merged, each.hard) for each in profile.default_spread)
