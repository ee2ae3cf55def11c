"""Controllers at work on a real API server."""

import asyncio
from functools import partial

import pytest

from sparsam.controllers.endpoints import EndpointsController
from sparsam.controllers.events import EventExpiry
from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.namespace import NamespaceController
from sparsam.controllers.nodelifecycle import NodeLifecycleController
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.errors import Forbidden
from sparsam.objects.kinds import (
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICEACCOUNTS,
    SERVICES,
)
from tests.support.controllers import controlled, eventually, gone


def config_map(name, owner=None, *, blocking=True, finalizers=()):
    metadata = {"name": name, "namespace": "default", "finalizers": list(finalizers)}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": blocking,
            }
        ]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_every_namespace_gets_its_account_and_the_root_certificate(tmp_path):
    async with controlled(tmp_path, ServiceAccountController) as client:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "a"))
        root = await eventually(lambda: client.get(CONFIGMAPS, "kube-root-ca.crt", "a"))
        assert "BEGIN CERTIFICATE" in root["data"]["ca.crt"]
        await client.patch(CONFIGMAPS, "kube-root-ca.crt", {"data": {"ca.crt": "spoilt"}}, namespace="a")

        async def mended():
            return (await client.get(CONFIGMAPS, "kube-root-ca.crt", "a"))["data"] == root["data"]

        await eventually(mended)


async def test_a_deleted_namespace_is_emptied_and_goes(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, NamespaceController) as client:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "a"))
        held = config_map("held", finalizers=["example.com/hold"])
        held["metadata"]["namespace"] = "a"
        await client.create(CONFIGMAPS, held)
        await client.delete(NAMESPACES, "a")

        async def says_why():
            conditions = (await client.get(NAMESPACES, "a"))["status"].get("conditions") or []
            return [
                c["message"]
                for c in conditions
                if c["type"] == "NamespaceFinalizersRemaining" and c["status"] == "True"
            ]

        [message] = await eventually(says_why)
        assert "example.com/hold in 1 resource instances" in message
        with pytest.raises(Forbidden, match="because it is being terminated"):
            late = config_map("late")
            late["metadata"]["namespace"] = "a"
            await client.create(CONFIGMAPS, late)
        await client.patch(CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, namespace="a")
        await gone(lambda: client.get(NAMESPACES, "a"))


async def test_what_pods_need_outlives_them_when_their_namespace_goes(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, NamespaceController) as client:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "a"))
        held = pod("held")
        held["metadata"] |= {"namespace": "a", "finalizers": ["example.com/hold"]}
        await client.create(PODS, held)
        await client.delete(NAMESPACES, "a")

        async def says_why():
            conditions = (await client.get(NAMESPACES, "a"))["status"].get("conditions") or []
            return [c["message"] for c in conditions if c["type"] == "NamespaceContentRemaining"]

        assert await eventually(says_why) == ["Some resources are remaining: pods has 1 resource instances"]
        await client.get(CONFIGMAPS, "kube-root-ca.crt", "a")
        await client.patch(PODS, "held", {"metadata": {"finalizers": None}}, namespace="a")
        await client.delete(PODS, "held", "a", grace_seconds=0)
        await gone(lambda: client.get(NAMESPACES, "a"))


async def test_background_deletion_takes_the_dependents_along(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        owner = await client.create(CONFIGMAPS, config_map("owner"))
        middle = await client.create(CONFIGMAPS, config_map("middle", owner))
        await client.create(CONFIGMAPS, config_map("leaf", middle))
        await client.delete(CONFIGMAPS, "owner", "default", propagation="Background")
        await gone(lambda: client.get(CONFIGMAPS, "leaf", "default"))
        await gone(lambda: client.get(CONFIGMAPS, "middle", "default"))


async def test_foreground_deletion_waits_for_the_dependents(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        owner = await client.create(CONFIGMAPS, config_map("owner"))
        await client.create(CONFIGMAPS, config_map("leaf", owner, finalizers=["example.com/hold"]))
        await client.delete(CONFIGMAPS, "owner", "default", propagation="Foreground")

        async def leaf_is_going():
            return "deletionTimestamp" in (await client.get(CONFIGMAPS, "leaf", "default"))["metadata"]

        await eventually(leaf_is_going)
        assert "foregroundDeletion" in (await client.get(CONFIGMAPS, "owner", "default"))["metadata"]["finalizers"]
        await client.patch(CONFIGMAPS, "leaf", {"metadata": {"finalizers": None}}, namespace="default")
        await gone(lambda: client.get(CONFIGMAPS, "owner", "default"))


async def test_a_dependent_with_another_owner_stays_when_one_waits_for_its_dependents(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        going, staying = [await client.create(CONFIGMAPS, config_map(name)) for name in ("going", "staying")]
        leaf = config_map("leaf", going)
        leaf["metadata"]["ownerReferences"] += config_map("", staying, blocking=False)["metadata"]["ownerReferences"]
        leaf["metadata"]["ownerReferences"][1]["controller"] = False
        await client.create(CONFIGMAPS, leaf)
        await client.delete(CONFIGMAPS, "going", "default", propagation="Foreground")
        await gone(lambda: client.get(CONFIGMAPS, "going", "default"))
        left = await client.get(CONFIGMAPS, "leaf", "default")
        assert "deletionTimestamp" not in left["metadata"]
        assert [owner["name"] for owner in left["metadata"]["ownerReferences"]] == ["staying"]


async def test_a_circle_of_owners_goes_as_a_whole(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        first = await client.create(CONFIGMAPS, config_map("first"))
        second = await client.create(CONFIGMAPS, config_map("second", first))
        third = await client.create(CONFIGMAPS, config_map("third", second))
        closing = {"metadata": {"ownerReferences": config_map("", third)["metadata"]["ownerReferences"]}}
        await client.patch(CONFIGMAPS, "first", closing, namespace="default")
        await client.delete(CONFIGMAPS, "first", "default", propagation="Foreground")
        for name in ("first", "second", "third"):
            await gone(lambda name=name: client.get(CONFIGMAPS, name, "default"))


async def test_orphaning_leaves_the_dependents_behind(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        owner = await client.create(CONFIGMAPS, config_map("owner"))
        await client.create(CONFIGMAPS, config_map("leaf", owner))
        await client.delete(CONFIGMAPS, "owner", "default", propagation="Orphan")
        await gone(lambda: client.get(CONFIGMAPS, "owner", "default"))
        leaf = await client.get(CONFIGMAPS, "leaf", "default")
        assert not leaf["metadata"].get("ownerReferences")


async def test_an_owner_that_never_was_is_looked_up_before_its_dependent_goes(tmp_path):
    async with controlled(tmp_path, GarbageCollector) as client:
        ghost = {"metadata": {"name": "ghost", "uid": "11111111-2222-3333-4444-555555555555"}}
        await client.create(CONFIGMAPS, config_map("leaf", ghost))
        await gone(lambda: client.get(CONFIGMAPS, "leaf", "default"))


def pod(name, app="x"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 8080}]}]},
    }


