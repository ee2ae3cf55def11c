"""How many replicas a metric asks for. Pure.

Source: upstream's podautoscaler replica calculator. All amounts are in thousandths, as quantities' milli values, and
divisions drop the rest where upstream's do: a point of utilization decides about a replica.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sparsam.clock import parse_time
from sparsam.units import parse_millicores, parse_quantity

Obj = dict[str, Any]

TOLERANCE = 0.1
INITIALIZATION_SECONDS = 300.0
"""How long after its start a pod's CPU is only counted while it is ready."""
READINESS_DELAY_SECONDS = 30.0
"""A pod that turned unready this soon after its start has never been ready."""
MOST_REPLICAS = 2**31 - 1
NO_PODS = "no pods returned by selector while calculating replica count"


class MetricError(Exception):
    """A metric that gives no number of replicas; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    """What one pod uses."""

    milli: int
    timestamp: datetime | None = None
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far from 1 the ratio of use to target may be before anything happens."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def hold(self, ratio: float) -> bool:
        """Whether the ratio is near enough."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Sizing:
    """Everything about the target that replicas are counted from."""

    pods: Sequence[Obj]
    spec_replicas: int
    status_replicas: int
    tolerances: Tolerances
    now: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """A number of replicas, and the use that it follows from."""

    replicas: int
    milli: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Pods by what their metrics are worth."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def tolerances_of(behavior: Obj | None) -> Tolerances:
    """Those of the behavior, each with its default (KEP-4951)."""
    found = Tolerances()
    for name, direction in (("scaleUp", "up"), ("scaleDown", "down")):
        tolerance = ((behavior or {}).get(name) or {}).get("tolerance")
        if tolerance is not None:
            found = replace(found, **{direction: float(parse_quantity(tolerance))})
    return found


def group_pods(pods: Iterable[Obj], metrics: Mapping[str, PodMetric], resource: str, now: datetime) -> Groups:
    """Tell apart ready pods, those that are not, those without a metric, and those that go."""
    ready = 0
    unready, missing, ignored = set(), set(), set()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        if "deletionTimestamp" in pod["metadata"] or status.get("phase") == "Failed":
            ignored.add(name)
        elif status.get("phase", "Pending") == "Pending":
            unready.add(name)
        elif name not in metrics:
            missing.add(name)
        elif resource == "cpu" and _starts_up(status, metrics[name], now):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _starts_up(status: Obj, metric: PodMetric, now: datetime) -> bool:
    """Whether the pod's CPU tells of its start rather than of its load."""
    conditions = status.get("conditions") or ()
    condition = next((each for each in conditions if each["type"] == "Ready"), None)
    if condition is None or not status.get("startTime"):
        return True
    started, unready = parse_time(status["startTime"]), condition["status"] == "False"
    since = condition.get("lastTransitionTime")
    changed = parse_time(since) if since else started
    if started + timedelta(seconds=INITIALIZATION_SECONDS) > now:
        measured = metric.timestamp or now
        return unready or measured < changed + timedelta(seconds=metric.window_seconds)
    return unready and started + timedelta(seconds=READINESS_DELAY_SECONDS) > changed


def requests_of(pods: Iterable[Obj], resource: str, container: str) -> dict[str, int]:
    """What each pod asks for, or its one container; raises MetricError for one that does not say."""
    return {pod["metadata"]["name"]: _request(pod, resource, container) for pod in pods}


def _request(pod: Obj, resource: str, container: str) -> int:
    spec, name = pod["spec"], pod["metadata"]["name"]
    whole = (spec.get("resources") or {}).get("requests")
    if whole and not container and resource in whole:
        return parse_millicores(whole[resource])
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    meant = [each for each in (*spec["containers"], *sidecars) if container in ("", each["name"])]
    if not meant:
        raise MetricError(f"container {container} not found in Pod {name}")
    total = 0
    for each in meant:
        request = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if request is None:
            raise MetricError(f"missing request for {resource} in container {each['name']} of Pod {name}")
        total += parse_millicores(request)
    return total


