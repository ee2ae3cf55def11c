"""What each of an autoscaler's metrics asks for: reads it, counts replicas, and tells what was seen.

Source: upstream's computeStatusFor... and computeReplicasForMetrics; texts of conditions and events are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsam.controllers.autoscaling import replicas as counting
from sparsam.controllers.autoscaling.metrics import MetricsReader
from sparsam.controllers.autoscaling.replicas import MetricError, Proposal, Sizing
from sparsam.objects.quantity import canonical
from sparsam.objects.selectors import go_label_selector
from sparsam.units import parse_millicores

Obj = dict[str, Any]

UNSEEN: Obj = {"type": ""}
"""What stands in the status for a metric that could not be read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One metric's proposal."""

    replicas: int
    name: str
    """What it is called in the reason of a change."""
    status: Obj


@dataclass(frozen=True, slots=True)
class Failed:
    """One metric that gave nothing: reason and message of the condition, and of an event."""

    reason: str
    detail: str
    message: str
    """The detail with what was being done, as the sum of all failures quotes it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all metrics ask for together."""

    replicas: int | None
    """None when too little is known to do anything."""
    name: str
    statuses: list[Obj]
    failures: list[Failed]

    @property
    def error(self) -> str:
        """All failures as one text; empty without any."""
        if not self.failures:
            return ""
        count = f"{len(self.failures)} invalid out of {len(self.statuses)}"
        return f"invalid metrics ({count}), first error is: {self.failures[0].message}"


def verdict(outcomes: Sequence[Seen | Failed], spec_replicas: int) -> Verdict:
    """The highest proposal. With a metric unknown, no proposal to shrink counts."""
    seen = [each for each in outcomes if isinstance(each, Seen)]
    failures = [each for each in outcomes if isinstance(each, Failed)]
    statuses = [each.status if isinstance(each, Seen) else UNSEEN for each in outcomes]
    highest = max(seen, key=lambda each: each.replicas, default=None)
    if highest is None or (failures and highest.replicas < spec_replicas):
        return Verdict(None, "", statuses, failures)
    return Verdict(highest.replicas, highest.name, statuses, failures)


async def evaluate(spec: Obj, namespace: str, selector: str, sizing: Sizing, reader: MetricsReader) -> Seen | Failed:
    """One metric of an autoscaler's spec."""
    kind = spec["type"]
    source = spec.get(kind[:1].lower() + kind[1:]) or {}
    match kind:
        case "Resource" | "ContainerResource":
            return await _resource(kind, source, namespace, selector, (sizing, reader))
        case "Pods":
            return await _pods(source, namespace, selector, sizing, reader)
        case "Object":
            return await _object(source, namespace, sizing, reader)
        case "External":
            return await _external(source, namespace, sizing, reader)
    text = f'unknown metric source type "{kind}"'
    return Failed("InvalidMetricSourceType", text, text)


async def _resource(
    kind: str, source: Obj, namespace: str, selector: str, means: tuple[Sizing, MetricsReader]
) -> Seen | Failed:
    (sizing, reader), resource, target = means, source["name"], source["target"]
    container = source.get("container", "")
    by_value = target.get("averageValue") is not None
    try:
        if not by_value and target.get("averageUtilization") is None:
            missing = "neither an average utilization target nor an average value (usage) target was set"
            raise MetricError(f"invalid resource metric source: {missing}")
        doing = f"failed to get {resource} {'usage' if by_value else 'utilization'}: "
        try:
            used = await reader.resource(resource, namespace, selector, container)
        except MetricError as error:
            raise MetricError(f"{doing}unable to get metrics for resource {resource}: {error}") from error
        try:
            if by_value:
                proposal = counting.by_average(sizing, used, parse_millicores(target["averageValue"]), resource)
            else:
                proposal = counting.by_utilization(sizing, used, target["averageUtilization"], resource, container)
        except MetricError as error:
            raise MetricError(f"{doing}{error}") from error
    except MetricError as error:
        about = f"{container} container" if container else f"{resource} resource"
        return Failed(f"FailedGet{kind}Metric", str(error), f"failed to get {about} metric value: {error}")
    current: Obj = {"averageValue": _quantity(proposal.milli)}
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
    part = kind[:1].lower() + kind[1:]
    shown = {"name": resource, **({"container": container} if container else {}), "current": current}
    name = f"{resource} resource"
    if not by_value:
        name = f"{resource}{' container' if container else ''} resource utilization (percentage of request)"
    return Seen(proposal.replicas, name, {"type": kind, part: shown})


