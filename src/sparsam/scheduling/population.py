"""How many pods of each kind stand on each node: what spreading and inter-pod affinity ask about.

Pods of equal namespace and labels form one class, so that a selector is matched once for a class and not for every
pod. A count that somebody asks for becomes a vector over all nodes and is kept current from then on, one addition for
each pod that comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sparsam.objects.selectors import LabelSelector
from sparsam.scheduling.podterms import PodClass, PodTerm, PodTerms

Floats = npt.NDArray[np.float64]

KEPT = 4096


class Owner(NamedTuple):
    """A term that pods on nodes have about others: `forbidden`, `required` or `preferred`."""

    kind: str
    weight: int
    term: PodTerm


@dataclass(frozen=True, slots=True)
class Matching:
    """Pods that all of these terms match, or those of one namespace that a selector does (`alone`)."""

    terms: tuple[PodTerm, ...] = ()
    namespace: str = ""
    selector: LabelSelector | None = None
    """With it, only pods of `namespace` that are not terminating count."""


@dataclass(slots=True, eq=False)
class _Vector:
    """Counts by row; floats, since that is what sums over places take."""

    values: Floats
    total: int = 0

    def add(self, row: int, change: int) -> None:
        self.values[row] += change
        self.total += change


@dataclass(slots=True, eq=False)
class _Class:
    rows: dict[int, int] = field(default_factory=dict)
    counters: list[_Vector] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _About:
    """Terms of pods on nodes that match one class, out of the first `seen`."""

    owners: list[tuple[Owner, _Vector]] = field(default_factory=list)
    seen: int = 0


class Population:
    """Pods on rows, by class."""

    def __init__(self) -> None:
        self._rows = 0
        self._classes: dict[PodClass, _Class] = {}
        self._counters: dict[Matching, _Vector] = {}
        self._owners: dict[Owner, _Vector] = {}
        self._owner_list: list[Owner] = []
        self._about: dict[PodClass, _About] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        for vector in (*self._counters.values(), *self._owners.values()):
            vector.values = np.concatenate((vector.values, np.zeros(rows - self._rows)))
        self._rows = rows

    def set_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Take over a namespace's labels; counts that may depend on them are made anew."""
        if self._namespaces.get(name) == labels:
            return
        self._namespaces[name] = dict(labels)
        self._counters.clear()
        self._about.clear()
        for each in self._classes.values():
            each.counters.clear()

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        return self._namespaces.get(name, {})

    def add(self, row: int, kind: PodClass, terms: PodTerms, change: int = 1) -> None:
        """A pod came to a row, or with -1 went."""
        known = self._classes.get(kind)
        if known is None:
            known = self._classes[kind] = _Class()
            known.counters = [vector for what, vector in self._counters.items() if self._matches(what, kind)]
        count = known.rows.get(row, 0) + change
        if count:
            known.rows[row] = count
        else:
            known.rows.pop(row, None)
        for vector in known.counters:
            vector.add(row, change)
        if terms:
            for owner in owners_of(terms):
                self._owner_vector(owner).add(row, change)
        if not known.rows:
            del self._classes[kind]

    def count(self, what: Matching) -> Floats:
        """Matching pods on each row."""
        vector = self._counters.get(what)
        if vector is None:
            vector = self._counters[what] = _Vector(np.zeros(self._rows))
            for kind, known in self._classes.items():
                if self._matches(what, kind):
                    known.counters.append(vector)
                    rows = list(known.rows)
                    vector.values[rows] += list(known.rows.values())
            if len(self._counters) > KEPT:
                self._forget_oldest()
        return vector.values

    def terms_about(self, kind: PodClass) -> list[tuple[Owner, Floats]]:
        """The terms of pods on nodes that match a pod of this class, each with its owners on each row."""
        about = self._about.get(kind)
        if about is None:
            if len(self._about) >= KEPT:
                self._about.clear()
            about = self._about[kind] = _About()
        for owner in self._owner_list[about.seen :]:
            if self.matches(owner.term, kind):
                about.owners.append((owner, self._owners[owner]))
        about.seen = len(self._owner_list)
        return [(owner, vector.values) for owner, vector in about.owners if vector.total]

    @property
    def has_terms(self) -> bool:
        """Whether any pod on a node has a term about others."""
        return bool(self._owner_list)

    def matches(self, term: PodTerm, kind: PodClass) -> bool:
        """Whether a pod of this class is one that the term is about."""
        return term.matches(kind.namespace, self._namespaces.get(kind.namespace, {}), dict(kind.labels))

    def _owner_vector(self, owner: Owner) -> _Vector:
        vector = self._owners.get(owner)
        if vector is None:
            self._drop_unowned()
            vector = self._owners[owner] = _Vector(np.zeros(self._rows))
            self._owner_list.append(owner)
        return vector

    def _drop_unowned(self) -> None:
        """Terms that no pod has any more go once they are many."""
        if len(self._owner_list) < KEPT or sum(each.total > 0 for each in self._owners.values()) > KEPT // 2:
            return
        self._owners = {owner: vector for owner, vector in self._owners.items() if vector.total}
        self._owner_list = list(self._owners)
        self._about.clear()

    def _matches(self, what: Matching, kind: PodClass) -> bool:
        if what.selector is not None:
            same = kind.namespace == what.namespace and not kind.terminating
            return same and what.selector.matches(dict(kind.labels))
        return bool(what.terms) and all(self.matches(term, kind) for term in what.terms)

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._counters))
        gone = self._counters.pop(oldest)
        for known in self._classes.values():
            if gone in known.counters:
                known.counters.remove(gone)


def owners_of(terms: PodTerms) -> Iterable[Owner]:
    """Each term of a pod as what it is to others."""
    yield from (Owner("forbidden", 0, term) for term in terms.forbidden)
    yield from (Owner("required", 0, term) for term in terms.required)
    yield from (Owner("preferred", weight, term) for weight, term in terms.preferred)
