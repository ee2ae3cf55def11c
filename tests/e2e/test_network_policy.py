"""NetworkPolicies between pods of several nodes, as one meets them with kubectl."""

from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until

WEB = "localhost/sparsam/web:1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with running_cluster(tmp_path_factory.mktemp("n"), "--nodes", "2", "--node-name", "n") as one:
        yield one


def pod(name: str, namespace: str, node: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    container = {"name": "c", "image": WEB, "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe}
    spec = {"terminationGracePeriodSeconds": 0, "nodeName": node, "containers": [container]}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_default_denial_and_what_is_allowed_beside_it(cluster: Cluster, namespace: str):
    first, second = (node["metadata"]["name"] for node in cluster.get("nodes")["items"])
    for name, node in (("server", first), ("friend", first), ("far", second), ("stranger", second)):
        cluster.apply(pod(name, namespace, node))
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    address = cluster.get("pod", "server", "-n", namespace)["status"]["podIP"]

    def reaches(who: str) -> bool:
        # Not by wget's own -T: Debian's static busybox crashes on it.
        ask = ("timeout", "3", "wget", "-qO-", f"http://{address}:8080/")
        command = ("exec", "-n", namespace, who, "--", *ask)
        return "sparsam demo" in cluster.kubectl(*command, check=False)

    assert all(reaches(who) for who in ("friend", "far", "stranger"))
    meta = {"namespace": namespace}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    cluster.apply(
        {**policy, "metadata": {**meta, "name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    )
    until(lambda: not reaches("friend"), what="denial on the same node")
    until(lambda: not reaches("far"), what="denial between nodes")
    peers = [{"podSelector": {"matchLabels": {"app": name}}} for name in ("friend", "far")]
    spec = {
        "podSelector": {"matchLabels": {"app": "server"}},
        "ingress": [{"from": peers, "ports": [{"port": "web"}]}],
    }
    cluster.apply({**policy, "metadata": {**meta, "name": "allow"}, "spec": spec})
    until(lambda: reaches("friend") and reaches("far"), what="what is allowed")
    assert not reaches("stranger")
    cluster.kubectl("delete", "networkpolicy", "--all", "-n", namespace)
    until(lambda: reaches("stranger"), what="nothing denied any more")
