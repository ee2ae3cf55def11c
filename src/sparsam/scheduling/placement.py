"""`schedule(snapshot, pending, policy) -> Plan`: filter, score, choose, reserve, one pod after the other.

Deterministic: the same nodes and pods give the same Plan whatever order the nodes came in. Equal scores are
broken by `tie_rank`, a fixed hash of the node's name, then by the name itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.demand import PodDemand
from sparsam.scheduling.feasibility import Verdict, judge
from sparsam.scheduling.plan import Bind, Plan, Rejection
from sparsam.scheduling.scoring import Policy, Scores, score
from sparsam.scheduling.snapshot import Ints, Snapshot

SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PendingPod:
    """A pod that waits for a node, in the order in which it is to be served."""

    key: str
    """`namespace/name`."""
    demand: PodDemand


@dataclass(slots=True)
class _Room:
    """What the nodes hold while a pass goes on: the snapshot's columns and this pass's reservations."""

    requested: Ints
    scored: Ints
    port_users: Ints


def schedule(snapshot: Snapshot, pending: Iterable[PendingPod], policy: Policy) -> Plan:
    """Decide for each pending pod. The snapshot's counts are not changed; it may learn new resource names."""
    room = _Room(snapshot.requested.copy(), snapshot.scored.copy(), snapshot.port_users.copy())
    binds: list[Bind] = []
    rejections: list[Rejection] = []
    for pod in pending:
        verdict = judge(snapshot, pod.demand, room.requested, room.port_users)
        if not verdict.feasible.any():
            rejections.append(_reject(snapshot, pod, verdict))
            continue
        scores = score(
            snapshot, pod.demand, policy, feasible=verdict.feasible, requested=room.requested, scored=room.scored
        )
        ranked = _best_rows(snapshot, verdict, scores)
        _reserve(snapshot, room, ranked[0], pod.demand)
        binds.append(_bind(snapshot, pod, verdict, scores, ranked))
    return Plan(tuple(binds), tuple(rejections))


def _best_rows(snapshot: Snapshot, verdict: Verdict, scores: Scores) -> list[int]:
    """The best feasible row and, if there is one, the second best."""
    rows = np.flatnonzero(verdict.feasible)
    # Rounding keeps the order of additions, which may differ between machines, out of the decision.
    order = np.lexsort((snapshot.tie_rank[rows], -np.round(scores.total[rows], SCORE_DIGITS)))
    leading = [int(row) for row in rows[order[:3]]]
    leading.sort(
        key=lambda row: (-round(float(scores.total[row]), SCORE_DIGITS), snapshot.tie_rank[row], snapshot.names[row])
    )
    return leading[:2]


def _reserve(snapshot: Snapshot, room: _Room, row: int, demand: PodDemand) -> None:
    vector = snapshot.request_vector(demand)
    missing = len(vector) - room.requested.shape[1]
    if missing:
        room.requested = np.pad(room.requested, ((0, 0), (0, missing)))
    room.requested[row] += vector
    room.scored[row] += (demand.scored_cpu_millicores, demand.scored_memory_bytes)
    for port in demand.ports:
        number = snapshot.ports.number(port)
        missing = number + 1 - room.port_users.shape[1]
        if missing > 0:
            room.port_users = np.pad(room.port_users, ((0, 0), (0, missing)))
        room.port_users[row, number] += 1


def _bind(snapshot: Snapshot, pod: PendingPod, verdict: Verdict, scores: Scores, ranked: list[int]) -> Bind:
    row = ranked[0]
    watts = round(float(scores.watts_delta[row]), 3)
    feasible = int(verdict.feasible.sum())
    estimated = bool(snapshot.watts_estimated[row])
    kind = "estimated" if estimated else "modelled"
    reason = f"+{watts:g} W ({kind}) on {snapshot.names[row]}, best of {feasible} feasible node(s)"
    if len(ranked) == 1:
        return Bind(pod.key, snapshot.names[row], reason, watts, estimated, feasible)
    second = ranked[1]
    second_watts = round(float(scores.watts_delta[second]), 3)
    reason += f"; next {snapshot.names[second]} at +{second_watts:g} W"
    return Bind(pod.key, snapshot.names[row], reason, watts, estimated, feasible, snapshot.names[second], second_watts)


def _reject(snapshot: Snapshot, pod: PendingPod, verdict: Verdict) -> Rejection:
    return Rejection(pod.key, snapshot.node_count(), verdict.counts, int(verdict.resolvable.sum()))
