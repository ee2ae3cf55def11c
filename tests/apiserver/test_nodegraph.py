"""What belongs to the pods of which node."""

from __future__ import annotations

import pytest

from sparsam.apiserver.nodegraph import MIRROR_ANNOTATION, NodeGraph, references
from sparsam.objects.localvolumes import NODE_LABEL


def pod(node="n1", name="p", annotations=None, status=None, **spec):
    metadata = {"name": name, "namespace": "d", **({"annotations": annotations} if annotations else {})}
    spec = {"containers": [], **({"nodeName": node} if node else {}), **spec}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def volume(claim="c", labels=None, **csi):
    spec = {"claimRef": {"namespace": "d", "name": claim}} if claim else {}
    return {"metadata": {"name": "v", "labels": labels or {}}, "spec": {**spec, "csi": csi}}


def graph(*pods):
    made = NodeGraph()
    for each in pods:
        made.put_pod(("d", each["metadata"]["name"]), each)
    return made


SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}


@pytest.mark.parametrize(
    ("spec", "plural", "name"),
    [
        ({"serviceAccountName": "s"}, "serviceaccounts", "s"),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets", "s"),
        ({"containers": [{"env": [{"name": "A", "valueFrom": SECRET}]}]}, "secrets", "s"),
        ({"initContainers": [{"envFrom": [{"configMapRef": {"name": "m"}}]}]}, "configmaps", "m"),
        ({"ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}, "secrets", "s"),
        ({"volumes": [{"name": "x", "secret": {"secretName": "s"}}]}, "secrets", "s"),
        ({"volumes": [{"name": "x", "configMap": {"name": "m"}}]}, "configmaps", "m"),
        ({"volumes": [{"name": "x", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}, "secrets", "s"),
        ({"volumes": [{"name": "x", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}]}, "secrets", "s"),
        ({"volumes": [{"name": "x", "rbd": {"secretRef": {"name": "s"}}}]}, "secrets", "s"),
        ({"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistentvolumeclaims", "c"),
        ({"volumes": [{"name": "x", "ephemeral": {}}]}, "persistentvolumeclaims", "p-x"),
        ({"resourceClaims": [{"name": "x", "resourceClaimName": "r"}]}, "resourceclaims", "r"),
    ],
)
def test_a_node_reaches_what_its_pods_refer_to_and_others_do_not(spec, plural, name):
    made = graph(pod(**spec))
    assert made.has("n1", plural, "d", name)
    assert not made.has("n2", plural, "d", name)
    assert not made.has("n1", plural, "e", name)
    made.drop_pod(("d", "p"))
    assert not made.has("n1", plural, "d", name)


def test_a_pod_that_is_bound_nowhere_or_a_mirror_grants_nothing():
    wants = {"imagePullSecrets": [{"name": "s"}]}
    made = graph(pod(node="", name="a", **wants), pod(name="b", annotations={MIRROR_ANNOTATION: "x"}, **wants))
    assert not made.has("n1", "secrets", "d", "s")
    assert (made.knows_pod(("d", "a")), made.knows_pod(("d", "b"))) == (False, True)
    assert made.has_pod("n1", "d", "b")


def test_what_two_pods_share_stays_until_both_are_gone():
    wants = {"imagePullSecrets": [{"name": "s"}]}
    made = graph(pod(name="a", **wants), pod(name="b", **wants))
    made.drop_pod(("d", "a"))
    assert made.has("n1", "secrets", "d", "s")
    made.drop_pod(("d", "b"))
    assert not made.has("n1", "secrets", "d", "s")


def test_claims_that_were_made_for_a_pod_are_in_its_status():
    status = {"resourceClaimStatuses": [{"name": "x", "resourceClaimName": "p-x-abc"}]}
    found = references(pod(resourceClaims=[{"name": "x", "resourceClaimTemplateName": "t"}], status=status))
    assert found == {("resourceclaims", "d", "p-x-abc")}


def test_a_volume_and_the_secrets_a_node_mounts_it_with_go_with_its_claim():
    made = graph(pod(volumes=[{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}]))
    secrets = {"nodeStageSecretRef": {"name": "stage"}, "controllerPublishSecretRef": {"name": "attach"}}
    made.put_volume("v", volume(nodePublishSecretRef={"name": "far", "namespace": "e"}, **secrets))
    assert made.has_volume("n1", "v")
    assert made.has("n1", "secrets", "d", "stage")
    assert made.has("n1", "secrets", "e", "far")
    assert not made.has("n1", "secrets", "d", "attach")
    assert not made.has_volume("n2", "v")
    made.put_volume("v", volume(claim="other"))
    assert not made.has_volume("n1", "v")
    assert not made.has("n1", "secrets", "d", "stage")


def test_a_local_volume_is_of_the_node_that_it_lies_on():
    made = graph()
    made.put_volume("v", volume(claim="", labels={NODE_LABEL: "n1"}))
    assert (made.holds_volume("n1", "v"), made.has_volume("n1", "v")) == (True, True)
    assert not made.has_volume("n2", "v")
    made.forget_volumes()
    assert not made.has_volume("n1", "v")


def test_all_pods_are_forgotten_at_once():
    made = graph(pod(imagePullSecrets=[{"name": "s"}]))
    made.forget_pods()
    assert not made.knows_pod(("d", "p"))
    assert not made.has("n1", "secrets", "d", "s")
