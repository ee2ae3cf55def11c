"""Pods that wait, and when each is tried again: kube-scheduler's three queues as one pure state machine.

A pod is active (to be tried now), backing off (tried lately), or unschedulable until something happens that could
help it. What could help is known from the filters that refused it, so that a cluster full of pods that fit nowhere
costs nothing while others come and go. Time is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum, auto

FIRST_BACKOFF_SECONDS = 1.0
LAST_BACKOFF_SECONDS = 10.0
ANY_HELPS = -1
"""`taken_at` of a pod that itself changed while it was in flight: whatever the verdict, it deserves another."""
FLUSH_SECONDS = 300.0
"""An unschedulable pod is tried again after this long whatever happened; upstream's figure."""


class Change(IntEnum):
    """What happens to a cluster, as far as waiting pods may care."""

    NODE = auto()
    """A node came, or what it is has changed."""
    POD_GONE = auto()
    """A pod on a node ended or was deleted."""
    POD_PLACED = auto()
    """A pod was bound, or the labels of one that was have changed."""
    NAMESPACE = auto()
    VOLUME = auto()
    """A volume, a claim, a storage class or what a node can attach."""


_ON_NODES = frozenset(
    {"NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"}
)
_ON_PODS = frozenset({"PodTopologySpread", "InterPodAffinity"})
_ON_VOLUMES = frozenset({"VolumeBinding", "VolumeZone", "VolumeRestrictions", "NodeVolumeLimits"})
_GANG = frozenset({"GangScheduling"})
HELPS = {
    Change.NODE: _ON_NODES | _ON_PODS | _ON_VOLUMES | _GANG,
    Change.POD_GONE: frozenset({"NodePorts", "NodeResourcesFit"}) | _ON_PODS | _ON_VOLUMES | _GANG,
    Change.POD_PLACED: _ON_PODS,
    Change.NAMESPACE: frozenset({"InterPodAffinity"}),
    Change.VOLUME: _ON_VOLUMES,
}
"""Which filters may come to another verdict after a change."""


