"""ReplicaSets and Deployments on a real API server, with a kubelet of the test's own that makes pods ready."""

import asyncio
import contextlib
from functools import partial

import pytest

from sparsam.client.informer import Informer
from sparsam.controllers.deployment import DeploymentController
from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.replicaset import ReplicaSetController, pods_to_delete
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.controllers.templatehash import template_hash
from sparsam.objects.kinds import DEPLOYMENTS, EVENTS, PODS, REPLICASETS, SERVICEACCOUNTS
from tests.support.controllers import READY, Kubelet, controlled, eventually, gone, running

PARTS = (ServiceAccountController, ReplicaSetController, DeploymentController, GarbageCollector)


@contextlib.asynccontextmanager
async def workloads(tmp_path, broken=()):
    async with controlled(tmp_path, *PARTS, partial(Kubelet, broken=broken)) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        yield client


def deployment(replicas=3, image="a:1", **spec):
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


async def status(client):
    return (await client.get(DEPLOYMENTS, "d", "default")).get("status", {})


async def rolled_out(client, replicas, revision):
    async def look():
        found = await client.get(DEPLOYMENTS, "d", "default")
        state = found.get("status", {})
        return (
            state.get("observedGeneration") == found["metadata"]["generation"]
            and found["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision") == str(revision)
            and state.get("updatedReplicas", 0) == replicas
            and state.get("availableReplicas", 0) == replicas
            and state.get("replicas", 0) == replicas
        )

    await eventually(look)


async def set_image(client, image):
    containers = [{"name": "c", "image": image}]
    await client.patch(
        DEPLOYMENTS,
        "d",
        {"spec": {"template": {"spec": {"containers": containers}}}},
        namespace="default",
        kind="strategic",
    )


async def sets(client):
    return sorted(
        (await client.list(REPLICASETS, "default"))["items"], key=lambda s: s["metadata"]["creationTimestamp"]
    )


async def test_a_deployment_comes_up_with_conditions_and_events(tmp_path):
    async with workloads(tmp_path) as client:
        await client.create(DEPLOYMENTS, deployment())
        await rolled_out(client, 3, 1)
        conditions = {c["type"]: (c["status"], c["reason"]) for c in (await status(client))["conditions"]}
        assert conditions == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        [replica_set] = await sets(client)
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert replica_set["metadata"]["name"] == f"d-{digest}"
        assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "d", "pod-template-hash": digest}
        assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] == "4"

        async def told():
            events = (await client.list(EVENTS, "default"))["items"]
            return {event["message"] for event in events if event["reason"] == "ScalingReplicaSet"}

        assert await eventually(told) == {f"Scaled up replica set d-{digest} from 0 to 3"}


async def test_an_update_keeps_within_its_bounds_and_an_undo_brings_the_old_set_back(tmp_path):
    async with workloads(tmp_path) as client:
        seen = []
        pods = Informer(client, PODS, "default")

        def watch(*_):
            live = [p for p in pods.items() if "deletionTimestamp" not in p["metadata"]]
            ready = [p for p in live if any(c["type"] == "Ready" for c in p["status"].get("conditions") or ())]
            seen.append((len(live), len(ready)))

        pods.add_handler(watch)
        following = asyncio.create_task(pods.run())
        try:
            rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
            await client.create(DEPLOYMENTS, deployment(4, strategy=rolling))
            await rolled_out(client, 4, 1)
            seen.clear()
            await set_image(client, "a:2")
            await rolled_out(client, 4, 2)
            assert max(live for live, _ in seen) <= 5
            assert min(ready for _, ready in seen) >= 3
        finally:
            following.cancel()
        first, second = await sets(client)
        assert (first["spec"]["replicas"], second["spec"]["replicas"]) == (0, 4)
        await set_image(client, "a:1")
        await rolled_out(client, 4, 3)
        after = {s["metadata"]["name"]: s for s in await sets(client)}
        assert after[first["metadata"]["name"]]["spec"]["replicas"] == 4
        assert (
            after[first["metadata"]["name"]]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"]
            == "1"
        )


async def test_recreate_never_runs_old_and_new_together(tmp_path):
    async with workloads(tmp_path) as client:
        mixed = []
        pods = Informer(client, PODS, "default")
        pods.add_handler(lambda *_: mixed.append(len({p["spec"]["containers"][0]["image"] for p in pods.items()})))
        following = asyncio.create_task(pods.run())
        try:
            await client.create(DEPLOYMENTS, deployment(3, strategy={"type": "Recreate"}))
            await rolled_out(client, 3, 1)
            await set_image(client, "a:2")
            await rolled_out(client, 3, 2)
        finally:
            following.cancel()
        assert max(mixed) == 1


async def test_a_deployment_that_grows_amid_a_rollout_parts_the_growth_among_its_sets(tmp_path):
    async with workloads(tmp_path, broken=("never",)) as client:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        await client.create(DEPLOYMENTS, deployment(10, strategy=rolling))
        await rolled_out(client, 10, 1)
        await set_image(client, "never")

        async def sizes(*wanted):
            return {s["spec"]["replicas"] for s in await sets(client)} == set(wanted)

        await eventually(lambda: sizes(8, 5))
        await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 30}}, namespace="default")
        await eventually(lambda: sizes(20, 13))


async def test_a_paused_deployment_scales_but_does_not_roll(tmp_path):
    async with workloads(tmp_path) as client:
        await client.create(DEPLOYMENTS, deployment(2))
        await rolled_out(client, 2, 1)
        await client.patch(DEPLOYMENTS, "d", {"spec": {"paused": True}}, namespace="default")
        await set_image(client, "a:2")
        await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 3}}, namespace="default")

        async def three_old():
            found = await sets(client)
            return [s["status"].get("readyReplicas") for s in found] == [3]

        await eventually(three_old)
        await client.patch(DEPLOYMENTS, "d", {"spec": {"paused": False}}, namespace="default")
        await rolled_out(client, 3, 2)


