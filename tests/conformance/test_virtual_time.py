"""The digital twin against closed forms, and against a live scheduler on a real API server."""

import numpy as np
import pytest

from sparsam.controllers.scheduling.main import SchedulingConfig, run_scheduling
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.objects.kinds import NODES, PODS, SERVICEACCOUNTS
from sparsam.scheduling.policies import make_policy
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import Weights
from sparsam.simulation.fleet import parse_fleet
from sparsam.simulation.world import Rules, World
from tests.simulation.test_world import servers, trace
from tests.support.controllers import controlled, eventually

GROUPS = [{"model": model, "count": 3} for model in ("epyc-7742-1s", "xeon-e5-2660-2s", "xeon-platinum-8280-2s")]


def test_one_server_with_random_arrivals_is_the_queue_of_the_textbook():
    """M/M/1: utilization rho, mean wait rho / (mu - lambda); energy is idle plus the share in use."""
    chance, pods, mean_seconds, load = np.random.default_rng(7), 6000, 1000.0, 0.6
    arrivals = np.cumsum(chance.exponential(mean_seconds / load, pods))
    times = chance.exponential(mean_seconds, pods)
    many = [(at, seconds, "1", {"batch": True}) for at, seconds in zip(arrivals, times, strict=True)]
    horizon = float(arrivals[-1])
    history = World(servers(1, cpu="1"), trace(*many, horizon=horizon), KubeDefault(), Rules(tick_seconds=1e9)).run()
    waits = history.started_seconds - arrivals
    # Lindley's recursion is exact for this sample; in the mean the order of those who wait does not matter.
    lindley = [0.0]
    for gap, seconds in zip(np.diff(arrivals), times, strict=False):
        lindley.append(max(lindley[-1] + seconds - gap, 0.0))
    assert np.nanmean(waits) == pytest.approx(np.mean(lindley), rel=0.02)
    assert np.nanmean(waits) == pytest.approx(mean_seconds * load / (1.0 - load), rel=0.15)
    assert history.core_seconds.sum() / horizon == pytest.approx(load, rel=0.03)
    assert history.joules.sum() == pytest.approx(100.0 * horizon + 100.0 * history.core_seconds.sum())


class SchedulerPart:
    def __init__(self, context, policy):
        self._context, self._policy = context, policy
        self.controller = self

    async def run(self):
        await run_scheduling(self._context, SchedulingConfig(policy=self._policy))


@pytest.mark.parametrize("policy", ["sparsam", "kube-default", "least-increase"])
async def test_the_live_scheduler_and_the_twin_place_the_same_pods_alike(tmp_path, policy):
    chance = np.random.default_rng(11)
    nodes = parse_fleet({"name": "small", "groups": GROUPS}, "fleet").node_objects()
    cores = chance.choice([1, 2, 4, 8], 60).tolist()
    arrivals = trace(*[(10.0 * number, np.inf, str(size)) for number, size in enumerate(cores)], horizon=1000.0)
    history = World(nodes, arrivals, make_policy(policy, Weights()), Rules(experienced=False)).run()
    wanted = [nodes[row]["metadata"]["name"] for row in history.node]

    async with controlled(tmp_path, ServiceAccountController, lambda each: SchedulerPart(each, policy)) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        for node in nodes:
            created = await client.create(NODES, {name: part for name, part in node.items() if name != "status"})
            created["spec"]["taints"] = []
            await client.update(NODES, created)
            name = node["metadata"]["name"]
            await client.patch(NODES, name, {"status": dict(node["status"])}, subresource="status")
        found = []
        for number, template in enumerate(arrivals.templates):
            metadata = {"name": f"p{number:02}", "namespace": "default"}
            await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata})

            async def placed(name=metadata["name"]):
                return (await client.get(PODS, name, "default"))["spec"].get("nodeName")

            found.append(await eventually(placed))
    assert found == wanted
