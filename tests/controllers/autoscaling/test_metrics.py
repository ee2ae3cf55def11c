"""Reading metrics from adapters that are laid down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sparsam.controllers.autoscaling.metrics import MetricsReader, custom_values, resource_use, seconds_of
from sparsam.controllers.autoscaling.replicas import MetricError, PodMetric
from sparsam.controllers.scales import Scales
from tests.support.metricsapi import answering

STAMP = "2026-01-01T00:00:00Z"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CUSTOM = "/apis/custom.metrics.k8s.io"


def pod_metrics(name: str, **cpu: str) -> dict[str, Any]:
    containers = [{"name": each, "usage": {"cpu": amount}} for each, amount in cpu.items()]
    return {
        "metadata": {"name": name, "namespace": "t"},
        "timestamp": STAMP,
        "window": "15s",
        "containers": containers,
    }


@pytest.mark.parametrize(("text", "seconds"), [("15s", 15), ("1m0s", 60), ("1h2m3.5s", 3723.5), ("300ms", 0.3)])
def test_durations_as_go_writes_them(text, seconds):
    assert seconds_of(text) == pytest.approx(seconds)


def test_a_pods_use_is_its_containers_together_or_one_of_them():
    items = [pod_metrics("p", a="250m", b="1"), pod_metrics("none")]
    assert resource_use(items, "cpu", "") == {"p": PodMetric(1250, MOMENT, 15.0)}
    assert resource_use(items[:1], "cpu", "a") == {"p": PodMetric(250, MOMENT, 15.0)}
    assert resource_use(items[:1], "memory", "") == {}
    with pytest.raises(MetricError, match="container a not present in metrics for pod t/none"):
        resource_use(items, "cpu", "a")


def test_custom_values_carry_their_window():
    item = {"describedObject": {"name": "p"}, "value": "1500m", "timestamp": STAMP, "windowSeconds": 30}
    assert custom_values([item]) == {"p": PodMetric(1500, MOMENT, 30.0)}


async def test_each_api_is_asked_as_upstream_asks_it():
    async with answering() as api:
        reader = MetricsReader(api.client, Scales(api.client))
        pods = "/apis/metrics.k8s.io/v1beta1/namespaces/t/pods"
        version = f"{CUSTOM}/v1beta1"
        value = {"describedObject": {"name": "p"}, "value": "3", "timestamp": STAMP}
        api.answers = {
            pods: {"items": [pod_metrics("p", a="1")]},
            CUSTOM: {"versions": [{"version": "v1beta1"}]},
            f"{version}/namespaces/t/pods/*/rate": {"items": [value]},
            f"{version}/namespaces/t/ingresses.networking.k8s.io/main/rate": {"items": [value]},
            f"{version}/namespaces/t/metrics/rate": {"items": [value]},
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/t/queue": {"items": [{"value": "1"}, {"value": "500m"}]},
        }
        assert (await reader.resource("cpu", "t", "app=x"))["p"].milli == 1000
        rate = {"name": "rate", "selector": {"matchLabels": {"verb": "GET"}}}
        assert (await reader.of_pods(rate, "t", "app=x"))["p"].milli == 3000
        assert api.asked[-1][1] == {"labelSelector": "app=x", "metricLabelSelector": "verb=GET"}
        ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"}
        assert await reader.of_object(rate, "t", ingress) == 3000
        assert await reader.of_object(rate, "t", {"apiVersion": "v1", "kind": "Namespace", "name": "other"}) == 3000
        queue = {"name": "queue", "selector": {"matchLabels": {"q": "a"}}}
        assert await reader.external(queue, "t") == 1500
        assert api.asked[-1][1] == {"labelSelector": "q=a"}


async def test_what_is_not_served_is_said_in_upstreams_words():
    async with answering() as api:
        reader = MetricsReader(api.client, Scales(api.client))
        with pytest.raises(MetricError, match="unable to fetch metrics from resource metrics API: not here"):
            await reader.resource("cpu", "t", "app=x")
        with pytest.raises(MetricError, match=r"no custom metrics API \(custom\.metrics\.k8s\.io\) registered"):
            await reader.of_pods({"name": "rate"}, "t", "app=x")
        with pytest.raises(MetricError, match="unable to fetch metrics from external metrics API"):
            await reader.external({"name": "queue"}, "t")
        api.answers["/apis/metrics.k8s.io/v1beta1/namespaces/t/pods"] = {"items": []}
        with pytest.raises(MetricError, match="no metrics returned from resource metrics API"):
            await reader.resource("cpu", "t", "app=x")
        api.answers[CUSTOM] = {"versions": [{"version": "v1beta2"}]}
        with pytest.raises(MetricError, match="unable to map kind Thing to resource: no matches for kind"):
            await reader.of_object({"name": "rate"}, "t", {"apiVersion": "x.example/v1", "kind": "Thing", "name": "a"})
