"""A hollow fleet on a real API server."""

import asyncio
import contextlib

import pytest

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.clock import SystemClock
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.errors import NotFound, SparsamError
from sparsam.hollow.main import HollowConfig, HollowFleet, remove, run
from sparsam.hollow.node import DESIRED_ANNOTATION
from sparsam.objects.kinds import LEASES, NODEPOWERS, NODES, PODS, SERVICEACCOUNTS
from tests.support.apiserver import serving
from tests.support.controllers import eventually, running
from tests.support.scheduling import node, watts


def fleet_nodes(count):
    built = [node(f"hollow-{n}", cpu="4", annotations=watts(100, 200), labels={"rack": "r1"}) for n in range(count)]
    for each in built:
        each["status"]["capacity"] = each["status"]["allocatable"]
    return built


@pytest.fixture
async def cluster(tmp_path):
    async with serving(tmp_path) as server:
        config = load_kubeconfig(server.kubeconfig)
        async with ApiClient(config) as client, running(client, ServiceAccountController):
            await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
            yield client, config


@contextlib.asynccontextmanager
async def playing(config, count=2, **settings):
    fleet = HollowConfig(config, "test", fleet_nodes(count), renew_seconds=0.2, power_seconds=0.1, **settings)
    task = asyncio.create_task(run(fleet))
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def pod(name, annotations=None, **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}
    metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
    spec = {"nodeName": "hollow-0", "containers": [container], "terminationGracePeriodSeconds": 30, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def ready(found):
    return next(each["status"] for each in found["status"]["conditions"] if each["type"] == "Ready")


async def phase(client, name, wanted):
    async def look():
        found = await client.get(PODS, name, "default")
        return found if found["status"]["phase"] == wanted else None

    return await eventually(look, f"{name} {wanted}")


async def power(client, condition, name="hollow-0"):
    async def look():
        status = (await client.get(NODEPOWERS, name)).get("status", {})
        return status if "watts" in status and condition(status) else None

    return await eventually(look)


async def test_nodes_register_keep_their_leases_and_tell_their_watts(cluster):
    client, config = cluster
    async with playing(config):
        found = await eventually(lambda: client.get(NODES, "hollow-1"))
        assert ready(found) == "True"
        assert found["metadata"]["labels"]["rack"] == "r1"
        assert found["status"]["capacity"]["cpu"] == "4"
        lease = await eventually(lambda: client.get(LEASES, "hollow-1", "kube-node-lease"))
        assert lease["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]

        async def renewed():
            now = await client.get(LEASES, "hollow-1", "kube-node-lease")
            return now["spec"]["renewTime"] > lease["spec"]["renewTime"]

        await eventually(renewed)
        status = await power(client, lambda status: True)
        assert (status["watts"], status["provenance"]) == (100.0, "estimated")


async def test_a_pod_runs_in_name_draws_watts_and_ends_when_it_says(cluster):
    client, config = cluster
    async with playing(config):
        await eventually(lambda: client.get(NODES, "hollow-0"))
        await client.create(PODS, pod("service"))
        await client.create(PODS, pod("batch", {"sparsam.dev/run-seconds": "1.5"}, restartPolicy="Never"))
        running = await phase(client, "service", "Running")
        assert running["status"]["containerStatuses"][0]["ready"] is True
        assert running["status"]["podIP"]
        full = await power(client, lambda status: status["utilization"] == 1.0)
        assert full["watts"] == 200.0
        assert {each["name"]: each["watts"] for each in full["pods"]} == {"service": 50.0, "batch": 50.0}
        ended = await phase(client, "batch", "Succeeded")
        assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
        await power(client, lambda status: status["watts"] == 150.0)
        await client.delete(PODS, "service", "default")
        await power(client, lambda status: status["watts"] == 100.0)
        with pytest.raises(NotFound):
            await client.get(PODS, "service", "default")


async def test_a_node_sleeps_and_fails_on_command(cluster):
    client, config = cluster

    async def desire(what):
        await client.patch(NODES, "hollow-0", {"metadata": {"annotations": {DESIRED_ANNOTATION: what}}})

    async with playing(config):
        await eventually(lambda: client.get(NODES, "hollow-0"))
        await desire("asleep")
        asleep = await power(client, lambda status: status["state"] == "FallingAsleep")
        assert asleep["watts"] == 100.0

        async def not_ready():
            return ready(await client.get(NODES, "hollow-0")) == "False"

        await eventually(not_ready)
        await client.create(PODS, pod("waits"))
        await asyncio.sleep(0.5)
        assert (await client.get(PODS, "waits", "default"))["status"]["phase"] == "Pending"


async def test_a_new_process_takes_nodes_and_pods_over(cluster):
    client, config = cluster
    async with playing(config):
        await eventually(lambda: client.get(NODES, "hollow-0"))
        await client.create(PODS, pod("p", {"sparsam.dev/run-seconds": "3"}, restartPolicy="Never"))
        before = await phase(client, "p", "Running")
    async with playing(config):
        after = await phase(client, "p", "Succeeded")
        assert after["status"]["startTime"] == before["status"]["startTime"]


async def test_a_node_that_is_somebody_elses_is_left_alone(cluster):
    client, config = cluster
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "hollow-0"}})
    fleet = HollowFleet(client, HollowConfig(config, "test", fleet_nodes(1)), SystemClock())
    with pytest.raises(ExceptionGroup) as caught:
        await fleet.register(lambda _: None)
    assert caught.group_contains(SparsamError, match="hollow-0 exists and is none of the hollow fleet test")
    assert await remove(client, "test") == 0
    await client.get(NODES, "hollow-0")


async def test_a_fleet_can_be_removed(cluster):
    client, config = cluster
    async with playing(config, 5):
        await eventually(lambda: client.get(NODES, "hollow-4"))
    assert await remove(client, "test") == 5
    assert (await client.list(NODES))["items"] == []