class Place(StrEnum):
    """Where a pod waits."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    IN_FLIGHT = "in flight"


@dataclass(slots=True)
class Waiting:
    """One pod that waits."""

    key: str
    priority: int
    since: float
    """When it first came."""
    place: Place = Place.ACTIVE
    attempts: int = 0
    not_before: float = 0.0
    refused_by: frozenset[str] = frozenset()
    taken_at: int = 0
    """How many changes there had been when it was taken out to be tried."""
    turn: int = 0
    """Counts its moves; entries of heaps with an older number are void."""


class Backlog:
    """Every pod that waits is in exactly one place."""

    def __init__(self) -> None:
        self._pods: dict[str, Waiting] = {}
        self._active: list[tuple[int, float, str, int]] = []
        self._timed: list[tuple[float, str, int]] = []
        """When a pod is to be active again: at the end of its pause or of FLUSH_SECONDS."""
        self._refused_by: dict[str, set[str]] = defaultdict(set)
        """Filter to the unschedulable pods that it refused; "" for those that nobody in particular did."""
        self._changes = 0
        self._last_change = dict.fromkeys(Change, 0)
        """The number of the latest change of each kind."""
        self._counts = dict.fromkeys(Place, 0)

    def __contains__(self, key: str) -> bool:
        """Whether a pod waits or is in flight."""
        return key in self._pods

    def counts(self) -> dict[str, int]:
        """Pods by place."""
        return {place.value: count for place, count in self._counts.items()}

    def get(self, key: str) -> Waiting | None:
        """The pod as it waits."""
        return self._pods.get(key)

    def refused(self) -> list[str]:
        """Pods that no node took when they were last tried, the most important first."""
        found = [pod for pod in self._pods.values() if pod.place in (Place.UNSCHEDULABLE, Place.BACKOFF)]
        return [pod.key for pod in sorted(found, key=lambda pod: (-pod.priority, pod.since, pod.key))]

    def add(self, key: str, priority: int, now: float) -> None:
        """A pod came, or changed in a way that may help it: it is tried at once, unless it is in flight."""
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = Waiting(key, priority, now)
            self._counts[pod.place] += 1
        elif pod.place is Place.IN_FLIGHT:
            pod.taken_at = ANY_HELPS
            return
        pod.priority = priority
        self._activate(pod)

    def remove(self, key: str) -> None:
        """The pod waits no longer."""
        pod = self._pods.pop(key, None)
        if pod is not None:
            self._leave(pod)
            self._counts[pod.place] -= 1

    def pop(self, limit: int, now: float) -> list[Waiting]:
        """The most important pods that may be tried now, the oldest first among equals; they are in flight then."""
        self._wake(now)
        found: list[Waiting] = []
        while self._active and len(found) < limit:
            *_, key, turn = heapq.heappop(self._active)
            pod = self._pods.get(key)
            if pod is None or pod.turn != turn:
                continue
            self._move(pod, Place.IN_FLIGHT)
            pod.attempts += 1
            pod.taken_at = self._changes
            found.append(pod)
        return found

    def refuse(self, key: str, refused_by: Iterable[str], now: float) -> None:
        """No node takes the pod, by the verdict of these filters."""
        pod = self._pods.get(key)
        if pod is None:
            return
        pod.refused_by = frozenset(refused_by)
        pod.not_before = now + pause_seconds(pod.attempts)
        if self._was_helped(pod):
            self._pause(pod)
            return
        self._move(pod, Place.UNSCHEDULABLE)
        for plugin in pod.refused_by or {""}:
            self._refused_by[plugin].add(key)
        heapq.heappush(self._timed, (now + FLUSH_SECONDS, key, pod.turn))

    def retry(self, key: str, now: float) -> None:
        """Something went wrong that has nothing to do with the cluster: the pod is tried again after a pause."""
        pod = self._pods.get(key)
        if pod is not None:
            pod.not_before = now + pause_seconds(pod.attempts)
            self._pause(pod)

    def note(self, change: Change, now: float) -> None:
        """The cluster changed: let those go on that it may help."""
        self._changes += 1
        self._last_change[change] = self._changes
        if not self._refused_by:
            return
        for plugin in (*HELPS[change], ""):
            for key in self._refused_by.pop(plugin, ()):
                pod = self._pods[key]
                if pod.not_before > now:
                    self._pause(pod)
                else:
                    self._activate(pod)

    def next_wake(self) -> float | None:
        """When a pod becomes active without any change; None when only changes can help."""
        while self._timed:
            at, key, turn = self._timed[0]
            pod = self._pods.get(key)
            if pod is not None and pod.turn == turn:
                return at
            heapq.heappop(self._timed)
        return None

    @property
    def has_active(self) -> bool:
        """Whether a pod may be tried now."""
        while self._active:
            *_, key, turn = self._active[0]
            pod = self._pods.get(key)
            if pod is not None and pod.turn == turn:
                return True
            heapq.heappop(self._active)
        return False

    def _wake(self, now: float) -> None:
        while (at := self.next_wake()) is not None and at <= now:
            _, key, _ = heapq.heappop(self._timed)
            self._activate(self._pods[key])

    def _activate(self, pod: Waiting) -> None:
        self._move(pod, Place.ACTIVE)
        heapq.heappush(self._active, (-pod.priority, pod.since, pod.key, pod.turn))

    def _pause(self, pod: Waiting) -> None:
        self._move(pod, Place.BACKOFF)
        heapq.heappush(self._timed, (pod.not_before, pod.key, pod.turn))

    def _move(self, pod: Waiting, place: Place) -> None:
        self._leave(pod)
        self._counts[pod.place] -= 1
        self._counts[place] += 1
        pod.place = place
        pod.turn += 1

    def _leave(self, pod: Waiting) -> None:
        if pod.place is Place.UNSCHEDULABLE:
            for plugin in pod.refused_by or {""}:
                self._refused_by[plugin].discard(pod.key)

    def _was_helped(self, pod: Waiting) -> bool:
        """Whether something happened, while it was in flight, that could change the verdict."""
        happened = (change for change, number in self._last_change.items() if number > pod.taken_at)
        return any(not pod.refused_by or HELPS[change] & pod.refused_by for change in happened)


def pause_seconds(attempts: int) -> float:
    """How long a pod pauses after so many attempts: 1 s, doubled up to 10 s."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(max(attempts - 1, 0), 10), LAST_BACKOFF_SECONDS)
