"""Claims get volumes on directories of nodes: where, under which conditions, and with which words."""

import pytest

from sparsam.controllers.localvolumes import LocalVolumes, choose_node, fault_of
from sparsam.controllers.volumes import VolumeController
from sparsam.objects.kinds import (
    CSISTORAGECAPACITIES,
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
)
from sparsam.objects.localvolumes import FINALIZER, NODE_LABEL, PROVISIONER, ROOT_ANNOTATION, storage_class
from sparsam.scheduling.claims import compile_claim
from tests.support.controllers import controlled, eventually

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def claim(name="c", size="1Gi", node="", **extra):
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **extra}
    spec.setdefault("storageClassName", "local")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": spec,
    }


def node(name, root="/var/volumes", **labels):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **labels},
            "annotations": {ROOT_ANNOTATION: root} if root else {},
        },
        "status": READY,
    }


def capacity(on, amount, class_name="local"):
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": {"name": f"{on}-{class_name}", "namespace": "kube-system", "labels": {NODE_LABEL: on}},
        "storageClassName": class_name,
        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": on}},
        "capacity": amount,
    }


def chosen(wanted, nodes, capacities, **extra):
    found, why = choose_node(compile_claim(wanted), {**storage_class(), **extra}, nodes, capacities)
    return found["metadata"]["name"] if found else why


def test_the_ready_node_with_the_most_room_is_chosen_unless_one_is_selected():
    nodes = [node("a"), node("b"), node("c", root=""), {**node("d"), "status": {}}]
    rooms = [capacity("a", "2Gi"), capacity("b", "3Gi"), capacity("c", "9Gi"), capacity("d", "9Gi")]
    assert chosen(claim(), nodes, rooms) == "b"
    assert chosen(claim(), nodes, [*rooms[:1], capacity("b", "2Gi")]) == "a"
    assert chosen(claim(size="4Gi"), nodes, rooms) == "no node has room for it"
    assert chosen(claim(), nodes, [capacity("a", "2Gi", "other")]) == "no node has room for it"
    assert chosen(claim(node="a", size="4Gi"), nodes, rooms) == "a"
    assert chosen(claim(node="c"), nodes, rooms) == "no volume can be made on node c"


def test_topologies_limit_where_volumes_are_made():
    nodes = [node("a", zone="x"), node("b", zone="y")]
    rooms = [capacity("a", "2Gi"), capacity("b", "3Gi")]
    allowed = [{"matchLabelExpressions": [{"key": "zone", "values": ["x", "z"]}]}]
    assert chosen(claim(), nodes, rooms, allowedTopologies=allowed) == "a"
    assert chosen(claim(node="b"), nodes, rooms, allowedTopologies=allowed) == "no volume can be made on node b"


@pytest.mark.parametrize(
    ("spec", "of_class", "word"),
    [
        ({}, {}, ""),
        ({"accessModes": ["ReadWriteOncePod"]}, {}, ""),
        ({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}, {}, "ReadWriteMany"),
        ({"volumeMode": "Block"}, {}, "block"),
        ({"selector": {"matchLabels": {"a": "b"}}}, {}, "selector"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, {}, "data sources"),
        ({}, {"mountOptions": ["noexec"]}, "mount options"),
        ({}, {"parameters": {"size": "1"}}, "size"),
    ],
)
def test_what_a_directory_cannot_be_is_refused_by_name(spec, of_class, word):
    fault = fault_of(claim(**spec), {**storage_class(), **of_class})
    assert word in fault
    assert bool(fault) == bool(word)


async def with_node(client, *names):
    for name in names:
        built = node(name, root=f"/data/{name}")
        await client.create(NODES, built)
        await client.patch(NODES, name, {"status": READY}, subresource="status")


async def reasons(client):
    return {each["reason"] for each in (await client.list(EVENTS, "default"))["items"]}


async def test_a_claim_whose_node_is_selected_gets_its_volume_there(tmp_path):
    async with controlled(tmp_path, VolumeController, LocalVolumes) as client:
        await with_node(client, "a", "b")
        await client.create(STORAGECLASSES, storage_class())
        await client.create(PERSISTENTVOLUMECLAIMS, claim())

        async def waits():
            return "WaitForFirstConsumer" in await reasons(client)

        assert await eventually(waits)
        annotations = {"volume.kubernetes.io/selected-node": "b"}
        await client.patch(PERSISTENTVOLUMECLAIMS, "c", {"metadata": {"annotations": annotations}}, namespace="default")

        async def bound():
            found = await client.get(PERSISTENTVOLUMECLAIMS, "c", "default")
            return found if found["status"]["phase"] == "Bound" else None

        found = await eventually(bound)
        volume = await client.get(PERSISTENTVOLUMES, found["spec"]["volumeName"])
        assert volume["metadata"]["name"] == f"pvc-{found['metadata']['uid']}"
        assert volume["spec"]["local"]["path"] == f"/data/b/{volume['metadata']['name']}"
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        assert FINALIZER in volume["metadata"]["finalizers"]
        assert found["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] == PROVISIONER

        async def told():
            return {"ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"} <= await reasons(client)

        assert await eventually(told)


async def test_a_class_that_does_not_wait_goes_where_there_is_room_and_a_bad_choice_is_given_back(tmp_path):
    async with controlled(tmp_path, VolumeController, LocalVolumes) as client:
        await with_node(client, "a", "b")
        now = {**storage_class(), "metadata": {"name": "now"}, "volumeBindingMode": "Immediate"}
        await client.create(STORAGECLASSES, now)
        await client.create(STORAGECLASSES, storage_class())
        await client.create(PERSISTENTVOLUMECLAIMS, claim(storageClassName="now"))

        async def failed():
            return "ProvisioningFailed" in await reasons(client)

        assert await eventually(failed)
        for name, amount in (("a", "500Mi"), ("b", "5Gi")):
            await client.create(CSISTORAGECAPACITIES, capacity(name, amount, "now"))

        async def bound():
            found = await client.get(PERSISTENTVOLUMECLAIMS, "c", "default")
            return found["spec"].get("volumeName")

        volume = await client.get(PERSISTENTVOLUMES, await eventually(bound))
        assert volume["metadata"]["labels"] == {NODE_LABEL: "b"}
        await client.create(PERSISTENTVOLUMECLAIMS, claim("gone", node="nowhere"))

        async def given_back():
            found = await client.get(PERSISTENTVOLUMECLAIMS, "gone", "default")
            return "volume.kubernetes.io/selected-node" not in found["metadata"]["annotations"]

        assert await eventually(given_back)
