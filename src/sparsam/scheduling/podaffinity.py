"""Inter-pod affinity over all nodes at once: what it requires, forbids and prefers.

Source: the scheduler reference and the figures of kube-scheduler's InterPodAffinity plugin. Terms of pods on nodes
count as well as the pod's own: their anti-affinity forbids, their affinity attracts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.columns import Bools, Floats, Ints
from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.population import Matching
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Snapshot

FULL = 100


@dataclass(frozen=True, slots=True)
class AffinityRefusal:
    """Shape (rows,), each row under the first that refuses it."""

    unmet: Bools
    """The pod's own affinity finds no partner there."""
    repelled: Bools
    """Its anti-affinity finds one."""
    unwelcome: Bools
    """The anti-affinity of pods that are there does."""


class AffinityRules:
    """The terms of one pod, its own and those of others about it."""

    def __init__(self, snapshot: Snapshot, demand: PodDemand, profile: Profile) -> None:
        self._snapshot, self._demand, self._profile = snapshot, demand, profile
        self._kind = demand.kind
        self._about = snapshot.population.terms_about(self._kind) if snapshot.population.has_terms else []

    @property
    def restrict(self) -> bool:
        """Whether anything is required or forbidden."""
        terms = self._demand.terms
        return bool(terms.required or terms.forbidden) or any(owner.kind == "forbidden" for owner, _ in self._about)

    def judge(self) -> AffinityRefusal:
        """What may not be, given the pods on nodes."""
        terms, population = self._demand.terms, self._snapshot.population
        nobody = np.zeros(self._snapshot.alive.shape, np.bool_)
        unmet = self._unmet() if terms.required else nobody
        repelled = nobody.copy()
        for term in terms.forbidden:
            repelled |= self._in_places(term.topology_key, population.count(Matching((term,)))) > 0
        unwelcome = nobody.copy()
        for owner, owners in self._about:
            if owner.kind == "forbidden":
                unwelcome |= self._in_places(owner.term.topology_key, owners) > 0
        return AffinityRefusal(unmet, repelled & ~unmet, unwelcome & ~repelled & ~unmet)

    def scores(self, feasible: Bools) -> Ints | None:
        """0 to 100 for each row; None when nobody has any preference that matters here."""
        raw = self._raw()
        if raw is None or not feasible.any():
            return None
        found = raw[feasible]
        most, least = float(found.max()), float(found.min())
        if most == least:
            return np.zeros(raw.shape, np.int64)
        return (FULL * ((raw - least) / (most - least))).astype(np.int64)

    def _raw(self) -> Floats | None:
        total: Floats = np.zeros(self._snapshot.alive.shape)
        counted = False
        for weight, term in self._demand.terms.preferred:
            matching = self._snapshot.population.count(Matching((term,)))
            if matching.any():
                counted = True
                total += weight * self._in_places(term.topology_key, matching)
        if not (self._profile.ignore_preferences_of_others and not self._demand.terms.preferred):
            for owner, owners in self._about:
                weight = self._profile.hard_affinity_weight if owner.kind == "required" else owner.weight
                if owner.kind != "forbidden" and weight:
                    counted = True
                    total += weight * self._in_places(owner.term.topology_key, owners)
        return total if counted else None

    def _unmet(self) -> Bools:
        terms = self._demand.terms.required
        matching = self._snapshot.population.count(Matching(terms))
        labelled = np.ones(self._snapshot.alive.shape, np.bool_)
        met = np.ones_like(labelled)
        partners = False
        for term in terms:
            places, count = self._snapshot.labels.domains(term.topology_key)
            labelled &= places != count
            there = self._in_places(term.topology_key, matching) > 0
            partners = partners or bool(there.any())
            met &= there
        # The first of a group that wants to be together may go anywhere.
        if not partners and all(self._snapshot.population.matches(term, self._kind) for term in terms):
            return ~labelled
        return ~(met & labelled)

    def _in_places(self, topology_key: str, by_row: Floats) -> Floats:
        """For each row, the sum over all rows of the same place; zero where the label is missing."""
        places, count = self._snapshot.labels.domains(topology_key)
        sums = np.bincount(places, weights=by_row, minlength=count + 1)
        sums[count] = 0.0
        return np.asarray(sums[places])
