"""Three real nodes on one machine."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until
from tests.e2e.test_walkthrough import fetch

SHELL = "localhost/sparsam/busybox:1"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("three"), "--nodes", "3", "--node-name", "e2e") as cluster:
        yield cluster


def spread(name: str, replicas: int, seconds: int) -> dict:
    """A Deployment with as many CPUs asked as makes nodes fill one after the other, and little patience for lost ones."""
    tolerations = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for why in ("not-ready", "unreachable")
    ]
    container = {
        "name": "web",
        "image": "localhost/sparsam/web:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "400m"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    spec = {"tolerations": tolerations, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def nodes_of(cluster: Cluster, app: str) -> set[str]:
    pods = cluster.get("pods", "-l", f"app={app}")["items"]
    return {pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def test_three_nodes_are_ready_and_their_pods_reach_each_other(three: Cluster):
    names = [node["metadata"]["name"] for node in three.get("nodes")["items"]]
    assert names == ["e2e-1", "e2e-2", "e2e-3"]
    three.apply(spread("web", 6, 300))
    three.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
    three.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    assert nodes_of(three, "web") == set(names)
    pods = three.get("pods", "-l", "app=web")["items"]
    first = pods[0]
    for other in {pod["spec"]["nodeName"]: pod for pod in pods}.values():
        address = other["status"]["podIP"]
        page = three.kubectl("exec", first["metadata"]["name"], "--", "wget", "-qO-", f"http://{address}:8080/")
        assert f"pod {other['metadata']['name']}" in page
    assert "sparsam demo" in three.kubectl("exec", first["metadata"]["name"], "--", "wget", "-qO-", "http://web/")
    service = three.get("service", "web")["spec"]["clusterIP"]
    until(lambda: "sparsam demo" in fetch(f"http://{service}/"), what="the Service from the machine itself")


def test_a_node_reads_what_its_own_pods_use_and_changes_nothing_else(three: Cluster):
    three.kubectl("create", "secret", "generic", "word", "--from-literal=word=open sesame")
    use = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "word", "key": "word"}}}
    container = {"name": "c", "image": SHELL, "command": ["sh", "-c", "echo $WORD; sleep 3600"], "env": [use]}
    spec = {"nodeName": "e2e-1", "terminationGracePeriodSeconds": 0, "containers": [container]}
    three.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec})
    three.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=80s")
    assert three.kubectl("logs", "user") == "open sesame\n"

    def as_node(number: int, *arguments: str) -> str:
        own = str(three.data_dir / f"node-e2e-{number}.kubeconfig")
        # The last --kubeconfig counts. The nodes' server is an address that this namespace reaches too.
        return three.kubectl(*arguments, "--kubeconfig", own, check=False)

    assert as_node(1, "get", "secret", "word", "-o", "name") == "secret/word\n"
    assert as_node(2, "get", "secret", "word") == (
        'Error from server (Forbidden): secrets "word" is forbidden: User "system:node:e2e-2" cannot get resource '
        '"secrets" in API group "" in the namespace "default": no relationship found between node \'e2e-2\' and this '
        "object\n"
    )
    assert "node 'e2e-2' cannot read 'e2e-1', only its own Node object" in as_node(2, "get", "node", "e2e-1")
    assert 'node "e2e-2" is not allowed to modify node "e2e-9"' in three.kubectl(
        "create",
        "-f",
        "-",
        "--kubeconfig",
        str(three.data_dir / "node-e2e-2.kubeconfig"),
        check=False,
        stdin='{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "e2e-9"}}',
    )
    assert "can only delete pods with spec.nodeName set to itself" in as_node(2, "delete", "pod", "user")
    assert "node requested token not bound to a pod" in as_node(1, "create", "token", "default")
    assert "cannot list resource" in as_node(1, "get", "secrets", "-A")
    assert "is not allowed to modify taints" in as_node(1, "taint", "node", "e2e-1", "a=b:NoSchedule")
    three.kubectl("delete", "pod", "user", "--wait=true", "--timeout=80s")
    until(lambda: "no relationship" in as_node(1, "get", "secret", "word"), what="the end of the node's right")


def test_watts_decide_among_nodes_of_different_hunger(three: Cluster):
    for name, full in (("e2e-1", "400"), ("e2e-2", "100"), ("e2e-3", "400")):
        three.kubectl(
            "annotate", "node", name, "power.sparsam.dev/idle-watts=50", f"power.sparsam.dev/max-watts={full}"
        )
    thrifty = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "thrifty"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "c", "image": SHELL, "command": ["sleep", "60"], "resources": {"requests": {"cpu": "100m"}}}
            ],
        },
    }
    three.apply(thrifty)
    pod = until(
        lambda: (p := three.get("pod", "thrifty")) and p["spec"].get("nodeName") and p, what="placement of thrifty"
    )
    why = json.loads(pod["metadata"]["annotations"]["power.sparsam.dev/placement"])
    assert pod["spec"]["nodeName"] == "e2e-2"
    # Not the watts: on a machine that is busy to the brim already they rise on no node.
    assert why["ranked"][0]["parts"]["joules"] > why["ranked"][1]["parts"]["joules"]
    assert why["estimated"] is False
    three.kubectl("delete", "pod", "thrifty")


def test_a_node_that_is_cut_off_becomes_not_ready_and_its_pods_run_elsewhere(three: Cluster):
    three.kubectl("scale", "deployment", "web", "--replicas=0")
    three.apply(spread("mobile", 3, 2))
    three.kubectl("rollout", "status", "deployment/mobile", "--timeout=80s")
    lost = sorted(nodes_of(three, "mobile"))[0]
    link = ["ip", "netns", "exec", f"sparsam-{lost}", "ip", "link", "set", "eth0"]
    subprocess.run([*link, "down"], check=True)
    try:
        until(lambda: ready(three, lost) == "Unknown", 120, "NotReady")

        def moved() -> bool:
            pods = three.get("pods", "-l", "app=mobile")["items"]
            running = [
                p
                for p in pods
                if "deletionTimestamp" not in p["metadata"]
                and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", ()))
            ]
            return len(running) == 3 and lost not in {p["spec"]["nodeName"] for p in running}

        until(moved, 90, "three ready pods elsewhere")
        assert "NotReady" in three.kubectl("get", "node", lost)
    finally:
        subprocess.run([*link, "up"], check=True)
        subprocess.run(
            ["ip", "netns", "exec", f"sparsam-{lost}", "ip", "route", "replace", "default", "via", "10.245.0.1"],
            check=False,
        )
    until(lambda: ready(three, lost) == "True", 120, "Ready again")


def ready(cluster: Cluster, node: str) -> str:
    conditions = cluster.get("node", node)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == "Ready")
