"""StatefulSets on a real API server, with a kubelet of the test's own that makes pods ready."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.controllers.statefulset import StatefulSetController, claim_owners
from sparsam.controllers.volumeprotection import VolumeProtection
from sparsam.objects.kinds import (
    CONTROLLERREVISIONS,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SERVICEACCOUNTS,
    STATEFULSETS,
)
from tests.support.controllers import Kubelet, controlled, eventually, gone

PARTS = (ServiceAccountController, StatefulSetController, GarbageCollector, VolumeProtection, Kubelet)


@contextlib.asynccontextmanager
async def cluster(tmp_path: Any) -> Any:
    async with controlled(tmp_path, *PARTS) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        yield client


def stateful(replicas: int = 3, image: str = "a:1", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


async def settled(client: Any, replicas: int) -> dict[str, Any]:
    async def look() -> Any:
        found = await client.get(STATEFULSETS, "web", "default")
        status = found.get("status", {})
        same = status.get("currentRevision") == status.get("updateRevision")
        counts = [status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")]
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if fresh and same and counts == [replicas] * 4 else None

    return dict(await eventually(look))


async def names(client: Any) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in (await client.list(PODS, "default"))["items"])


async def set_image(client: Any, image: str) -> None:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await client.patch(STATEFULSETS, "web", change, namespace="default", kind="strategic")


async def test_pods_have_names_claims_and_a_history(tmp_path: Any):
    async with cluster(tmp_path) as client:
        await client.create(STATEFULSETS, stateful())
        found = await settled(client, 3)
        assert await names(client) == ["web-0", "web-1", "web-2"]
        pod = await client.get(PODS, "web-1", "default")
        revision = found["status"]["updateRevision"]
        assert pod["metadata"]["labels"] == {
            "app": "web",
            "apps.kubernetes.io/pod-index": "1",
            "controller-revision-hash": revision,
            "statefulset.kubernetes.io/pod-name": "web-1",
        }
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-1", "web")
        assert pod["spec"]["volumes"][0] == {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}
        claims = (await client.list(PERSISTENTVOLUMECLAIMS, "default"))["items"]
        assert sorted(claim["metadata"]["name"] for claim in claims) == ["data-web-0", "data-web-1", "data-web-2"]
        assert claims[0]["metadata"]["labels"] == {"app": "web"}
        await set_image(client, "a:2")
        await settled(client, 3)
        await set_image(client, "a:1")
        after = await settled(client, 3)
        assert after["status"]["updateRevision"] == revision
        numbers = [each["revision"] for each in (await client.list(CONTROLLERREVISIONS, "default"))["items"]]
        assert sorted(numbers) == [2, 3]

        async def told() -> Any:
            messages = {event["message"] for event in (await client.list(EVENTS, "default"))["items"]}
            return {
                "create Pod web-0 in StatefulSet web successful",
                "create Claim data-web-0 Pod web-0 in StatefulSet web success",
                "delete Pod web-2 in StatefulSet web successful",
            } <= messages

        await eventually(told)
        await asyncio.sleep(0.2)
        quiet = await client.get(STATEFULSETS, "web", "default")
        await asyncio.sleep(0.3)
        assert (await client.get(STATEFULSETS, "web", "default"))["metadata"] == quiet["metadata"]


async def test_claims_go_with_pods_scaled_away_and_with_the_set_when_told(tmp_path: Any):
    async with cluster(tmp_path) as client:
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        await client.create(STATEFULSETS, stateful(2, persistentVolumeClaimRetentionPolicy=policy))
        await settled(client, 2)
        await client.patch(STATEFULSETS, "web", {"spec": {"replicas": 1}}, namespace="default")
        await gone(lambda: client.get(PERSISTENTVOLUMECLAIMS, "data-web-1", "default"))
        await client.delete(STATEFULSETS, "web", "default", propagation="Background")
        await gone(lambda: client.get(PERSISTENTVOLUMECLAIMS, "data-web-0", "default"))
        await gone(lambda: client.get(PODS, "web-0", "default"))


def test_a_claims_owner_follows_the_retention_policy():
    claim: dict[str, Any] = {"metadata": {"ownerReferences": [{"uid": "somebody"}]}}
    pod = {"metadata": {"name": "web-1", "uid": "p"}}
    for deleted, scaled, replicas, owner in (
        ("Retain", "Retain", 2, None),
        ("Delete", "Retain", 2, "s"),
        ("Delete", "Retain", 1, "s"),
        ("Retain", "Delete", 2, None),
        ("Retain", "Delete", 1, "p"),
        ("Delete", "Delete", 2, "s"),
        ("Delete", "Delete", 1, "p"),
    ):
        owning = stateful(replicas, persistentVolumeClaimRetentionPolicy={"whenDeleted": deleted, "whenScaled": scaled})
        owning["metadata"]["uid"] = "s"
        uids = [reference["uid"] for reference in claim_owners(claim, owning, pod)]
        assert uids == ["somebody", *([owner] if owner else [])]


async def test_a_pod_that_is_deleted_comes_back_with_its_name_and_claim(tmp_path: Any):
    async with cluster(tmp_path) as client:
        await client.create(STATEFULSETS, stateful(2))
        await settled(client, 2)
        first = await client.get(PODS, "web-0", "default")
        claim = await client.get(PERSISTENTVOLUMECLAIMS, "data-web-0", "default")
        await client.delete(PODS, "web-0", "default")

        async def back() -> Any:
            return (await client.get(PODS, "web-0", "default"))["metadata"]["uid"] != first["metadata"]["uid"]

        await eventually(back)
        await settled(client, 2)
        again = await client.get(PERSISTENTVOLUMECLAIMS, "data-web-0", "default")
        assert again["metadata"]["uid"] == claim["metadata"]["uid"]