async def _pods(source: Obj, namespace: str, selector: str, sizing: Sizing, reader: MetricsReader) -> Seen | Failed:
    metric, target = source["metric"], parse_millicores(source["target"]["averageValue"])
    try:
        try:
            used = await reader.of_pods(metric, namespace, selector)
        except MetricError as error:
            raise MetricError(f"unable to get metric {metric['name']}: {error}") from error
        proposal = counting.by_average(sizing, used, target)
    except MetricError as error:
        return Failed("FailedGetPodsMetric", str(error), f"failed to get pods metric value: {error}")
    shown = {"metric": _identifier(metric), "current": {"averageValue": _quantity(proposal.milli)}}
    return Seen(proposal.replicas, f"pods metric {metric['name']}", {"type": "Pods", "pods": shown})


async def _object(source: Obj, namespace: str, sizing: Sizing, reader: MetricsReader) -> Seen | Failed:
    metric, about, target = source["metric"], source["describedObject"], source["target"]
    by_value = target["type"] == "Value" and target.get("value") is not None
    try:
        if not by_value and (target["type"] != "AverageValue" or target.get("averageValue") is None):
            missing = "neither a value target nor an average value target was set"
            raise MetricError(f"invalid object metric source: {missing}")
        try:
            milli = await reader.of_object(metric, namespace, about)
        except MetricError as error:
            where = f"{about['kind']} {namespace}/{about['name']}"
            raise MetricError(f"unable to get metric {metric['name']}: {where} {error}") from error
        proposal = _sized(sizing, milli, target, by_value=by_value)
    except MetricError as error:
        doing = "" if by_value else f"failed to get {metric['name']} object metric: "
        return Failed("FailedGetObjectMetric", str(error), f"failed to get object metric value: {doing}{error}")
    current = {"value" if by_value else "averageValue": _quantity(proposal.milli)}
    shown = {"describedObject": about, "metric": _identifier(metric), "current": current}
    name = f"{about['kind']} metric {metric['name']}" if by_value else _external_name(metric)
    return Seen(proposal.replicas, name, {"type": "Object", "object": shown})


async def _external(source: Obj, namespace: str, sizing: Sizing, reader: MetricsReader) -> Seen | Failed:
    metric, target = source["metric"], source["target"]
    by_value = target.get("averageValue") is None
    name = metric["name"]
    try:
        if by_value and target.get("value") is None:
            missing = "neither a value target nor an average value target was set"
            raise MetricError(f"invalid external metric source: {missing}")
        try:
            milli = await reader.external(metric, namespace)
        except MetricError as error:
            where = f"{namespace}/{name}/{go_label_selector(metric.get('selector'))}"
            raise MetricError(f"unable to get external metric {where}: {error}") from error
        proposal = _sized(sizing, milli, target, by_value=by_value)
    except MetricError as error:
        doing = f"failed to get external metric {name}" if by_value else f"failed to get {name} external metric"
        message = f"failed to get {name} external metric value: {doing}: {error}"
        return Failed("FailedGetExternalMetric", str(error), message)
    current = {"value" if by_value else "averageValue": _quantity(proposal.milli)}
    shown = {"metric": _identifier(metric), "current": current}
    return Seen(proposal.replicas, _external_name(metric), {"type": "External", "external": shown})


def _sized(sizing: Sizing, milli: int, target: Obj, *, by_value: bool) -> Proposal:
    if by_value:
        return counting.by_value(sizing, milli, parse_millicores(target["value"]))
    return counting.by_share(sizing, milli, parse_millicores(target["averageValue"]))


def _identifier(metric: Obj) -> Obj:
    return {name: metric[name] for name in ("name", "selector") if metric.get(name) is not None}


def _external_name(metric: Obj) -> str:
    return f"external metric {metric['name']}({go_label_selector(metric.get('selector'))})"


def _quantity(milli: int) -> str:
    return canonical(f"{milli}m")
