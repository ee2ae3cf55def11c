"""Pods on a real containerd, with a fake of the API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.agent import Engine, Node, container, machine_traces, pod, ready

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_containerd]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def node(engine: Engine) -> AsyncIterator[Node]:
    async with engine.agent() as node:
        yield node
        for current in list(node.api.pods.values()):
            node.delete(current, grace=0)
            await node.api.until_gone(current)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pod_runs_gets_an_address_and_leaves_nothing_behind(engine: Engine, node: Node):
    before = machine_traces(str(engine.base))
    began = time.monotonic()
    web = node.run(pod(container(command="httpd -f -p 8080")))
    running = await node.api.until(web, ready)
    print("running after", time.monotonic() - began, running["status"])
    assert running["status"]["phase"] == "Running"
    assert running["status"]["podIP"].startswith(engine.config.pod_cidr.rpartition(".")[0])
    assert node.api.reasons() == ["Pulled", "Created", "Started"]
    node.delete(web)
    await node.api.until_gone(web)
    after = machine_traces(str(engine.base))
    after["links"] = [link for link in after["links"] if link != engine.config.bridge]
    before["links"] = [link for link in before["links"] if link != engine.config.bridge]
    assert after == before
    assert await node.cri.list_sandboxes() == []
    assert not list(engine.config.pods_dir.iterdir())
    assert not list(engine.config.logs_dir.iterdir())
