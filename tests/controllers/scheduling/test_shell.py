"""The live scheduler on a real API server."""

import itertools
import json
from functools import partial

import pytest

from sparsam.client.informer import InformerFactory
from sparsam.clock import SystemClock
from sparsam.controllers.runtime import Context
from sparsam.controllers.scheduling.main import SchedulingConfig, run_scheduling
from sparsam.controllers.scheduling.writing import PLACEMENT_ANNOTATION, SHADOW_ANNOTATION
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.errors import Invalid
from sparsam.objects.kinds import (
    CONFIGMAPS,
    EVENTS,
    NODEPOWERS,
    NODES,
    PODS,
    POWERPOLICIES,
    PRIORITYCLASSES,
    SERVICEACCOUNTS,
)
from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from tests.support.controllers import controlled, eventually, running
from tests.support.scheduling import node, pod, watts


class SchedulerPart:
    """The scheduler in the shape in which tests run controllers."""

    def __init__(self, context: Context, config: SchedulingConfig | None = None) -> None:
        self._context, self._config = context, config or SchedulingConfig()
        self.controller = self

    async def run(self) -> None:
        await run_scheduling(self._context, self._config)


def _full(obj, kind):
    return {"apiVersion": "v1", "kind": kind, **obj}


async def make_node(client, *arguments, **options):
    built = _full(node(*arguments, **options), "Node")
    status = built.pop("status")
    created = await client.create(NODES, built)
    created["spec"]["taints"] = options.get("taints", [])
    created = await client.update(NODES, created)
    await client.patch(NODES, built["metadata"]["name"], {"status": status}, subresource="status")


async def bound(client, name):
    async def look():
        found = await client.get(PODS, name, "default")
        return found if found["spec"].get("nodeName") else None

    return await eventually(look)


async def refusal(client, name):
    conditions = (await client.get(PODS, name, "default")).get("status", {}).get("conditions") or []
    return next((each.get("message") for each in conditions if each["type"] == "PodScheduled"), None)


async def test_a_pod_is_bound_where_it_costs_the_fewest_watts_and_says_so(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "hungry", annotations=watts(100, 500))
        await make_node(client, "thrifty", annotations=watts(50, 150))
        await client.create(PODS, _full(pod("p", cpu="1"), "Pod"))
        found = await bound(client, "p")
        assert found["spec"]["nodeName"] == "thrifty"
        why = json.loads(found["metadata"]["annotations"][PLACEMENT_ANNOTATION])
        assert why["wattsDelta"] == 25
        assert [(each["node"], each["wattsDelta"]) for each in why["ranked"]] == [("thrifty", 25), ("hungry", 100)]
        assert why["estimated"] is False

        async def told():
            events = (await client.list(EVENTS, "default"))["items"]
            return {event["reason"]: event["message"] for event in events if len(events) == 2}

        assert await eventually(told) == {
            "Scheduled": "Successfully assigned default/p to thrifty",
            "PlacedByWatts": "+25 W (modelled) on thrifty, best of 2 feasible node(s); next hungry at +100 W",
        }


async def test_models_come_from_a_config_map_where_nodes_have_none(tmp_path):
    model = profiles()[0].model
    models = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}}
    config = SchedulingConfig(models=("default", "m"))
    async with controlled(tmp_path, ServiceAccountController, partial(SchedulerPart, config=config)) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "plain", labels={"node.kubernetes.io/instance-type": "kind-1"})
        await client.create(PODS, _full(pod("p", cpu="1"), "Pod"))
        found = await bound(client, "p")
        assert json.loads(found["metadata"]["annotations"][PLACEMENT_ANNOTATION])["estimated"] is True
        await client.create(CONFIGMAPS, {**models, "data": {"kind-1": encode(model).decode()}})

        async def modelled():
            name = f"q{next(numbers)}"
            await client.create(PODS, _full(pod(name, cpu="100m"), "Pod"))
            annotations = (await bound(client, name))["metadata"]["annotations"]
            return json.loads(annotations[PLACEMENT_ANNOTATION])["estimated"] is False

        numbers = itertools.count()
        assert await eventually(modelled)


