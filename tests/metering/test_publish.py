import asyncio
import contextlib

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.clock import SystemClock
from sparsam.metering.publish import Metering
from sparsam.objects.kinds import NODEPOWERS, NODES
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION
from tests.support.apiserver import serving
from tests.support.controllers import eventually
from tests.support.metering import FakeMachine


async def test_a_node_has_a_node_power_that_follows_its_model(tmp_path):
    machine = FakeMachine(tmp_path / "machine")
    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as client:
        annotations = {IDLE_ANNOTATION: "70", MAX_ANNOTATION: "90"}
        node = await client.create(
            NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "annotations": annotations}}
        )
        metering = Metering("n1", machine.meter(), machine.model, client, SystemClock())
        task = asyncio.create_task(metering.run())

        async def published():
            return await client.get(NODEPOWERS, "n1")

        found = await eventually(published)
        assert found["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        assert machine.model.model.idle_watts == 70.0
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        machine.run(10.0)
        await metering.publish(node, await metering.meter.meter())
        status = (await client.get(NODEPOWERS, "n1"))["status"]
        assert (status["watts"], status["provenance"]) == (70.0, "estimated")


async def test_a_cluster_without_the_node_is_complained_of_once(tmp_path, caplog):
    machine = FakeMachine(tmp_path / "machine")
    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as client:
        metering = Metering("n1", machine.meter(), machine.model, client, SystemClock())
        metered = await metering.meter.meter()
        for _ in range(3):
            await metering._try_to_publish(metered)
    assert caplog.text.count("power not published") == 1
