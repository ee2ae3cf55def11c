"""From one metric's spec to its proposal, name and status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sparsam.controllers.autoscaling.evaluation import Failed, Seen, evaluate, verdict
from sparsam.controllers.autoscaling.metrics import MetricsReader
from sparsam.controllers.autoscaling.replicas import Sizing, Tolerances
from sparsam.controllers.scales import Scales
from tests.support.metricsapi import answering

STAMP = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
CUSTOM = "/apis/custom.metrics.k8s.io"


def pod(name: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": STAMP}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Running", "startTime": STAMP, "conditions": [ready]},
    }


TWO = Sizing([pod("a"), pod("b")], 2, 2, Tolerances(), NOW)
VALUE = {"describedObject": {"name": "a"}, "value": "40", "timestamp": STAMP}
ANSWERS = {
    "/apis/metrics.k8s.io/v1beta1/namespaces/t/pods": {
        "items": [
            {
                "metadata": {"name": name, "namespace": "t"},
                "timestamp": "2026-01-01T00:59:00Z",
                "window": "15s",
                "containers": [{"name": "c", "usage": {"cpu": "900m"}}],
            }
            for name in ("a", "b")
        ]
    },
    CUSTOM: {"versions": [{"version": "v1beta2"}]},
    f"{CUSTOM}/v1beta2/namespaces/t/pods/*/rate": {"items": [VALUE, VALUE | {"describedObject": {"name": "b"}}]},
    f"{CUSTOM}/v1beta2/namespaces/t/services/web/rate": {"items": [VALUE]},
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/t/queue": {"items": [{"value": "40"}]},
}
RATE, QUEUE = {"name": "rate"}, {"name": "queue", "selector": {"matchLabels": {"q": "a"}}}
ABOUT = {"apiVersion": "v1", "kind": "Service", "name": "web"}
QUEUE_NAME = (
    "external metric queue(&LabelSelector{MatchLabels:map[string]string{q: a,},"
    "MatchExpressions:[]LabelSelectorRequirement{},})"
)


async def outcome(spec: dict[str, Any], answers: dict[str, Any] | None = None) -> Seen | Failed:
    async with answering() as api:
        api.answers = ANSWERS if answers is None else answers
        return await evaluate(spec, "t", "app=x", TWO, MetricsReader(api.client, Scales(api.client)))


CASES: list[tuple[dict[str, Any], int, str, dict[str, Any]]] = [
    (
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 45}}},
        4,
        "cpu resource utilization (percentage of request)",
        {"name": "cpu", "current": {"averageValue": "900m", "averageUtilization": 90}},
    ),
    (
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "300m"}}},
        6,
        "cpu resource",
        {"name": "cpu", "current": {"averageValue": "900m"}},
    ),
    (
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": "cpu",
                "container": "c",
                "target": {"type": "Utilization", "averageUtilization": 30},
            },
        },
        6,
        "cpu container resource utilization (percentage of request)",
        {"name": "cpu", "container": "c", "current": {"averageValue": "900m", "averageUtilization": 90}},
    ),
    (
        {"type": "Pods", "pods": {"metric": RATE, "target": {"type": "AverageValue", "averageValue": "10"}}},
        8,
        "pods metric rate",
        {"metric": RATE, "current": {"averageValue": "40"}},
    ),
    (
        {
            "type": "Object",
            "object": {"metric": RATE, "describedObject": ABOUT, "target": {"type": "Value", "value": "10"}},
        },
        8,
        "Service metric rate",
        {"metric": RATE, "describedObject": ABOUT, "current": {"value": "40"}},
    ),
    (
        {
            "type": "Object",
            "object": {
                "metric": RATE,
                "describedObject": ABOUT,
                "target": {"type": "AverageValue", "averageValue": "8"},
            },
        },
        5,
        "external metric rate(nil)",
        {"metric": RATE, "describedObject": ABOUT, "current": {"averageValue": "20"}},
    ),
    (
        {"type": "External", "external": {"metric": QUEUE, "target": {"type": "Value", "value": "20"}}},
        4,
        QUEUE_NAME,
        {"metric": QUEUE, "current": {"value": "40"}},
    ),
    (
        {"type": "External", "external": {"metric": QUEUE, "target": {"type": "AverageValue", "averageValue": "4"}}},
        10,
        QUEUE_NAME,
        {"metric": QUEUE, "current": {"averageValue": "20"}},
    ),
]


@pytest.mark.parametrize(("spec", "replicas", "name", "shown"), CASES, ids=[f"{c[0]['type']}-{c[1]}" for c in CASES])
async def test_each_kind_of_metric_proposes_and_shows_what_it_saw(spec, replicas, name, shown):
    part = next(key for key in spec if key != "type")
    assert await outcome(spec) == Seen(replicas, name, {"type": spec["type"], part: shown})


@pytest.mark.parametrize("spec", [case[0] for case in CASES], ids=[f"{c[0]['type']}-{c[1]}" for c in CASES])
async def test_each_kind_fails_with_a_reason_of_its_own(spec):
    failed = await outcome(spec, {})
    assert isinstance(failed, Failed)
    assert failed.reason == f"FailedGet{spec['type']}Metric"
    assert failed.message.startswith("failed to get ")
    assert failed.message.endswith(failed.detail)


async def test_the_detail_of_a_failure_is_upstreams():
    failed = await outcome(CASES[0][0], {})
    assert isinstance(failed, Failed)
    assert failed.detail == (
        "failed to get cpu utilization: unable to get metrics for resource cpu: "
        "unable to fetch metrics from resource metrics API: not here"
    )


def test_the_highest_proposal_counts_and_the_unknown_forbids_to_shrink():
    high, low = Seen(5, "high", {"type": "A"}), Seen(2, "low", {"type": "B"})
    failed = Failed("Reason", "detail", "message")
    assert verdict([low, high], 3).name == "high"
    with_failure = verdict([failed, high], 3)
    assert (with_failure.replicas, with_failure.statuses) == (5, [{"type": ""}, {"type": "A"}])
    assert with_failure.error == "invalid metrics (1 invalid out of 2), first error is: message"
    assert verdict([failed, low], 3).replicas is None
    assert verdict([failed], 3).replicas is None
    assert verdict([low], 3).replicas == 2
