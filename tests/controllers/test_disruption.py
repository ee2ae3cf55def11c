"""PodDisruptionBudgets: the counts as pure functions, then on a real API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.clock import format_time
from sparsam.controllers.deployment import DeploymentController
from sparsam.controllers.disruption import (
    DisruptionController,
    StaleDisruptions,
    count,
    failed,
    stale_seconds,
    wanted,
)
from sparsam.controllers.replicaset import ReplicaSetController
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.errors import TooManyRequests
from sparsam.objects.kinds import DEPLOYMENTS, EVENTS, PODDISRUPTIONBUDGETS, PODS, SERVICEACCOUNTS
from tests.support.controllers import Kubelet, controlled, eventually
from tests.support.customresources import definition, established, version, widget, widgets

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(name: str = "p", *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, **metadata}, "status": {"phase": "Running", "conditions": conditions}}


def budget(status: Any = None, **spec: Any) -> dict[str, Any]:
    found = {"metadata": {"name": "b", "namespace": "t", "generation": 3}, "spec": {"selector": {}, **spec}}
    return found | ({"status": status} if status else {})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (3, 2)),
        ({"minAvailable": "50%"}, (5, 3)),
        ({"maxUnavailable": 1}, (5, 4)),
        ({"maxUnavailable": "30%"}, (5, 3)),
        ({"maxUnavailable": 9}, (5, 0)),
        ({}, (0, 0)),
    ],
)
def test_shares_are_of_what_the_owners_wish_and_rounded_up(spec, expected):
    assert wanted(spec, pods=3, scale=5) == expected


def test_pods_that_go_or_are_about_to_are_not_healthy():
    evicted, overdue = NOW - timedelta(seconds=100), NOW - timedelta(seconds=121)
    old = {"disruptedPods": {name: format_time(evicted) for name in ("soon", "gone", "going")}}
    old["disruptedPods"]["late"] = format_time(overdue)
    pods = [pod("a"), pod("b", ready=False), pod("soon"), pod("late"), pod("going", deletionTimestamp="x")]
    counted = count(budget(old, minAvailable=1), pods, 0, NOW)
    assert counted.status["disruptedPods"] == {"soon": format_time(evicted)}
    assert counted.status["currentHealthy"] == 2
    assert (counted.status["disruptionsAllowed"], counted.status["expectedPods"]) == (1, 5)
    assert [each["metadata"]["name"] for each in counted.overdue] == ["late"]
    assert counted.recheck_seconds == pytest.approx(20.01)


def test_without_pods_nothing_may_be_disrupted():
    counted = count(budget(minAvailable=0), [], 0, NOW)
    assert counted.status["disruptionsAllowed"] == 0
    assert counted.status["conditions"][0]["reason"] == "InsufficientPods"


def test_when_counting_fails_nothing_may_be_disrupted():
    status = failed(budget({"disruptionsAllowed": 3, "currentHealthy": 4}), "why", NOW)
    assert (status["disruptionsAllowed"], status["currentHealthy"]) == (0, 4)
    assert (status["conditions"][0]["reason"], status["conditions"][0]["message"]) == ("SyncFailed", "why")


@given(
    ready=st.lists(st.booleans(), max_size=12),
    least=st.one_of(st.integers(0, 15), st.integers(0, 100).map("{}%".format)),
    scale=st.integers(0, 15),
)
def test_never_more_disruptions_than_healthy_pods_to_spare(ready, least, scale):
    pods = [pod(f"p{number}", ready=each) for number, each in enumerate(ready)]
    status = count(budget(minAvailable=least), pods, scale, NOW).status
    assert status["disruptionsAllowed"] <= max(status["currentHealthy"] - status["desiredHealthy"], 0)
    assert status["currentHealthy"] == sum(ready)
    assert count(budget(status, minAvailable=least), pods, scale, NOW).status == status


def test_a_mark_is_stale_after_two_minutes_unless_the_agent_set_it():
    def marked(seconds: float, **condition: str) -> dict[str, Any]:
        found = pod()
        since = format_time(NOW - timedelta(seconds=seconds))
        found["status"]["conditions"].append(
            {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": since, **condition}
        )
        return found

    assert stale_seconds(marked(20), NOW) == 100
    assert stale_seconds(marked(500), NOW) == 0
    assert stale_seconds(marked(500, status="False"), NOW) is None
    assert stale_seconds(marked(500, reason="TerminationByKubelet"), NOW) is None
    ended = marked(500)
    ended["status"]["phase"] = "Failed"
    assert stale_seconds(ended, NOW) is None


PARTS = (ServiceAccountController, DeploymentController, ReplicaSetController, DisruptionController, Kubelet)


def deployment(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def stored_budget(**spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "web"}}
    return {"metadata": {"name": "b", "namespace": "default"}, "spec": {"selector": selector, **spec}}


async def counted_as(client: Any, **counts: int) -> dict[str, Any]:
    async def look() -> Any:
        found = await client.get(PODDISRUPTIONBUDGETS, "b", "default")
        return found if all(found["status"].get(name) == value for name, value in counts.items()) else None

    return dict(await eventually(look))


async def test_a_budget_lets_as_many_go_as_can_be_spared(tmp_path: Any):
    async with controlled(tmp_path, *PARTS) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await client.create(DEPLOYMENTS, deployment(4))
        await client.create(PODDISRUPTIONBUDGETS, stored_budget(maxUnavailable="25%"))
        found = await counted_as(client, disruptionsAllowed=1, currentHealthy=4, desiredHealthy=3, expectedPods=4)
        assert found["status"]["conditions"][0]["reason"] == "SufficientPods"
        listed = await client.list(PODS, "default")
        names = [each["metadata"]["name"] for each in listed["items"]]
        await client.create(PODS, {}, "default", name=names[0], subresource="eviction")
        await eventually(lambda: _replaced(client, names[0]))
        found = await counted_as(client, disruptionsAllowed=1, currentHealthy=4)
        assert "disruptedPods" not in found["status"]


async def _replaced(client: Any, name: str) -> bool:
    listed = await client.list(PODS, "default")
    return name not in [each["metadata"]["name"] for each in listed["items"]]


async def test_a_pod_of_nobody_has_no_share(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, DisruptionController, Kubelet) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        lonely = {
            "metadata": {"name": "lonely", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "a:1"}]},
        }
        await client.create(PODS, lonely)
        await client.create(PODDISRUPTIONBUDGETS, stored_budget(maxUnavailable=1))
        await counted_as(client, disruptionsAllowed=0, currentHealthy=1, expectedPods=0)
        with pytest.raises(TooManyRequests):
            await client.create(PODS, {}, "default", name="lonely", subresource="eviction")

        async def told() -> Any:
            events = (await client.list(EVENTS, "default"))["items"]
            return [each for each in events if each["reason"] == "UnmanagedPods"]

        await eventually(told)


async def test_a_kind_without_scale_is_said_in_the_condition(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, DisruptionController) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
        owned = {
            "metadata": {"name": "p", "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "c", "image": "a:1"}]},
        }
        await client.create(PODS, owned)
        await client.create(PODDISRUPTIONBUDGETS, stored_budget(maxUnavailable=1))

        async def failed_sync() -> Any:
            conditions = (await client.get(PODDISRUPTIONBUDGETS, "b", "default"))["status"].get("conditions") or ()
            return [each["message"] for each in conditions if each["reason"] == "SyncFailed"]

        assert await eventually(failed_sync) == ["jobs.batch does not implement the scale subresource"]


async def test_a_mark_that_came_to_nothing_is_taken_back(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, StaleDisruptions) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        spec = {"containers": [{"name": "c", "image": "a:1"}]}
        await client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
        mark = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        await client.patch(PODS, "p", {"status": {"conditions": [mark]}}, namespace="default", subresource="status")

        async def calm() -> Any:
            conditions = (await client.get(PODS, "p", "default"))["status"]["conditions"]
            return [each for each in conditions if each["type"] == "DisruptionTarget" and each["status"] == "False"]

        await eventually(calm)


async def test_pods_of_a_custom_resource_count_by_its_scale(tmp_path: Any):
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    async with controlled(tmp_path, ServiceAccountController, DisruptionController, Kubelet) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await established(client, definition(version(subresources={"scale": paths})))
        owner = await client.create(widgets(), widget("web", replicas=4))
        reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "web", "uid": owner["metadata"]["uid"]}
        for name in ("a", "b", "c"):
            metadata = {"name": name, "namespace": "default", "labels": {"app": "web"}}
            metadata["ownerReferences"] = [reference | {"controller": True}]
            await client.create(PODS, {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "a:1"}]}})
        await client.create(PODDISRUPTIONBUDGETS, stored_budget(maxUnavailable=2))
        await counted_as(client, disruptionsAllowed=1, currentHealthy=3, desiredHealthy=2, expectedPods=4)