async def test_a_node_whose_meter_disowns_its_model_costs_more_than_one_that_can_be_relied_on(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        power = {"apiVersion": NODEPOWERS.api_version, "kind": NODEPOWERS.kind, "metadata": {"name": "broken"}}
        await client.create(NODEPOWERS, power)
        status = {"status": {"model": {"trust": "out_of_tolerance", "readings": 50}}}
        await client.patch(NODEPOWERS, "broken", status, subresource="status")
        await make_node(client, "broken", annotations=watts(100, 200))
        await make_node(client, "sound", annotations=watts(100, 220))
        await client.create(PODS, _full(pod("p", cpu="1"), "Pod"))
        assert (await bound(client, "p"))["spec"]["nodeName"] == "sound"


async def test_a_pod_that_fits_nowhere_says_why_and_is_bound_when_room_appears(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "small", cpu="1")
        await client.create(PODS, _full(pod("p", cpu="3"), "Pod"))

        async def condition():
            conditions = (await client.get(PODS, "p", "default")).get("status", {}).get("conditions") or []
            return [c for c in conditions if c["type"] == "PodScheduled"]

        [said] = await eventually(condition)
        assert (said["status"], said["reason"]) == ("False", "Unschedulable")
        assert said["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
        await make_node(client, "large", cpu="8")
        assert (await bound(client, "p"))["spec"]["nodeName"] == "large"


async def test_a_hundred_pods_fill_nodes_without_overfilling_any(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        for number in range(5):
            await make_node(client, f"n{number}", cpu="2")
        for number in range(100):
            await client.create(PODS, _full(pod(f"p{number}", cpu="100m"), "Pod"))

        async def all_bound():
            pods = (await client.list(PODS, "default"))["items"]
            return pods if all(p["spec"].get("nodeName") for p in pods) else None

        pods = await eventually(all_bound)
        per_node = [sum(p["spec"]["nodeName"] == f"n{number}" for p in pods) for number in range(5)]
        assert per_node == [20] * 5


async def test_what_cannot_be_honoured_yet_is_refused_by_name_and_others_go_on(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "n")
        claims = [{"name": "gpu", "resourceClaimName": "gpu"}]
        await client.create(PODS, _full(pod("p", resourceClaims=claims), "Pod"))
        await client.create(PODS, _full(pod("q"), "Pod"))
        assert "resource claims cannot be honoured" in (await eventually(lambda: refusal(client, "p")))
        assert await bound(client, "q")


async def test_a_power_policy_holds_for_its_namespaces_and_in_shadow_only_watches(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "hungry", cpu="8", annotations=watts(100, 500))
        await make_node(client, "thrifty", cpu="4", annotations=watts(50, 150))
        shadow = {"mode": "shadow", "schedulerNames": ["default-scheduler"]}
        policy = {"apiVersion": POWERPOLICIES.api_version, "kind": POWERPOLICIES.kind, "metadata": {"name": "watch"}}
        await client.create(POWERPOLICIES, {**policy, "spec": shadow})
        await client.create(PODS, _full(pod("warm", cpu="100m", schedulerName="sparsam"), "Pod"))
        assert (await bound(client, "warm"))["spec"]["nodeName"] == "thrifty"
        await client.create(PODS, _full(pod("p", cpu="1"), "Pod"))
        found = await bound(client, "p")
        annotations = found["metadata"]["annotations"]
        assert found["spec"]["nodeName"] == "hungry"
        assert json.loads(annotations[PLACEMENT_ANNOTATION])["policy"] == "kube-default"
        assert json.loads(annotations[SHADOW_ANNOTATION])["node"] == "thrifty"
        await client.delete(POWERPOLICIES, "watch")
        with pytest.raises(Invalid, match=r"spec.policy: Unsupported value: .best"):
            await client.create(POWERPOLICIES, {**policy, "spec": {"policy": "best"}})
        with pytest.raises(Invalid, match=r"spec.headroomRatio: Invalid value: 2.*between 0 and 0.9"):
            await client.create(POWERPOLICIES, {**policy, "spec": {"headroomRatio": 2}})


async def test_pods_that_repel_each_other_get_a_node_each(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        for name in ("a", "b"):
            await make_node(client, name, labels={"kubernetes.io/hostname": name})
        term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}
        affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        for name in ("p", "q", "r"):
            made = pod(name, affinity=affinity)
            made["metadata"]["labels"] = {"app": "db"}
            await client.create(PODS, _full(made, "Pod"))

        async def one_left():
            pods = (await client.list(PODS, "default"))["items"]
            left = [each for each in pods if not each["spec"].get("nodeName")]
            return left[0]["metadata"]["name"] if len(left) == 1 else None

        left = await eventually(one_left)
        words = await eventually(lambda: refusal(client, left))
        assert words.startswith("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.")
        pods = (await client.list(PODS, "default"))["items"]
        gone = next(each for each in pods if each["spec"].get("nodeName"))
        await client.delete(PODS, gone["metadata"]["name"], "default", grace_seconds=0)
        assert (await bound(client, left))["spec"]["nodeName"] == gone["spec"]["nodeName"]


async def test_a_more_important_pod_ends_others_and_takes_their_room(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, SchedulerPart) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "n", cpu="2")
        for name, value in (("low", 1), ("high", 1000)):
            kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
            await client.create(PRIORITYCLASSES, {**kind, "metadata": {"name": name}, "value": value})
        await client.create(PODS, _full(pod("small", cpu="1500m", priorityClassName="low"), "Pod"))
        await bound(client, "small")
        await client.create(PODS, _full(pod("big", cpu="1", priorityClassName="high"), "Pod"))

        async def leaving():
            victim = await client.get(PODS, "small", "default")
            return victim if "deletionTimestamp" in victim["metadata"] else None

        victim = await eventually(leaving)
        conditions = {each["type"]: each for each in victim["status"]["conditions"]}
        assert conditions["DisruptionTarget"]["reason"] == "PreemptionByScheduler"
        assert (await client.get(PODS, "big", "default"))["status"]["nominatedNodeName"] == "n"
        await client.delete(PODS, "small", "default", grace_seconds=0)
        assert (await bound(client, "big"))["spec"]["nodeName"] == "n"


async def test_a_fresh_scheduler_counts_what_was_bound_before(tmp_path):
    async with controlled(tmp_path, ServiceAccountController) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await make_node(client, "n", cpu="1")
        await client.create(PODS, _full(pod("old", cpu="800m", nodeName="n"), "Pod"))
        async with running(client, SchedulerPart):
            await client.create(PODS, _full(pod("new", cpu="500m"), "Pod"))

            async def refused():
                conditions = (await client.get(PODS, "new", "default")).get("status", {}).get("conditions") or []
                return [c for c in conditions if c.get("reason") == "Unschedulable"]

            await eventually(refused)


def test_contexts_share_informers():
    factory = InformerFactory(None)
    context = Context(None, factory, SystemClock())
    assert context.informer(PODS) is context.informer(PODS)