def running_status(ip):
    return {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }


async def test_endpoints_follow_pods_and_services(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, EndpointsController) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        spec = {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": 8080}]}
        await client.create(
            SERVICES,
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}, "spec": spec},
        )

        async def addresses():
            listed = await client.list(ENDPOINTSLICES, "default", label_selector="kubernetes.io/service-name=s")
            return sorted(
                ip for piece in listed["items"] for e in piece.get("endpoints") or () for ip in e["addresses"]
            )

        for number in (1, 2):
            await client.create(PODS, pod(f"p{number}"))
            await client.patch(
                PODS,
                f"p{number}",
                {"status": running_status(f"10.0.0.{number}")},
                namespace="default",
                subresource="status",
            )

        async def both():
            return await addresses() == ["10.0.0.1", "10.0.0.2"]

        await eventually(both)
        classic = await eventually(lambda: client.get(ENDPOINTS, "s", "default"))
        assert classic["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"
        await client.delete(PODS, "p1", "default", grace_seconds=0)

        async def one():
            return await addresses() == ["10.0.0.2"]

        await eventually(one)
        await client.delete(SERVICES, "s", "default")

        async def none():
            listed = await client.list(ENDPOINTSLICES, "default", label_selector="kubernetes.io/service-name=s")
            return not listed["items"]

        await eventually(none)


async def test_a_node_that_falls_silent_loses_its_pods(tmp_path):
    lifecycle = partial(NodeLifecycleController, grace_seconds=0.5, check_seconds=0.1)
    async with controlled(tmp_path, ServiceAccountController, lifecycle) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        await client.create(NODES, node)
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        }
        await client.patch(NODES, "n", {"status": {"conditions": [ready]}}, subresource="status")

        async def untainted():
            return not (await client.get(NODES, "n"))["spec"].get("taints")

        await eventually(untainted)
        brief = pod("brief")
        stay = {"operator": "Exists", "effect": "NoExecute"}
        brief["spec"]["tolerations"] = [{**stay, "tolerationSeconds": 0}]
        stubborn = pod("stubborn")
        stubborn["spec"]["tolerations"] = [stay]
        for each in (brief, stubborn):
            await client.create(PODS, each)
            name = each["metadata"]["name"]
            await client.patch(
                PODS, name, {"status": running_status("10.0.0.9")}, namespace="default", subresource="status"
            )

        async def lost():
            node = await client.get(NODES, "n")
            keys = {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints") or ()}
            return {
                ("node.kubernetes.io/unreachable", "NoExecute"),
                ("node.kubernetes.io/unreachable", "NoSchedule"),
            } <= keys

        await eventually(lost)

        async def evicted():
            return "deletionTimestamp" in (await client.get(PODS, "brief", "default"))["metadata"]

        await eventually(evicted)
        kept = await client.get(PODS, "stubborn", "default")
        assert "deletionTimestamp" not in kept["metadata"]

        async def not_ready():
            conditions = (await client.get(PODS, "stubborn", "default"))["status"]["conditions"]
            return any(c["type"] == "Ready" and c["status"] == "False" for c in conditions)

        await eventually(not_ready)


async def test_an_event_is_forgotten_some_time_after_it_was_made_and_not_before(tmp_path):
    async with controlled(tmp_path, partial(EventExpiry, ttl_seconds=2)) as client:
        await client.create(
            EVENTS,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "old", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
                "lastTimestamp": "2020-01-01T00:00:00Z",
                "type": "Normal",
                "reason": "R",
                "message": "m",
            },
        )
        await asyncio.sleep(0.3)
        assert await client.get(EVENTS, "old", "default")
        await gone(lambda: client.get(EVENTS, "old", "default"))
