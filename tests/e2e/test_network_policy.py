"""NetworkPolicies between pods of several nodes, as one meets them with kubectl."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until

WEB = "localhost/sparsam/web:1"
HERE = "default"


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


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> dict[str, str]:
    """Addresses of pods on both nodes, one of them in a namespace of its own."""
    first, second = (node["metadata"]["name"] for node in cluster.get("nodes")["items"])
    cluster.kubectl("create", "namespace", "elsewhere")
    until(lambda: cluster.get("serviceaccounts", "-n", "elsewhere")["items"], what="default service account")
    made = [pod(name, HERE, node) for name, node in (("server", first), ("friend", first), ("far", second))]
    made += [pod("stranger", HERE, second), pod("alien", "elsewhere", second)]
    cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, made)))
    for namespace in (HERE, "elsewhere"):
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=80s")
    items = cluster.get("pods", "-A")["items"]
    return {each["metadata"]["name"]: each["status"]["podIP"] for each in items}


def asks(cluster: Cluster, who: str, url: str) -> bool:
    """Whether a pod gets the page of another."""
    # Not by wget's own -T: Debian's static busybox crashes on it.
    ask = ("timeout", "3", "wget", "-qO-", url)
    command = ("exec", "-n", "elsewhere" if who == "alien" else HERE, who, "--", *ask)
    return "sparsam demo" in cluster.kubectl(*command, check=False)


def apply(cluster: Cluster, name: str, pods: dict[str, str], **spec: Any) -> None:
    metadata = {"namespace": HERE, "name": name}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    cluster.apply({**kind, "metadata": metadata, "spec": {"podSelector": {"matchLabels": pods}, **spec}})


def test_a_default_denial_and_what_is_allowed_beside_it(cluster: Cluster, pods: dict[str, str]):
    def reaches(who: str) -> bool:
        return asks(cluster, who, f"http://{pods['server']}:8080/")

    assert all(reaches(who) for who in ("friend", "far", "stranger", "alien"))
    apply(cluster, "deny", {}, policyTypes=["Ingress"])
    until(lambda: not reaches("friend"), what="denial on the same node")
    until(lambda: not reaches("far"), what="denial between nodes")
    peers = [{"podSelector": {"matchLabels": {"app": name}}} for name in ("friend", "far")]
    apply(cluster, "allow", {"app": "server"}, ingress=[{"from": peers, "ports": [{"port": "web"}]}])
    until(lambda: reaches("friend") and reaches("far"), what="what is allowed")
    assert not reaches("stranger")
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    ranges = [{"port": 8000, "endPort": 8100}, {"port": 8080}]
    apply(cluster, "allow", {"app": "server"}, ingress=[{"from": [named], "ports": ranges}])
    until(lambda: reaches("alien") and not reaches("friend"), what="another namespace alone")
    block = {"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"{pods['far']}/32", f"{pods['alien']}/32"]}}
    apply(cluster, "allow", {"app": "server"}, ingress=[{"from": [block], "ports": ranges}])
    until(lambda: reaches("stranger") and not reaches("alien"), what="a network without a part")
    assert not reaches("far")
    apply(cluster, "allow", {"app": "server"}, ingress=[{"from": [block], "ports": [{"port": 8081, "endPort": 8100}]}])
    until(lambda: not reaches("stranger"), what="other ports alone")
    cluster.kubectl("delete", "networkpolicy", "--all", "-n", HERE)
    until(lambda: reaches("stranger") and reaches("alien"), what="nothing denied any more")


def test_what_leaves_a_pod_is_denied_and_allowed_too(cluster: Cluster, pods: dict[str, str]):
    cluster.kubectl("expose", "-n", HERE, "pod/server", "--port=80", "--target-port=8080")
    server, far = (f"http://{pods[name]}:8080/" for name in ("server", "far"))
    until(lambda: asks(cluster, "friend", "http://server/"), what="the Service by name")
    apply(cluster, "deny", {"app": "friend"}, policyTypes=["Egress"])
    until(lambda: not asks(cluster, "friend", server), what="denial")
    assert asks(cluster, "stranger", server)
    assert asks(cluster, "far", f"http://{pods['friend']}:8080/")
    to_server = {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": "web"}]}
    apply(cluster, "out", {"app": "friend"}, policyTypes=["Egress"], egress=[to_server])
    until(lambda: asks(cluster, "friend", server), what="the one that is allowed")
    assert not asks(cluster, "friend", far)
    assert not asks(cluster, "friend", "http://server/")
    dns = {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"port": 53, "protocol": "UDP"}],
    }
    apply(cluster, "out", {"app": "friend"}, policyTypes=["Egress"], egress=[to_server, dns])
    until(lambda: asks(cluster, "friend", "http://server/"), what="the Service by name, with the DNS allowed")
