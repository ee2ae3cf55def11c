"""Replica counts, case by case as upstream documents them, and what must hold whatever is measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.clock import format_time
from sparsam.controllers.autoscaling.replicas import (
    MetricError,
    PodMetric,
    Sizing,
    Tolerances,
    by_average,
    by_share,
    by_utilization,
    by_value,
    group_pods,
    requests_of,
    tolerances_of,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(name: str, *, request: str | None = "1", started_seconds: float = 3600, **status: Any) -> dict[str, Any]:
    started = NOW - timedelta(seconds=started_seconds)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(started)}
    resources = {"requests": {"cpu": request}} if request else {}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": resources}]},
        "status": {"phase": "Running", "startTime": format_time(started), "conditions": [ready], **status},
    }


def sizing(*pods: dict[str, Any], replicas: int | None = None, tolerances: Tolerances | None = None) -> Sizing:
    count = len(pods) if replicas is None else replicas
    return Sizing(pods, count, count, tolerances or Tolerances(), NOW)


def used(**millis: int) -> dict[str, PodMetric]:
    return {name: PodMetric(milli, NOW) for name, milli in millis.items()}


def pods(count: int) -> list[dict[str, Any]]:
    return [pod(f"p{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("millis", "target", "replicas", "percent"),
    [
        ((300, 500, 700), 30, 5, 50),
        ((100, 300, 500, 250, 250), 50, 3, 28),
        ((1020, 1020, 1020), 100, 3, 102),
        ((549, 549, 549), 50, 3, 54),
        ((559, 559, 559), 50, 3, 55),
        ((569, 569, 569), 50, 4, 56),
    ],
)
def test_utilization_is_cut_to_a_percent_and_held_against_the_target(millis, target, replicas, percent):
    metrics = used(**{f"p{number}": milli for number, milli in enumerate(millis)})
    found = by_utilization(sizing(*pods(len(millis))), metrics, target, "cpu", "")
    assert (found.replicas, found.utilization) == (replicas, percent)
    assert found.milli == sum(millis) // len(millis)


def test_pods_without_a_metric_count_full_on_the_way_down_and_nothing_on_the_way_up():
    four = sizing(*pods(4))
    assert by_utilization(four, used(p0=100, p1=100), 50, "cpu", "").replicas == 4
    assert by_utilization(four, used(p0=1000, p1=1000), 50, "cpu", "").replicas == 4
    assert by_utilization(four, used(p0=900, p1=900, p2=900), 50, "cpu", "").replicas == 6


def test_a_target_over_a_hundred_percent_is_also_what_unknown_pods_are_taken_to_use():
    three = sizing(*pods(3))
    assert by_utilization(three, used(p0=100, p1=100), 300, "cpu", "").replicas == 2


def test_pods_that_wait_are_taken_to_use_nothing_on_the_way_up():
    waiting = pod("p2", phase="Pending")
    metrics = used(p0=900, p1=900)
    assert by_utilization(sizing(*pods(2), waiting), metrics, 50, "cpu", "").replicas == 4
    assert by_utilization(sizing(*pods(2), waiting), used(p0=200, p1=200), 50, "cpu", "").replicas == 1


def test_pods_are_grouped_by_what_their_metric_is_worth():
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(NOW - timedelta(seconds=3595))}
    fresh = pod("fresh", started_seconds=30)
    settled = pod("settled", started_seconds=200)
    never = pod("never", conditions=[unready])
    later = pod("later", conditions=[unready | {"lastTransitionTime": format_time(NOW - timedelta(seconds=60))}])
    going, failed = pod("going"), pod("failed", phase="Failed")
    going["metadata"]["deletionTimestamp"] = format_time(NOW)
    waiting, unknown = pod("waiting", phase="Pending"), pod("unknown")
    everyone = [fresh, settled, never, later, going, failed, waiting, unknown]
    metrics = used(fresh=1, settled=1, never=1, later=1, going=1, failed=1, waiting=1)
    groups = group_pods(everyone, metrics, "cpu", NOW)
    assert groups.unready == {"fresh", "never", "waiting"}
    assert (groups.missing, groups.ignored) == ({"unknown"}, {"going", "failed"})
    assert groups.ready == 2
    assert group_pods(everyone, metrics, "memory", NOW).unready == {"waiting"}


def test_requests_are_those_of_the_pod_of_all_containers_or_of_one():
    two = pod("p")
    two["spec"]["containers"].append({"name": "d", "resources": {"requests": {"cpu": "250m"}}})
    two["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "init"},
    ]
    assert requests_of([two], "cpu", "") == {"p": 1300}
    assert requests_of([two], "cpu", "d") == {"p": 250}
    with pytest.raises(MetricError, match="container x not found in Pod p"):
        requests_of([two], "cpu", "x")
    two["spec"]["resources"] = {"requests": {"cpu": "2"}}
    assert requests_of([two], "cpu", "") == {"p": 2000}
    with pytest.raises(MetricError, match="missing request for cpu in container c of Pod q"):
        requests_of([pod("q", request=None)], "cpu", "")


@pytest.mark.parametrize(
    ("millis", "target", "replicas"),
    [((20_000, 10_000, 30_000), 15_000, 4), ((12_000, 12_000), 20_000, 2), ((10_000, 10_000), 20_000, 1)],
)
def test_averages_move_the_number_in_proportion(millis, target, replicas):
    metrics = used(**{f"p{number}": milli for number, milli in enumerate(millis)})
    assert by_average(sizing(*pods(len(millis))), metrics, target).replicas == replicas


def test_no_pods_and_no_metrics_are_errors():
    with pytest.raises(MetricError, match="no pods returned by selector"):
        by_average(sizing(), {}, 1)
    with pytest.raises(MetricError, match="did not receive metrics for targeted pods"):
        by_average(sizing(pod("p", phase="Pending")), used(p=1), 1)


def test_values_of_other_things_scale_what_is_ready():
    three = sizing(*pods(3))
    assert by_value(three, 20_000, 10_000).replicas == 6
    assert by_value(three, 10_500, 10_000).replicas == 3
    assert by_value(sizing(*pods(2), pod("w", phase="Pending")), 20_000, 10_000).replicas == 4
    assert by_value(sizing(replicas=0), 25_000, 10_000).replicas == 3
    with pytest.raises(MetricError, match="unable to calculate ready pods"):
        by_value(sizing(replicas=2), 25_000, 10_000)


def test_shares_of_other_things_are_rounded_up():
    assert by_share(sizing(*pods(3)), 8_600, 2_000).replicas == 5
    assert by_share(sizing(*pods(3)), 8_600, 2_000).milli == 2867
    assert by_share(sizing(*pods(4)), 8_600, 2_000).replicas == 4


def test_tolerances_are_by_direction():
    found = tolerances_of({"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "50m"}})
    assert (found.up, found.down) == (0.0, 0.05)
    assert tolerances_of(None) == Tolerances(0.1, 0.1)
    eager = sizing(*pods(3), tolerances=found)
    assert by_average(eager, used(p0=101, p1=101, p2=101), 100).replicas == 4


@given(
    millis=st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    unknown=st.integers(0, 4),
    target=st.integers(1, 200),
)
def test_what_is_unknown_never_enlarges_a_change(millis, unknown, target):
    known = [pod(f"p{number}") for number in range(len(millis))]
    metrics = used(**{f"p{number}": milli for number, milli in enumerate(millis)})
    everyone = [*known, *(pod(f"u{number}") for number in range(unknown))]
    ratio = (sum(millis) * 100 // (1000 * len(millis))) / target
    full = by_utilization(sizing(*everyone), metrics, target, "cpu", "").replicas
    assert full <= max(len(everyone), -(-ratio * len(everyone) // 1))
    if ratio > 1.0:
        assert full >= len(everyone)
    if ratio < 1.0:
        assert full <= len(everyone)
