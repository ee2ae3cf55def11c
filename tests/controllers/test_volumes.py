"""Claims find volumes, with the scheduler where their class waits for it, on a real API server."""

import pytest

from sparsam.controllers.ephemeralvolumes import EphemeralVolumes
from sparsam.controllers.scheduling.main import SchedulingConfig, run_scheduling
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.controllers.volumes import VolumeController
from sparsam.objects.kinds import (
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
    STORAGECLASSES,
)
from tests.support.controllers import controlled, eventually
from tests.support.scheduling import node, pod


class SchedulerPart:
    def __init__(self, context):
        self._context = context
        self.controller = self

    async def run(self):
        await run_scheduling(self._context, SchedulingConfig())


def volume(name, size="1Gi", on=None, **extra):
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": f"/srv/{name}"},
        **extra,
    }
    if on:
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name, size="1Gi", **extra):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **extra}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def storage_class(name, default=False, **extra):
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": "kubernetes.io/no-provisioner",
        **extra,
    }


async def in_phase(client, resource, name, phase):
    namespace = "default" if resource.namespaced else ""

    async def look():
        found = await client.get(resource, name, namespace)
        return found if found.get("status", {}).get("phase") == phase else None

    return await eventually(look, f"{name} {phase}")


async def test_a_claim_takes_the_smallest_volume_and_gives_it_back(tmp_path):
    async with controlled(tmp_path, VolumeController) as client:
        for name, size in (("large", "5Gi"), ("small", "2Gi"), ("tiny", "1Mi")):
            await client.create(PERSISTENTVOLUMES, volume(name, size))
            await in_phase(client, PERSISTENTVOLUMES, name, "Available")
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c", storageClassName=""))
        bound = await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Bound")
        assert bound["spec"]["volumeName"] == "small"
        assert bound["status"]["capacity"] == {"storage": "2Gi"}
        assert bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
        taken = await in_phase(client, PERSISTENTVOLUMES, "small", "Bound")
        assert taken["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]
        bound["metadata"]["finalizers"] = []
        await client.update(PERSISTENTVOLUMECLAIMS, bound)
        await client.delete(PERSISTENTVOLUMECLAIMS, "c", "default")
        await in_phase(client, PERSISTENTVOLUMES, "small", "Released")


async def test_a_volume_that_grows_does_not_say_for_the_claim_that_it_grew(tmp_path):
    """The claim's capacity is what its file system has: a driver's resizer or the node says when that is done."""
    async with controlled(tmp_path, VolumeController) as client:
        await client.create(PERSISTENTVOLUMES, volume("v"))
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c", storageClassName=""))
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Bound")
        grown = {"spec": {"capacity": {"storage": "3Gi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}}
        await client.patch(PERSISTENTVOLUMES, "v", grown)

        async def seen():
            found = await client.get(PERSISTENTVOLUMECLAIMS, "c", "default")
            return found if len(found["status"]["accessModes"]) == 2 else None

        assert (await eventually(seen))["status"]["capacity"] == {"storage": "1Gi"}


async def test_a_claim_waits_with_a_word_why_until_a_volume_comes(tmp_path):
    async with controlled(tmp_path, VolumeController) as client:
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c", storageClassName=""))
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Pending")

        async def told():
            return {each["reason"] for each in (await client.list(EVENTS, "default"))["items"]}

        assert await eventually(told) == {"FailedBinding"}
        await client.create(PERSISTENTVOLUMES, volume("v"))
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Bound")


async def test_a_claim_whose_volume_is_gone_is_lost(tmp_path):
    async with controlled(tmp_path, VolumeController) as client:
        await client.create(PERSISTENTVOLUMES, volume("v"))
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c", storageClassName=""))
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Bound")
        bound = await client.get(PERSISTENTVOLUMES, "v")
        bound["metadata"]["finalizers"] = []
        await client.update(PERSISTENTVOLUMES, bound)
        await client.delete(PERSISTENTVOLUMES, "v")
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Lost")


async def test_a_claim_without_a_class_gets_the_default_one_also_later(tmp_path):
    async with controlled(tmp_path, VolumeController) as client:
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c"))
        await in_phase(client, PERSISTENTVOLUMECLAIMS, "c", "Pending")
        await client.create(STORAGECLASSES, storage_class("usual", default=True))

        async def classed():
            found = await client.get(PERSISTENTVOLUMECLAIMS, "c", "default")
            return found["spec"].get("storageClassName") == "usual"

        assert await eventually(classed)


@pytest.mark.parametrize("ephemeral", [False, True])
async def test_pod_and_volume_are_chosen_together_where_the_class_waits(tmp_path, ephemeral):
    makers = (ServiceAccountController, VolumeController, EphemeralVolumes, SchedulerPart)
    async with controlled(tmp_path, *makers) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        for name in ("a", "b"):
            built = node(name, cpu="4" if name == "a" else "8", labels={"kubernetes.io/hostname": name})
            status = built.pop("status")
            await client.create(NODES, {"apiVersion": "v1", "kind": "Node", **built})
            fresh = await client.get(NODES, name)
            fresh["spec"]["taints"] = []
            await client.update(NODES, fresh)
            await client.patch(NODES, name, {"status": status}, subresource="status")
        await client.create(STORAGECLASSES, storage_class("late", volumeBindingMode="WaitForFirstConsumer"))
        for name in ("a", "b"):
            await client.create(PERSISTENTVOLUMES, volume(f"on-{name}", on=name, storageClassName="late"))
        if ephemeral:
            template = {"spec": claim("", storageClassName="late")["spec"]}
            source, name = {"ephemeral": {"volumeClaimTemplate": template}}, "p-data"
        else:
            source, name = {"persistentVolumeClaim": {"claimName": "c"}}, "c"
            await client.create(PERSISTENTVOLUMECLAIMS, claim("c", storageClassName="late"))
        wanted = pod("p", cpu="6", volumes=[{"name": "data", **source}])
        await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", **wanted})
        bound = await in_phase(client, PERSISTENTVOLUMECLAIMS, name, "Bound")
        assert bound["spec"]["volumeName"] == "on-b"

        async def placed():
            return (await client.get(PODS, "p", "default"))["spec"].get("nodeName")

        assert await eventually(placed) == "b"
        assert (await client.get(PERSISTENTVOLUMES, "on-a"))["status"]["phase"] == "Available"
