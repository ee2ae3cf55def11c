"""What one kind of pod finds on every node, kept while the cluster changes: only rows that changed are looked at again.

A thousand replicas share one assessment, so each costs the row that the one before it was put on. What depends on
other nodes (spreading, inter-pod affinity, normalised scores) is computed for each pod from vectors that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsam.scheduling.columns import Bools, ChangeLog, Ints, Rows, any_line, cells
from sparsam.scheduling.demand import HARD_EFFECTS, PodDemand, Taint
from sparsam.scheduling.nodematch import required_mask, term_mask, untolerated
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.resourcescores import balanced_scores, fit_scores
from sparsam.scheduling.snapshot import PODS, Snapshot
from sparsam.scheduling.spreading import SpreadRules

RowColumns = Callable[[Snapshot, PodDemand, "Rows | slice | int"], dict[str, Any]]
"""What a policy wants to know of each node alone, for the rows picked; looked up again where a row has changed.

A single row by its number is answered in plain numbers.
"""
FEW = 12
"""Up to so many nodes are looked at one by one: most often one or two have changed since the last pod of a kind, and
plain numbers are then several times as fast as columns of one or two.
"""

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
STATIC_FILTERS = (
    ("NodeUnschedulable", "node(s) were unschedulable"),
    ("NodeName", "node(s) didn't match the requested node name"),
    ("TaintToleration", "node(s) had untolerated taint(s)"),
    ("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"),
)
BALANCE, FIT = "NodeResourcesBalancedAllocation", "NodeResourcesFit"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
_EVERY = slice(None)
Small = npt.NDArray[np.int8]
"""Numbers of filters, taints, and scores up to 100: thousands of assessments are kept."""


class Assessment:
    """One demand under one profile, over all rows."""

    def __init__(
        self, snapshot: Snapshot, demand: PodDemand, profile: Profile, row_columns: RowColumns | None = None
    ) -> None:
        self.demand, self.profile = demand, profile
        self.columns: dict[str, Any] = {}
        """The policy's own, by name."""
        self._cells = _Cells(self.columns, 0)
        self._snapshot = snapshot
        self._row_columns = row_columns
        self._static_seen = self._dynamic_seen = self._images_seen = -1
        self._selectors_seen = -1
        self.refusal: Small = np.zeros(0, np.int8)
        """0 where the node as such may take the pod, else 1 + the first of STATIC_FILTERS that refuses."""
        self._open: Bools = np.zeros(0, np.bool_)
        """Alive, and not refused as such."""
        self.base: Bools = np.zeros(0, np.bool_)
        """The same, and resources and host ports are free."""
        self.disliked: Small | None = None
        """Taints that the pod would rather avoid; None when no node has any."""
        self.liked: Ints | None = None
        """Weights of preferred node affinity; None when the pod has none."""
        self.image_scores: Small | None = None
        self.fit_scores: Small = np.zeros(0, np.int8)
        self.balance_scores: Small | None = None
        self.spread: SpreadRules | None = None
        self.numbers: Ints = np.zeros(0, np.int64)
        """Resources that count for this pod, and in `amounts`, of shape (resources, 1), how much of each."""
        self.amounts: Ints = np.zeros((0, 1), np.int64)
        self._asked: list[tuple[int, int]] = []

    def refresh(self) -> None:
        """Bring everything up to date with the snapshot."""
        snapshot = self._snapshot
        resized = len(self.refusal) != len(snapshot.names)
        static = self._changed(snapshot.static, self._static_seen, resized=resized)
        dynamic = self._changed(snapshot.dynamic, self._dynamic_seen, resized=resized)
        anew = static is None or bool(static)
        if anew:
            self._refresh_static(_picked(static))
            dynamic = None if dynamic is None or static is None else sorted({*dynamic, *static})
        if dynamic is None or dynamic:
            self._refresh_dynamic(dynamic)
        if anew or self._images_seen != snapshot.images.version:
            self._refresh_images()
        if anew or self._selectors_seen != snapshot.selectors_version:
            rules = SpreadRules(snapshot, self.demand, self.profile)
            self.spread = rules if rules.hard or rules.soft else None
            self._selectors_seen = snapshot.selectors_version
        self._static_seen, self._dynamic_seen = snapshot.static.end, snapshot.dynamic.end

    @property
    def bytes(self) -> int:
        """Memory of the vectors, about."""
        return len(self.refusal) * (6 + 4 * len(self.columns) + 8 * (self.liked is not None))

    def lacking(self, rows: Rows | slice = _EVERY) -> Bools:
        """Where too little is free, shape (resources asked for, rows)."""
        snapshot, where = self._snapshot, (self.numbers if isinstance(rows, slice) else self.numbers[:, None], rows)
        return np.asarray(snapshot.requested[where] + self.amounts > snapshot.allocatable[where])

    def hopeless(self) -> Bools:
        """Where even an empty node has too little, shape (resources asked for, all rows)."""
        return np.asarray(self.amounts > self._snapshot.allocatable[self.numbers])

    def lacking_beside(self, rows: Rows, held: Ints) -> Bools:
        """The same when `held`, of shape (resources asked for, rows), is not to be had either."""
        snapshot, numbers = self._snapshot, self.numbers
        free = snapshot.allocatable[numbers][:, rows] - snapshot.requested[numbers][:, rows] - held
        return np.asarray(self.amounts > free)

    def ports_taken(self, rows: Rows | slice = _EVERY) -> Bools:
        """Nodes on which one of the host ports is in use."""
        lines = self._snapshot.colliding_ports(self.demand.ports)
        # A port that was only ever asked for has a number but no line yet: nobody uses it.
        known = [number for number in lines if number < len(self._snapshot.port_users)]
        return any_line(self._snapshot.port_users[known][:, rows] > 0)

    @staticmethod
    def _changed(log: ChangeLog, seen: int, *, resized: bool) -> list[int] | None:
        """Rows to look at again; None for all."""
        return None if seen < 0 or resized else log.since(seen)

    def _refresh_static(self, rows: Rows | slice) -> None:
        snapshot, demand = self._snapshot, self.demand
        refusal = np.zeros(snapshot.alive[rows].shape, np.int8)
        for number, mask in self.static_masks(rows):
            refusal[mask & (refusal == 0)] = number + 1
        self.refusal = _merged(self.refusal, refusal, rows)
        self._open = _merged(self._open, snapshot.alive[rows] & (refusal == 0), rows)
        if any(taint.effect == "PreferNoSchedule" for taint in snapshot.taints.numbers):
            disliked = untolerated(snapshot, demand, ("PreferNoSchedule",), _EVERY)
            self.disliked = np.minimum(disliked, 127).astype(np.int8) if disliked.any() else None
        preferred = (*demand.preferred, *self.profile.added_preferences)
        if preferred:
            liked = np.zeros(refusal.shape, np.int64)
            for term in preferred:
                liked += term.weight * term_mask(snapshot, term, rows)
            self.liked = _merged(self.liked, liked, rows)

    def static_masks(self, rows: Rows | slice = _EVERY) -> Iterator[tuple[int, Bools]]:
        """(number in STATIC_FILTERS, nodes that it refuses) of the filters that apply to the pod."""
        snapshot, demand, filters = self._snapshot, self.demand, self.profile.filters
        if demand.names_nodes and "NodeAffinity" in filters:
            # kube-scheduler does not even look at other nodes then.
            yield 3, ~required_mask(snapshot, demand, rows)
        if "NodeUnschedulable" in filters and not any(t.tolerates(UNSCHEDULABLE_TAINT) for t in demand.tolerations):
            yield 0, snapshot.unschedulable[rows]
        if demand.node_name and "NodeName" in filters:
            elsewhere = np.ones(len(snapshot.names), np.bool_)
            if demand.node_name in snapshot.rows:
                elsewhere[snapshot.rows[demand.node_name]] = False
            yield 1, elsewhere[rows]
        if "TaintToleration" in filters:
            yield 2, untolerated(snapshot, demand, HARD_EFFECTS, rows) > 0
        if "NodeAffinity" in filters and (
            demand.selector or demand.required is not None or self.profile.added_affinity is not None
        ):
            yield 3, ~required_mask(snapshot, demand, rows, self.profile.added_affinity)

    def _refresh_dynamic(self, changed: list[int] | None) -> None:
        self._ask()
        rows, few = _picked(changed), changed if changed is not None and len(changed) <= FEW else []
        if few and not self.demand.ports:
            for row in few:
                self.base[row] = self._open[row] and self._has_room(row)
        else:
            self.base = _merged(self.base, self._with_room(rows), rows)
        self._refresh_scores(rows)
        if self._row_columns is None:
            return
        if changed is None:
            self.columns = {}
            self._cells = _Cells(self.columns, len(self._snapshot.names))
        single = self._cells
        for row in few:
            if self._snapshot.alive[row]:
                for name, value in self._row_columns(self._snapshot, self.demand, row).items():
                    single[name][row] = value
        if not few:
            for name, values in self._row_columns(self._snapshot, self.demand, rows).items():
                np.asarray(single[name])[rows] = values

    def _refresh_scores(self, rows: Rows | slice) -> None:
        snapshot, demand, profile = self._snapshot, self.demand, self.profile
        if profile.weights.get(FIT, 0):
            self.fit_scores = _merged(self.fit_scores, _small(fit_scores(snapshot, demand, profile.fit, rows)), rows)
        if profile.weights.get(BALANCE, 0) and any(demand.amount(name) for name in profile.balanced_resources):
            scores = balanced_scores(snapshot, demand, profile.balanced_resources, rows)
            self.balance_scores = _merged(self.balance_scores, _small(scores), rows)

    def _with_room(self, rows: Rows | slice) -> Bools:
        """Open nodes on which resources and host ports are free."""
        base = np.array(self._open[rows])
        if "NodeResourcesFit" in self.profile.filters:
            base &= ~any_line(self.lacking(rows))
        if self.demand.ports and "NodePorts" in self.profile.filters:
            base &= ~self.ports_taken(rows)
        return base

    def _has_room(self, row: int) -> bool:
        """Whether resources are free on one node."""
        if "NodeResourcesFit" not in self.profile.filters:
            return True
        requested, allocatable = self._snapshot.requested_at, self._snapshot.allocatable_at
        for number, amount in self._asked:  # noqa: SIM110 -- a generator takes as long as all else here
            if requested[number, row] + amount > allocatable[number, row]:
                return False
        return True

    def _ask(self) -> None:
        """Resources asked for by number; one that the pod does not ask for is not checked, even when over-committed."""
        if len(self.numbers):
            return
        asked = {name: amount for name, amount in self.demand.requests if amount > 0 and not self._ignored(name)}
        vector = self._snapshot.request_vector(self.demand)
        numbers = [PODS, *(self._snapshot.resources.number(name) for name in asked)]
        self.numbers = np.array(numbers, np.int64)
        self.amounts = vector[self.numbers][:, None]
        self._asked = list(zip(numbers, vector[self.numbers].tolist(), strict=True))

    def _ignored(self, name: str) -> bool:
        group = name.partition("/")[0] if "/" in name else ""
        return name in self.profile.ignored_resources or group in self.profile.ignored_resource_groups

    def _refresh_images(self) -> None:
        snapshot = self._snapshot
        there = snapshot.images.any_of(self.demand.images)
        scores = snapshot.images.scores(self.demand.images, snapshot.node_count()) if there else None
        self.image_scores = None if scores is None else _small(scores)
        self._images_seen = snapshot.images.version


class _Cells(dict[str, Any]):
    """Single places of columns by name; one that is not there yet is added, full of zeros."""

    def __init__(self, columns: dict[str, Any], rows: int) -> None:
        self._columns, self._rows = columns, rows

    def __missing__(self, name: str) -> Any:
        # Half the memory of what the policy computes with: thousands of pods' columns are kept.
        self._columns[name] = np.zeros(self._rows, np.float32)
        self[name] = single = cells(self._columns[name])
        return single


def _picked(changed: list[int] | None) -> Rows | slice:
    return _EVERY if changed is None else np.array(changed, np.intp)


def _small(scores: Ints) -> Small:
    return scores.astype(np.int8)


def _merged(before: Any, found: Any, rows: Rows | slice) -> Any:
    """The vector with these rows replaced, or another where they are all."""
    if isinstance(rows, slice):
        return found
    before[rows] = found
    return before
