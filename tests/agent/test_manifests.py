"""Static pods as files say, by value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.agent.manifests import BadManifest, is_mirror, is_static, mirror_of, read_manifest, shows

Obj = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"
MAIN = {"name": "main", "image": "busybox"}


def manifest(**changes: Any) -> Obj:
    spec = {"containers": [MAIN], **changes.pop("spec", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **changes}, "spec": spec}


def read(obj: Obj | bytes, path: str = "/etc/pods/web.yaml", node_name: str = "n1") -> Obj:
    raw = obj if isinstance(obj, bytes) else json.dumps(obj).encode()
    return read_manifest(raw, path=path, node_name=node_name, now=NOW).pod


def test_a_static_pod_is_named_after_the_node_bound_to_it_marked_and_defaulted():
    pod = read(manifest(labels={"app": "web"}, annotations={"kubernetes.io/config.mirror": "forged", "mine": "1"}))
    metadata = pod["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("web-n1", "default")
    assert metadata["annotations"] == {
        "mine": "1",
        "kubernetes.io/config.hash": metadata["uid"],
        "kubernetes.io/config.seen": NOW,
        "kubernetes.io/config.source": "file",
    }
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["spec"]["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert pod["spec"]["restartPolicy"] == "Always"
    assert is_static(pod)
    assert not is_mirror(pod)


def test_yaml_and_json_say_the_same():
    text = b"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: main, image: busybox}\n"
    assert read(text) == read(manifest())


def test_the_uid_changes_with_content_place_and_node_and_with_nothing_else():
    first = read(manifest())["metadata"]["uid"]
    again = read_manifest(json.dumps(manifest(), indent=4).encode(), path="/etc/pods/web.yaml", node_name="n1", now="x")
    assert again.pod["metadata"]["uid"] == first
    others = [
        read(manifest(labels={"a": "b"})),
        read(manifest(), path="/else/web.yaml"),
        read(manifest(), node_name="n2"),
    ]
    assert first not in [other["metadata"]["uid"] for other in others]


def test_a_mirror_carries_the_hash_and_belongs_to_the_node():
    pod = read(manifest())
    mirror = mirror_of(pod, {"metadata": {"name": "n1", "uid": "u"}})
    assert is_mirror(mirror)
    assert shows(mirror, pod)
    assert mirror["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "controller": True, "name": "n1", "uid": "u"}
    ]
    assert "uid" not in mirror["metadata"]
    assert not shows(mirror, read(manifest(labels={"a": "b"})))
    mirror["metadata"]["deletionTimestamp"] = NOW
    assert not shows(mirror, pod)


def test_a_pod_of_the_api_cannot_pass_for_a_static_one():
    annotations = {"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "abc"}
    assert not is_static({"metadata": {"uid": "5f1d8c1e-0000-4000-8000-000000000000", "annotations": annotations}})


def test_a_system_class_gives_its_priority():
    assert read(manifest(spec={"priorityClassName": "system-node-critical"}))["spec"]["priority"] == 2_000_001_000


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"serviceAccountName": "robot"}, "serviceaccounts"),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets"),
        ({"containers": [{**MAIN, "envFrom": [{"secretRef": {"name": "s"}}]}]}, "secrets"),
        ({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}, "configmaps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "claims"),
        (
            {
                "volumes": [
                    {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "b", "path": "ca"}}]}},
                ]
            },
            "clustertrustbundles",
        ),
        ({"resourceClaims": [{"name": "r", "resourceClaimName": "c"}]}, "resourceclaims"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_the_api_is_refused(spec: Obj, what: str):
    with pytest.raises(BadManifest, match=f"static pods may not reference .*{what}"):
        read(manifest(spec=spec))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "metadata.name is missing"),
        (b"{", "did not find expected node content"),
        (b"kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n", "Deployment"),
        (b"kind: Pod\napiVersion: v1\nmetadata: {name: x}\nspec: {}\n", "spec.containers: Required value"),
        (
            b"kind: Pod\napiVersion: v1\nmetadata: {name: 'A B'}\nspec: {containers: [{name: a, image: b}]}\n",
            "metadata.name",
        ),
        (b"[" * 10_000, "exceeded max depth"),
        (b" " * (11 << 20), "larger than"),
    ],
    ids=["empty", "broken", "other kind", "no container", "bad name", "deep", "large"],
)
def test_what_is_no_pod_is_refused_with_the_reason(raw: bytes, why: str):
    with pytest.raises(BadManifest, match=why):
        read(raw)


@settings(max_examples=30)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_breaks_the_reader(raw: bytes):
    with pytest.raises(BadManifest):
        read(raw)


def test_an_unknown_field_is_a_warning():
    raw = json.dumps(manifest(spec={"bogus": 1})).encode()
    assert read_manifest(raw, path="p", node_name="n1", now=NOW).warnings == ('unknown field "spec.bogus"',)
