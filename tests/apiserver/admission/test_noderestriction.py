"""What nodes may write, by object. The whole path is in `test_nodeauthorizer`."""

from __future__ import annotations

import copy
import re

import pytest

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.noderestriction import NodeRestriction
from sparsam.apiserver.authentication import authenticated
from sparsam.errors import Forbidden, NotFound
from sparsam.objects.kinds import (
    CONFIGMAPS,
    CSINODES,
    CSISTORAGECAPACITIES,
    LEASES,
    NODEPOWERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCESLICES,
    SERVICEACCOUNTS,
)
from sparsam.objects.localvolumes import NODE_LABEL

NODE = authenticated("system:node:n1", ("system:nodes",))
JANE = authenticated("jane", ())


class Stored:
    """What is in the cluster, by kind and name."""

    def __init__(self, **objects) -> None:
        self.objects = objects

    async def find(self, resource, name, namespace=""):
        return self.objects.get(f"{resource.kind}_{name}")


class Audiences:
    """Roles that let nodes ask for tokens for one more audience."""

    def allows(self, user, action):
        return (action.verb, action.resource) == ("request-serviceaccounts-token-audience", "registry")


OWN_NODE = {"metadata": {"name": "n1", "uid": "u1"}}
VOLUMES = [
    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
    {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
    {"name": "e", "ephemeral": {}},
    {"name": "i", "csi": {"driver": "inline"}},
]
HERE = {"metadata": {"name": "p", "uid": "p1"}, "spec": {"nodeName": "n1", "volumes": VOLUMES}}
ELSEWHERE = {"metadata": {"name": "q", "uid": "q1"}, "spec": {"nodeName": "n2"}}
READER = Stored(
    Node_n1=OWN_NODE,
    Pod_p=HERE,
    Pod_q=ELSEWHERE,
    PersistentVolumeClaim_c={"spec": {"volumeName": "v"}},
    PersistentVolume_v={"spec": {"csi": {"driver": "claimed"}}},
    CSIDriver_claimed={"spec": {"tokenRequests": [{"audience": "storage"}]}},
    CSIDriver_inline={"spec": {"tokenRequests": [{"audience": "cloud"}]}},
)


async def ask(operation, resource, new, old=None, *, name="", part="", namespace="d", user=NODE, reader=READER):
    attributes = Attributes(operation, resource, namespace, name, user, part)
    admit = await NodeRestriction(Audiences())(attributes, new, reader)
    if admit is not None:
        admit(new, old)


async def refused(words, *args, **more):
    with pytest.raises(Forbidden, match=re.escape(words)):
        await ask(*args, **more)


def node(name="n1", labels=None, taints=None):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": taints or []}}


def mirror(**spec):
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": True}
    metadata = {"name": "m-n1", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"nodeName": "n1", "containers": [], **spec}}


async def test_others_are_no_business_of_this():
    await ask("UPDATE", NODES, node("n2", {"a": "b"}), node("n2"), name="n2", user=JANE)
    await ask("CREATE", CONFIGMAPS, {"metadata": {"name": "c"}})


@pytest.mark.parametrize("name", ["jane", "system:node:"])
async def test_a_member_of_the_group_that_is_no_node_writes_nothing(name):
    stranger = authenticated(name, ("system:nodes",))
    words = f'could not determine node from user "{name}"'
    await refused(words, "CREATE", NODEPOWERS, {"metadata": {"name": "n1"}}, namespace="", user=stranger)


async def test_a_node_makes_and_changes_itself_alone():
    await ask("CREATE", NODES, node(labels={"kubernetes.io/hostname": "n1", "mine": "yes"}, taints=[{"key": "k"}]))
    await ask("UPDATE", NODES, node(labels={"node.kubernetes.io/x": "y"}), node(), name="n1", part="status")
    await refused('node "n1" is not allowed to modify node "n2"', "UPDATE", NODES, node("n2"), node("n2"), name="n2")
    await refused('node "n1" is not allowed to modify node "n2"', "CREATE", NODES, node("n2"))
    words = 'node "n1" is not allowed to modify taints'
    await refused(words, "UPDATE", NODES, node(taints=[{"key": "k"}]), node(), name="n1")


