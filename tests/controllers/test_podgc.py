"""Pods that nobody else ends."""

from __future__ import annotations

from functools import partial
from typing import Any

from sparsam.controllers.podgc import PodGarbageCollector, stranded, superfluous
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.objects.kinds import PODS, SERVICEACCOUNTS
from tests.support.controllers import controlled, eventually, gone


def pod(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    metadata = {"name": name, "namespace": "kube-system", **fields}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def ended(name: str, born: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": born, **metadata}, "status": {"phase": "Failed"}}


def test_the_oldest_ended_pods_go_first():
    pods = [ended("b", "2026-02-01"), ended("a", "2026-01-01"), ended("c", "2026-03-01"), pod("runs")]
    assert [each["metadata"]["name"] for each in superfluous(pods, 1)] == ["a", "b"]
    assert superfluous(pods, 3) == []


def test_only_leaving_pods_without_a_node_are_stranded():
    assert stranded(pod("a", deletionTimestamp="2026-01-01"))
    assert not stranded(pod("a"))
    placed = pod("a", deletionTimestamp="2026-01-01")
    placed["spec"]["nodeName"] = "n"
    assert not stranded(placed)


async def test_a_stranded_pod_fails_and_waits_for_its_finalizers_alone(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, PodGarbageCollector) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "kube-system"))
        await client.create(PODS, pod("held", finalizers=["example.org/hold"]))
        await client.delete(PODS, "held", "kube-system")

        async def failed() -> Any:
            return (await client.get(PODS, "held", "kube-system"))["status"]["phase"] == "Failed"

        await eventually(failed)
        await client.patch(PODS, "held", {"metadata": {"finalizers": None}}, namespace="kube-system")
        await gone(lambda: client.get(PODS, "held", "kube-system"))


async def test_ended_pods_are_thinned_out(tmp_path: Any):
    collector = partial(PodGarbageCollector, kept=1, check_seconds=0.1)
    async with controlled(tmp_path, ServiceAccountController, collector) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "kube-system"))
        for name in ("a", "b", "c"):
            await client.create(PODS, pod(name))
            await client.patch(
                PODS, name, {"status": {"phase": "Succeeded"}}, namespace="kube-system", subresource="status"
            )

        async def one() -> Any:
            return len((await client.list(PODS, "kube-system"))["items"]) == 1

        await eventually(one)
