"""HorizontalPodAutoscalers on a real API server whose one node is a scripted agent."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import time
from typing import Any

from aiohttp import web

from sparsam.apiserver.pki import ensure_pki, node_serving_identity
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.controllers.autoscaling.controller import HorizontalPodAutoscalers
from sparsam.controllers.replicaset import ReplicaSetController
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.objects.kinds import EVENTS, HORIZONTALPODAUTOSCALERS, NODES, PODS, REPLICASETS, SERVICEACCOUNTS
from tests.support.apiserver import SANS, free_port, serving
from tests.support.controllers import eventually, running
from tests.support.customresources import definition, established, version, widget, widgets

PARTS = (ServiceAccountController, HorizontalPodAutoscalers)
LONG_AGO = "2026-01-01T00:00:00Z"


@contextlib.asynccontextmanager
async def cluster(tmp_path: Any, *more: Any) -> Any:
    """A client of a server; on its node n1 the container of each of the pods p0 to p2 uses one core more per look."""
    seconds = itertools.count(0.0)

    async def metrics(_request: Any) -> web.Response:
        moment, cpu = time.time_ns() // 1_000_000, next(seconds)
        lines = [f"node_cpu_usage_seconds_total {cpu} {moment}"]
        for name in ("p0", "p1", "p2"):
            where = f'container="c",namespace="default",pod="{name}"'
            lines.append(f"container_cpu_usage_seconds_total{{{where}}} {cpu} {moment}")
        return web.Response(text="\n".join(lines) + "\n")

    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as client:
        ensure_pki(server.pki_dir, sans=SANS, identities=[node_serving_identity("n1", "127.0.0.1")])
        agent = web.Application()
        agent.router.add_get("/metrics/resource", metrics)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server.pki_dir / "node-n1-serving.crt", server.pki_dir / "node-n1-serving.key")
        runner, port = web.AppRunner(agent), free_port()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        await client.create(NODES, {"metadata": {"name": "n1"}})
        reached = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        reached["addresses"] = [{"type": "InternalIP", "address": "127.0.0.1"}]
        await client.patch(NODES, "n1", {"status": reached}, subresource="status")
        try:
            async with running(client, *PARTS, *more):
                await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
                yield client
        finally:
            await runner.cleanup()


def replica_set(replicas: int, name: str = "web") -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def autoscaler(name: str = "web", target: str = "web", **spec: Any) -> dict[str, Any]:
    metric = {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1m"}}
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": target}
    wanted = {"scaleTargetRef": reference, "maxReplicas": 5, "metrics": [{"type": "Resource", "resource": metric}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": wanted | spec}


async def running_pods(client: Any, count: int) -> None:
    for number in range(count):
        name = f"p{number}"
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "a:1"}]}
        await client.create(
            PODS, {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}}, "spec": spec}
        )
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
        state = {"name": "c", "state": {"running": {}}, "ready": True, "image": "a:1", "imageID": "", "restartCount": 0}
        status = {"phase": "Running", "startTime": LONG_AGO, "conditions": [ready], "containerStatuses": [state]}
        await client.patch(PODS, name, {"status": status}, namespace="default", subresource="status")


async def with_condition(client: Any, kind: str, reason: str, name: str = "web") -> dict[str, Any]:
    async def look() -> Any:
        found = await client.get(HORIZONTALPODAUTOSCALERS, name, "default")
        conditions = found["status"].get("conditions") or ()
        return found if any((c["type"], c["reason"]) == (kind, reason) for c in conditions) else None

    return dict(await eventually(look))


async def replicas(client: Any) -> int:
    return int((await client.get(REPLICASETS, "web", "default"))["spec"]["replicas"])


async def reasons(client: Any) -> set[str]:
    return {each["reason"] for each in (await client.list(EVENTS, "default"))["items"]}


async def test_load_beyond_the_target_adds_replicas(tmp_path: Any):
    async with cluster(tmp_path) as client:
        await client.create(REPLICASETS, replica_set(2))
        await running_pods(client, 2)
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler(maxReplicas=3))
        found = await with_condition(client, "AbleToScale", "SucceededRescale")
        assert await replicas(client) == 3
        status = found["status"]
        assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 3)
        assert "lastScaleTime" in status
        assert status["currentMetrics"][0]["resource"]["name"] == "cpu"
        conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
        assert conditions["ScalingActive"] == ("True", "ValidMetricFound")
        assert conditions["ScalingLimited"] == ("True", "TooManyReplicas")
        await eventually(lambda: _told(client, "SuccessfulRescale"))


async def _told(client: Any, reason: str) -> bool:
    return reason in await reasons(client)


async def test_without_metrics_nothing_moves_and_the_reason_is_told(tmp_path: Any):
    async with cluster(tmp_path, ReplicaSetController) as client:
        await client.create(REPLICASETS, replica_set(2))
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler())
        found = await with_condition(client, "ScalingActive", "FailedGetResourceMetric")
        message = next(c["message"] for c in found["status"]["conditions"] if c["type"] == "ScalingActive")
        assert message == (
            "the HPA was unable to compute the replica count: failed to get cpu usage: unable to get metrics for "
            "resource cpu: no metrics returned from resource metrics API"
        )
        assert await replicas(client) == 2
        await eventually(lambda: _told(client, "FailedComputeMetricsReplicas"))


async def test_limits_hold_without_any_metric(tmp_path: Any):
    async with cluster(tmp_path) as client:
        await client.create(REPLICASETS, replica_set(9))
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler())
        await with_condition(client, "AbleToScale", "SucceededRescale")
        assert await replicas(client) == 5
        await client.patch(REPLICASETS, "web", {"spec": {"replicas": 0}}, namespace="default")
        await client.patch(HORIZONTALPODAUTOSCALERS, "web", {"spec": {"minReplicas": 2}}, namespace="default")
        await with_condition(client, "ScalingActive", "ScalingDisabled")
        await client.patch(REPLICASETS, "web", {"spec": {"replicas": 1}}, namespace="default")
        await client.patch(HORIZONTALPODAUTOSCALERS, "web", {"spec": {"minReplicas": 3}}, namespace="default")
        await eventually(lambda: _has(client, 3))


async def _has(client: Any, wanted: int) -> bool:
    return await replicas(client) == wanted


async def test_a_target_that_is_not_there_or_that_two_share_is_said(tmp_path: Any):
    async with cluster(tmp_path) as client:
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler("lost", "lost"))
        found = await with_condition(client, "AbleToScale", "FailedGetScale", "lost")
        assert "was unable to get the target's current scale" in found["status"]["conditions"][0]["message"]
        await client.create(REPLICASETS, replica_set(2))
        await running_pods(client, 2)
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler("web", maxReplicas=2))
        await with_condition(client, "ScalingActive", "ValidMetricFound")
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler("twin", maxReplicas=2))
        found = await with_condition(client, "ScalingActive", "AmbiguousSelector", "twin")
        message = next(c["message"] for c in found["status"]["conditions"] if c["type"] == "ScalingActive")
        assert message == "pods by selector app=web are controlled by multiple HPAs: [{twin default} {web default}]"


async def test_custom_resources_are_scaled_too(tmp_path: Any):
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    parts = {"status": {}, "scale": paths | {"labelSelectorPath": ".status.selector"}}
    async with cluster(tmp_path) as client:
        await established(client, definition(version(subresources=parts)))
        await client.create(widgets(), widget("web", replicas=9))
        status = {"status": {"replicas": 9, "selector": "app=web"}}
        await client.patch(widgets(), "web", status, namespace="default", subresource="status")
        reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "web"}
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler(scaleTargetRef=reference))
        await with_condition(client, "AbleToScale", "SucceededRescale")
        assert (await client.get(widgets(), "web", "default"))["spec"]["replicas"] == 5