@pytest.mark.parametrize(
    "key",
    [
        "node-restriction.kubernetes.io/tier",
        "a.node-restriction.kubernetes.io/tier",
        "node-role.kubernetes.io/control-plane",
        "k8s.io/x",
    ],
)
async def test_a_node_does_not_label_itself_into_a_role(key):
    words = f'node "n1" is not allowed to set the following labels: {key}'
    await refused(words, "CREATE", NODES, node(labels={key: "x"}))
    await refused(
        f"is not allowed to modify labels: {key}", "UPDATE", NODES, node(), node(labels={key: "x"}), name="n1"
    )
    await ask("UPDATE", NODES, node(labels={key: "x"}), node(labels={key: "x"}), name="n1")


async def test_a_node_shows_its_static_pods_and_makes_no_others():
    await ask("CREATE", PODS, mirror())
    bare = mirror()
    bare["metadata"]["annotations"] = {}
    await refused('pod does not have "kubernetes.io/config.mirror" annotation', "CREATE", PODS, bare)
    words = 'node "n1" can only create pods with spec.nodeName set to itself'
    await refused(words, "CREATE", PODS, mirror(nodeName="n2"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uid": "u9"}, "node n1 UID mismatch: expected u9 got u1"),
        ({"name": "n2"}, "can only create pods with an owner reference set to itself"),
        ({"controller": False}, "can only create pods with a controller owner reference set to itself"),
        ({"blockOwnerDeletion": True}, "must not set blockOwnerDeletion on an owner reference"),
    ],
)
async def test_a_mirror_is_its_nodes(change, words):
    pod = copy.deepcopy(mirror())
    pod["metadata"]["ownerReferences"][0].update(change)
    await refused(words, "CREATE", PODS, pod)
    pod["metadata"]["ownerReferences"] *= 2
    await refused("can only create pods with a single owner reference set to itself", "CREATE", PODS, pod)
    pod["metadata"].pop("ownerReferences")
    await refused("can only create pods with an owner reference set to itself", "CREATE", PODS, pod)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"serviceAccountName": "a"}, "a service account"),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets"),
        ({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}, "configmaps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistentvolumeclaims"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {}}]}}]}, "clustertrustbundles"),
    ],
)
async def test_a_mirror_refers_to_nothing(spec, words):
    await refused(f'node "n1" can not create pods that reference {words}', "CREATE", PODS, mirror(**spec))


async def test_a_node_reports_deletes_and_evicts_its_own_pods():
    labelled = {**HERE, "metadata": {**HERE["metadata"], "labels": {"a": "b"}}}
    claimed = {**HERE, "status": {"resourceClaimStatuses": [{"name": "x", "resourceClaimName": "y"}]}}
    await ask("UPDATE", PODS, HERE, HERE, name="p", part="status")
    words = 'node "n1" can only update pod status for pods with spec.nodeName set to itself'
    await refused(words, "UPDATE", PODS, ELSEWHERE, ELSEWHERE, name="q", part="status")
    words = 'node "n1" cannot update labels through pod status'
    await refused(words, "UPDATE", PODS, labelled, HERE, name="p", part="status")
    await refused("cannot update resource claim statues", "UPDATE", PODS, claimed, HERE, name="p", part="status")
    await ask("DELETE", PODS, None, name="p")
    await ask("CREATE", PODS, {}, name="p", part="eviction")
    await refused("can only delete pods with spec.nodeName set to itself", "DELETE", PODS, None, name="q")
    await refused("node n1 can only evict pods with", "CREATE", PODS, {}, name="q", part="eviction")
    with pytest.raises(NotFound):
        await ask("DELETE", PODS, None, name="absent")
    await refused("only 'status' and 'eviction' are allowed", "CREATE", PODS, {}, name="p", part="binding")
    await refused('unexpected operation "UPDATE"', "UPDATE", PODS, HERE, HERE, name="p")


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({}, "node requested token not bound to a pod"),
        ({"kind": "Secret", "name": "s"}, "node requested token not bound to a pod"),
        ({"kind": "Pod", "name": "p"}, "node requested token with a pod binding without a uid"),
        ({"kind": "Pod", "name": "p", "uid": "old"}, "the UID in the bound object reference (old) does not match"),
        (
            {"kind": "Pod", "name": "q", "uid": "q1"},
            "node requested token bound to a pod scheduled on a different node",
        ),
    ],
)
async def test_a_token_is_for_a_pod_of_the_node(bound, words):
    request = {"spec": {"boundObjectRef": {"apiVersion": "v1", **bound}}}
    await refused(words, "CREATE", SERVICEACCOUNTS, request, name="a", part="token")
    request["spec"]["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p1"}
    await ask("CREATE", SERVICEACCOUNTS, request, name="a", part="token")


