"""DaemonSets on a real API server, with a kubelet of the test's own that makes pods ready."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sparsam.controllers.daemonset import DaemonSetController
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.objects.kinds import CONTROLLERREVISIONS, DAEMONSETS, EVENTS, NODES, PODS, SERVICEACCOUNTS
from tests.support.controllers import Kubelet, controlled, eventually


@contextlib.asynccontextmanager
async def cluster(tmp_path: Any, *names: str) -> Any:
    async with controlled(tmp_path, ServiceAccountController, DaemonSetController, Kubelet) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        for name in names:
            await add_node(client, name)
        yield client


async def add_node(client: Any, name: str) -> None:
    """A node without the taint that new ones have until they are ready."""
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    await client.patch(NODES, name, {"spec": {"taints": None}})


def daemon_set(image: str = "a:1", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


async def settled(client: Any, count: int) -> dict[str, Any]:
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")

    async def look() -> Any:
        found = await client.get(DAEMONSETS, "d", "default")
        status = found.get("status", {})
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if fresh and [status.get(name, 0) for name in fields] == [count] * 4 else None

    return dict(await eventually(look))


async def pods(client: Any) -> list[Any]:
    return sorted((await client.list(PODS, "default"))["items"], key=lambda pod: pod["metadata"]["name"])


async def test_every_node_gets_one_also_those_that_come_later(tmp_path: Any):
    async with cluster(tmp_path, "n1", "n2") as client:
        await client.create(DAEMONSETS, daemon_set())
        await settled(client, 2)
        await add_node(client, "n3")
        await settled(client, 3)
        terms = [
            pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            for pod in await pods(client)
        ]
        wanted = {each["nodeSelectorTerms"][0]["matchFields"][0]["values"][0] for each in terms}
        assert wanted == {"n1", "n2", "n3"}
        await client.patch(NODES, "n3", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
        await settled(client, 2)
        await asyncio.sleep(0.2)
        quiet = await client.get(DAEMONSETS, "d", "default")
        await asyncio.sleep(0.3)
        assert (await client.get(DAEMONSETS, "d", "default"))["metadata"] == quiet["metadata"]


async def test_an_update_replaces_all_and_keeps_the_history(tmp_path: Any):
    async with cluster(tmp_path, "n1", "n2", "n3") as client:
        await client.create(DAEMONSETS, daemon_set())
        await settled(client, 3)
        change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:2"}]}}}}
        await client.patch(DAEMONSETS, "d", change, namespace="default", kind="strategic")
        await settled(client, 3)
        assert {pod["spec"]["containers"][0]["image"] for pod in await pods(client)} == {"a:2"}
        revisions = (await client.list(CONTROLLERREVISIONS, "default"))["items"]
        assert sorted(each["revision"] for each in revisions) == [1, 2]
        hashes = {pod["metadata"]["labels"]["controller-revision-hash"] for pod in await pods(client)}
        assert len(hashes) == 1


async def test_a_daemon_that_fails_is_killed_and_made_again(tmp_path: Any):
    async with cluster(tmp_path, "n1") as client:
        await client.create(DAEMONSETS, daemon_set())
        await settled(client, 1)
        (first,) = await pods(client)
        name = first["metadata"]["name"]
        await client.patch(PODS, name, {"status": {"phase": "Failed"}}, namespace="default", subresource="status")

        async def replaced() -> Any:
            found = await pods(client)
            return len(found) == 1 and found[0]["metadata"]["name"] != name

        await eventually(replaced)

        async def told() -> Any:
            events = (await client.list(EVENTS, "default"))["items"]
            return [event for event in events if event["reason"] == "FailedDaemonPod"]

        [event] = await eventually(told)
        assert event["message"].startswith(f"Found failed daemon pod default/{name} on node n1, will try to kill it")