async def test_a_stuck_rollout_exceeds_its_deadline_and_keeps_the_old_pods(tmp_path):
    async with workloads(tmp_path, broken=("bad",)) as client:
        await client.create(DEPLOYMENTS, deployment(3, progressDeadlineSeconds=2))
        await rolled_out(client, 3, 1)
        await set_image(client, "bad")

        async def exceeded():
            return [c for c in (await status(client))["conditions"] if c["reason"] == "ProgressDeadlineExceeded"]

        [condition] = await eventually(exceeded)
        assert condition["status"] == "False"
        assert "has timed out progressing." in condition["message"]
        assert (await status(client))["availableReplicas"] == 3


async def test_history_is_cut_to_its_limit(tmp_path):
    async with workloads(tmp_path) as client:
        await client.create(DEPLOYMENTS, deployment(1, revisionHistoryLimit=1))
        for revision in range(1, 5):
            await rolled_out(client, 1, revision)
            if revision < 4:
                await set_image(client, f"a:{revision + 1}")

        async def two_left():
            return len(await sets(client)) == 2

        await eventually(two_left)


async def test_a_controller_that_dies_in_the_middle_is_followed_up_without_extra_pods(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, Kubelet) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await client.create(DEPLOYMENTS, deployment(6))
        for _ in range(3):
            async with running(client, ReplicaSetController, DeploymentController):
                await asyncio.sleep(0.15)
        async with running(client, ReplicaSetController, DeploymentController):
            await rolled_out(client, 6, 1)
            assert len((await client.list(PODS, "default"))["items"]) == 6


async def test_deleting_a_deployment_takes_everything_along(tmp_path):
    async with workloads(tmp_path) as client:
        await client.create(DEPLOYMENTS, deployment(2))
        await rolled_out(client, 2, 1)
        [replica_set] = await sets(client)
        await client.delete(DEPLOYMENTS, "d", "default", propagation="Background")
        await gone(lambda: client.get(REPLICASETS, replica_set["metadata"]["name"], "default"))

        async def no_pods():
            return not (await client.list(PODS, "default"))["items"]

        await eventually(no_pods)


async def test_a_replica_set_adopts_matching_orphans_and_releases_those_that_match_no_more(tmp_path):
    async with workloads(tmp_path) as client:
        template = {"metadata": {"labels": {"app": "r"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
        orphan = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "orphan", "labels": {"app": "r"}},
            "spec": template["spec"],
        }
        await client.create(PODS, orphan, "default")
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "r"}}, "template": template}
        metadata = {"name": "r", "namespace": "default"}
        await client.create(
            REPLICASETS, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}
        )

        async def two():
            return (await client.get(REPLICASETS, "r", "default")).get("status", {}).get("readyReplicas") == 2

        await eventually(two)
        assert len((await client.list(PODS, "default"))["items"]) == 2
        adopted = await client.get(PODS, "orphan", "default")
        assert adopted["metadata"]["ownerReferences"][0]["name"] == "r"
        await client.patch(PODS, "orphan", {"metadata": {"labels": {"app": "other"}}}, namespace="default")

        async def released():
            return not (await client.get(PODS, "orphan", "default"))["metadata"].get("ownerReferences")

        await eventually(released)

        async def replaced():
            return len((await client.list(PODS, "default", label_selector="app=r"))["items"]) == 2

        await eventually(replaced)


async def test_a_set_that_may_not_create_says_why(tmp_path):
    async with workloads(tmp_path) as client:
        broken = deployment(1)
        broken["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
        await client.create(DEPLOYMENTS, broken)

        async def failure():
            return [c for c in (await status(client)).get("conditions") or () if c["type"] == "ReplicaFailure"]

        [condition] = await eventually(failure)
        assert condition["reason"] == "FailedCreate"
        assert 'serviceaccount "nobody" not found' in condition["message"]


def pod(name, *, node="n", phase="Running", ready=True, restarts=0, cost=None, created="2026-01-01T00:00:00Z"):
    annotations = {"controller.kubernetes.io/pod-deletion-cost": str(cost)} if cost is not None else {}
    return {
        "metadata": {"name": name, "creationTimestamp": created, "annotations": annotations},
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "conditions": [READY] if ready else [],
            "containerStatuses": [{"restartCount": restarts}],
        },
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("a", node=""), pod("b")),
        (pod("a", phase="Pending"), pod("b")),
        (pod("a", ready=False), pod("b")),
        (pod("a", cost=-1), pod("b")),
        (pod("a"), pod("b", cost=5)),
        (pod("a", restarts=3), pod("b")),
        (pod("a", created="2026-01-02T00:00:00Z"), pod("b")),
    ],
)
def test_which_pod_is_missed_least(first, second):
    assert pods_to_delete([second, first], 1, {}) == [first]


def test_crowded_nodes_are_thinned_first():
    one, two = pod("a", node="full"), pod("b", node="empty")
    assert pods_to_delete([two, one], 1, {"full": 5, "empty": 1}) == [one]


def test_the_hash_of_a_template_is_stable_and_tells_templates_apart():
    template = {"spec": {"containers": [{"name": "c", "image": "a"}]}}
    assert template_hash(template, 0) == template_hash({"spec": {"containers": [{"image": "a", "name": "c"}]}}, 0)
    assert template_hash(template, 0) != template_hash(template, 1)