def by_utilization(
    sizing: Sizing, metrics: Mapping[str, PodMetric], target: int, resource: str, container: str
) -> Proposal:
    """Replicas that bring the use to `target` percent of the requests; raises MetricError."""
    groups, counted = _counted(sizing, metrics, resource)
    requests = requests_of(sizing.pods, resource, container)

    def ratio_of(used: Mapping[str, int]) -> tuple[float, int, int]:
        known = [name for name in used if name in requests]
        asked = sum(requests[name] for name in known)
        if asked == 0:
            raise MetricError("no metrics returned matched known pods")
        total = sum(used[name] for name in known)
        percent = total * 100 // asked
        return percent / target, percent, total // len(known)

    ratio, percent, average = ratio_of(counted)
    full = max(100, target)
    missing = {name: requests[name] * full // 100 for name in groups.missing}
    replicas = _replicas(
        sizing, groups, ratio, _filled(counted, groups, missing, ratio), lambda used: ratio_of(used)[0]
    )
    return Proposal(replicas, average, percent)


def by_average(sizing: Sizing, metrics: Mapping[str, PodMetric], target: int, resource: str = "") -> Proposal:
    """Replicas that bring the average use of a pod to `target`; raises MetricError."""
    groups, counted = _counted(sizing, metrics, resource)

    def ratio_of(used: Mapping[str, int]) -> float:
        return (sum(used.values()) // len(used)) / target

    ratio, average = ratio_of(counted), sum(counted.values()) // len(counted)
    missing = dict.fromkeys(groups.missing, target)
    replicas = _replicas(sizing, groups, ratio, _filled(counted, groups, missing, ratio), ratio_of)
    return Proposal(replicas, average)


def _counted(sizing: Sizing, metrics: Mapping[str, PodMetric], resource: str) -> tuple[Groups, dict[str, int]]:
    if not sizing.pods:
        raise MetricError(NO_PODS)
    groups = group_pods(sizing.pods, metrics, resource, sizing.now)
    left_out = groups.ignored | groups.unready
    counted = {name: metric.milli for name, metric in metrics.items() if name not in left_out}
    if not counted:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    return groups, counted


def _filled(
    counted: Mapping[str, int], groups: Groups, missing: Mapping[str, int], ratio: float
) -> dict[str, int] | None:
    """With what is not known taken against the change: full use on the way down, none on the way up.

    None when everything is known that matters.
    """
    up_with_unready = bool(groups.unready) and ratio > 1.0
    if not up_with_unready and not groups.missing:
        return None
    filled = dict(counted)
    if ratio < 1.0:
        filled |= missing
    elif ratio > 1.0:
        filled |= dict.fromkeys(groups.missing, 0)
    if up_with_unready:
        filled |= dict.fromkeys(groups.unready, 0)
    return filled


def _replicas(sizing: Sizing, groups: Groups, ratio: float, filled: dict[str, int] | None, ratio_of: Any) -> int:
    current, hold = sizing.spec_replicas, sizing.tolerances.hold
    if filled is None:
        return current if hold(ratio) else _bounded(ratio * groups.ready)
    again: float = ratio_of(filled)
    turned = (ratio < 1.0 < again) or (ratio > 1.0 > again)
    if hold(again) or turned:
        return current
    replicas = _bounded(again * len(filled))
    backwards = (again < 1.0 and replicas > current) or (again > 1.0 and replicas < current)
    return current if backwards else replicas


def by_value(sizing: Sizing, milli: int, target: int) -> Proposal:
    """Replicas that bring a metric of something else to `target`, if it falls as they grow; raises MetricError."""
    ratio = milli / target
    if sizing.spec_replicas == 0:
        return Proposal(_bounded(ratio), milli)
    if sizing.tolerances.hold(ratio):
        return Proposal(sizing.spec_replicas, milli)
    if not sizing.pods:
        raise MetricError(f"unable to calculate ready pods: {NO_PODS}")
    ready = sum(is_running_and_ready(pod) for pod in sizing.pods)
    return Proposal(_bounded(ratio * ready), milli)


def by_share(sizing: Sizing, milli: int, target: int) -> Proposal:
    """Replicas that each have `target` of a metric of something else."""
    replicas = sizing.status_replicas
    if replicas == 0:
        return Proposal(_bounded(milli / target), milli)
    if not sizing.tolerances.hold(milli / (target * replicas)):
        return Proposal(_bounded(milli / target), ceil(milli / replicas))
    return Proposal(replicas, ceil(milli / replicas))


def is_running_and_ready(pod: Obj) -> bool:
    """Runs, and says that it is ready."""
    status = pod.get("status") or {}
    conditions: Collection[Obj] = status.get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return status.get("phase") == "Running" and ready


def _bounded(replicas: float) -> int:
    return min(ceil(replicas), MOST_REPLICAS)