@pytest.mark.parametrize("audience", ["", "vault", "storage", "cloud", "registry"])
async def test_a_token_is_for_whom_the_pods_volumes_or_roles_name(audience):
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p1"}
    request = {"spec": {"boundObjectRef": bound, "audiences": [audience] if audience else []}}
    await ask("CREATE", SERVICEACCOUNTS, request, name="a", part="token")
    words = 'audience "other" not found in pod spec volume'
    other = {"spec": {"boundObjectRef": bound, "audiences": ["other"]}}
    await refused(words, "CREATE", SERVICEACCOUNTS, other, name="a", part="token")
    both = {"spec": {"boundObjectRef": bound, "audiences": ["vault", audience]}}
    await refused("node may only request 0 or 1 audiences", "CREATE", SERVICEACCOUNTS, both, name="a", part="token")


async def test_of_a_claim_a_node_tells_its_size():
    old = {"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    grown = {**old, "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": []}}
    await ask("UPDATE", PERSISTENTVOLUMECLAIMS, grown, old, name="c", part="status")
    lost = {**old, "status": {"phase": "Lost"}}
    words = "is not allowed to update fields other than status.capacity and status.conditions"
    await refused(words, "UPDATE", PERSISTENTVOLUMECLAIMS, lost, old, name="c", part="status")
    await refused("may only update PVC status", "UPDATE", PERSISTENTVOLUMECLAIMS, old, old, name="c")


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (LEASES, "can only access node lease with the same name as the requesting node"),
        (CSINODES, "can only access CSINode with the same name as the requesting node"),
        (NODEPOWERS, "can only access NodePower with the same name as the requesting node"),
    ],
)
async def test_objects_that_stand_for_a_node_are_its_own(resource, words):
    namespace = "kube-node-lease" if resource is LEASES else ""
    await ask("CREATE", resource, {"metadata": {"name": "n1"}}, namespace=namespace)
    await refused(words, "CREATE", resource, {"metadata": {"name": "n2"}}, namespace=namespace)
    if resource is LEASES:
        other = 'can only access leases in the "kube-node-lease" system namespace'
        await refused(other, "CREATE", resource, {"metadata": {"name": "n1"}})


async def test_devices_are_announced_for_oneself():
    await ask("CREATE", RESOURCESLICES, {"metadata": {"name": "s"}, "spec": {"nodeName": "n1"}})
    words = "can only create ResourceSlice with the same NodeName as the requesting node"
    await refused(words, "CREATE", RESOURCESLICES, {"metadata": {"name": "s"}, "spec": {"nodeName": "n2"}})


async def test_volumes_and_room_are_of_the_node_that_they_are_on():
    def placed(name):
        return {"metadata": {"name": "v", "labels": {NODE_LABEL: name}}}

    words = 'node "n1" can only change what lies on it'
    for resource in (PERSISTENTVOLUMES, CSISTORAGECAPACITIES):
        await ask("UPDATE", resource, placed("n1"), placed("n1"), name="v")
        await refused(words, "UPDATE", resource, placed("n2"), placed("n1"), name="v")
        await refused(words, "UPDATE", resource, placed("n1"), placed("n2"), name="v")
    await ask("DELETE", PERSISTENTVOLUMES, None, name="v")
    reader = Stored(CSIStorageCapacity_v=placed("n2"))
    await refused(words, "DELETE", CSISTORAGECAPACITIES, None, name="v", reader=reader)
