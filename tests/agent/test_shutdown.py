"""A node that goes down: by priority, in time, and back again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sparsam.agent.shutdown import GOING_DOWN, STATE_FILE, Group, Order, Shutdown, groups
from sparsam.clock import SystemClock
from tests.support.agent import Engine, Node, container, phase, pod, ready


@pytest.mark.parametrize(
    ("grace", "critical", "first", "last"), [(30, 10, 20, 10), (30, 0, 30, 0), (10, 30, 0, 10), (0, 0, 0, 0)]
)
def test_critical_pods_have_the_last_part_of_the_time(grace: int, critical: int, first: int, last: int):
    assert groups(grace, critical) == [Group(first, critical=False), Group(last, critical=True)]


@contextlib.asynccontextmanager
async def going_down(node: Node, **seconds: int) -> AsyncIterator[tuple[Order, list[str]]]:
    order, said = Order(), []
    config = replace(node.config, **seconds)
    task = asyncio.create_task(Shutdown(config, node.pods, order, SystemClock(), said.append).run())
    try:
        yield order, said
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        node.pods.closed = False


def failed_in_order(node: Node) -> list[str]:
    """Names of pods as their failure was reported."""
    failed = (each["metadata"]["name"] for each in node.api.history if each["status"].get("phase") == "Failed")
    return list(dict.fromkeys(failed))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.needs_root
@pytest.mark.needs_containerd
async def test_pods_end_by_priority_with_upstreams_words_and_newcomers_are_turned_away(engine: Engine, node: Node):
    polite = container(command="trap 'exit 0' TERM; while true; do sleep 0.1; done")
    critical = node.run(pod(polite, name="critical", priority=2_000_001_000))
    usual = node.run(pod(polite, name="usual"))
    stubborn = container(command="trap '' TERM; while true; do sleep 1; done")
    deaf = node.run(pod(stubborn, name="deaf", terminationGracePeriodSeconds=600))
    for each in (critical, usual, deaf):
        await node.api.until(each, ready)
    async with going_down(node, shutdown_seconds=6, shutdown_critical_seconds=4) as (order, said):
        order.give()
        await asyncio.wait_for(order.done.wait(), 60)
        assert said == [GOING_DOWN]
        state = json.loads((node.config.data_dir / STATE_FILE).read_text())
        assert (state["ended"], state["podsLeft"]) == (True, 0)
        for each in (critical, usual, deaf):
            status = (await node.api.until(each, phase("Failed")))["status"]
            assert status["reason"] == "Terminated"
            assert status["message"] == "Pod was terminated in response to imminent node shutdown."
            target = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
            assert target["reason"] == "TerminationByKubelet"
        assert failed_in_order(node)[-1] == "critical"
        late = node.run(pod(container(), name="late"))
        status = (await node.api.until(late, phase("Failed")))["status"]
        assert (status["reason"], status["message"]) == (
            "NodeShutdown",
            "Pod was rejected as the node is shutting down.",
        )
        order.withdraw()
        async with asyncio.timeout(20):
            while said[-1] != "":
                await asyncio.sleep(0.02)
        welcome = node.run(pod(container(), name="welcome"))
        await node.api.until(welcome, ready)
        assert not (node.config.data_dir / STATE_FILE).exists()
