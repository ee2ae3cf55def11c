"""The three APIs that metrics come from: metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io.

Reads are over HTTP; what the answers mean is told by pure functions. Source: upstream's rest metrics client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.clock import parse_time
from sparsam.controllers.autoscaling.replicas import MetricError, PodMetric
from sparsam.controllers.scales import NoMatch, Scales
from sparsam.errors import NotFound, StatusError
from sparsam.objects.kinds import POD_METRICS
from sparsam.objects.selectors import format_label_selector
from sparsam.units import parse_millicores

Obj = dict[str, Any]

CUSTOM, EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
NOT_SERVED = "the server could not find the requested resource"
_DURATION = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """A duration as Go writes it (`1m0s`) in seconds."""
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(duration))


def resource_use(items: Iterable[Obj], resource: str, container: str) -> dict[str, PodMetric]:
    """What each pod, or its one container, uses of a resource; raises MetricError when a pod lacks the container."""
    found = {}
    for item in items:
        metadata, containers = item["metadata"], item.get("containers") or ()
        meant = [each for each in containers if container in ("", each["name"])]
        if container and not meant:
            where = f"{metadata.get('namespace', '')}/{metadata['name']}"
            raise MetricError(
                f"failed to get container metrics: container {container} not present in metrics for pod {where}"
            )
        amounts = [(each.get("usage") or {}).get(resource) for each in meant]
        if amounts and None not in amounts:
            milli = sum(parse_millicores(amount) for amount in amounts if amount is not None)
            window = seconds_of(item.get("window", "60s"))
            found[metadata["name"]] = PodMetric(milli, parse_time(item["timestamp"]), window)
    return found


def custom_values(items: Iterable[Obj]) -> dict[str, PodMetric]:
    """What the custom metrics API says of each described object."""
    found = {}
    for item in items:
        window = item.get("windowSeconds")
        moment = parse_time(item["timestamp"]) if item.get("timestamp") else None
        name = item["describedObject"]["name"]
        found[name] = PodMetric(parse_millicores(item["value"]), moment, 60.0 if window is None else float(window))
    return found


class MetricsReader:
    """Reads metrics; every method raises MetricError."""

    def __init__(self, client: ApiClient, scales: Scales) -> None:
        self._client, self._scales = client, scales

    async def resource(self, name: str, namespace: str, selector: str, container: str = "") -> dict[str, PodMetric]:
        """What the selected pods use of a resource."""
        failure = "unable to fetch metrics from resource metrics API"
        listed = await self._read(POD_METRICS.path(namespace=namespace), {"labelSelector": selector}, failure)
        if not listed.get("items"):
            raise MetricError("no metrics returned from resource metrics API")
        return resource_use(listed["items"], name, container)

    async def of_pods(self, metric: Obj, namespace: str, selector: str) -> dict[str, PodMetric]:
        """A custom metric of the selected pods."""
        params = {"labelSelector": selector, **_metric_selector(metric, "metricLabelSelector")}
        path = f"{await self._custom()}/namespaces/{namespace}/pods/*/{metric['name']}"
        listed = await self._read(path, params, "unable to fetch metrics from custom metrics API")
        if not listed.get("items"):
            raise MetricError("no metrics returned from custom metrics API")
        return custom_values(listed["items"])

    async def of_object(self, metric: Obj, namespace: str, about: Obj) -> int:
        """A custom metric of one object, in thousandths. A Namespace is always one's own."""
        failure = "unable to fetch metrics from custom metrics API"
        group = about.get("apiVersion", "").rpartition("/")[0]
        base = f"{await self._custom()}/namespaces/{namespace}"
        if (group, about["kind"]) == ("", "Namespace"):
            path = f"{base}/metrics/{metric['name']}"
        else:
            try:
                resource = await self._scales.lookup(group, about["kind"])
            except NoMatch as error:
                raise MetricError(f"{failure}: unable to map kind {about['kind']} to resource: {error}") from None
            path = f"{base}/{resource.group_resource}/{about['name']}/{metric['name']}"
        listed = await self._read(path, _metric_selector(metric, "metricLabelSelector"), failure)
        if not listed.get("items"):
            raise MetricError(f"{failure}: the custom metrics API server returned no metric {metric['name']}")
        return parse_millicores(listed["items"][0]["value"])

    async def external(self, metric: Obj, namespace: str) -> int:
        """The sum of an external metric's values, in thousandths."""
        path = f"/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{metric['name']}"
        failure = "unable to fetch metrics from external metrics API"
        listed = await self._read(path, _metric_selector(metric, "labelSelector"), failure)
        if not listed.get("items"):
            raise MetricError("no metrics returned from external metrics API")
        return sum(parse_millicores(item["value"]) for item in listed["items"])

    async def _custom(self) -> str:
        """The path of the custom metrics API's best version that is served."""
        unserved = MetricError(
            f"unable to fetch metrics from custom metrics API: no custom metrics API ({CUSTOM}) registered"
        )
        try:
            group = await self._client.get_json(f"/apis/{CUSTOM}")
        except NotFound:
            raise unserved from None
        except StatusError as error:
            raise MetricError(f"unable to fetch metrics from custom metrics API: {error}") from error
        served = {each["version"] for each in group.get("versions") or ()}
        for version in CUSTOM_VERSIONS:
            if version in served:
                return f"/apis/{CUSTOM}/{version}"
        raise unserved

    async def _read(self, path: str, params: dict[str, str], failure: str) -> Obj:
        try:
            return await self._client.get_json(path, params)
        except StatusError as error:
            raise MetricError(f"{failure}: {str(error) or NOT_SERVED}") from error


def _metric_selector(metric: Obj, parameter: str) -> dict[str, str]:
    selector = metric.get("selector")
    text = format_label_selector(selector) if selector else ""
    return {parameter: text} if text else {}
