"""Budgets, quotas and autoscaling on real containers, as kubectl sees them."""

from typing import Any

from tests.e2e.conftest import Cluster, until

SHELL = "localhost/sparsam/busybox:1"


def deployment(name: str, command: str, **resources: Any) -> dict[str, Any]:
    container = {"name": "c", "image": SHELL, "command": ["sh", "-c", command], "resources": resources}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def available(cluster: Cluster, namespace: str, name: str) -> int:
    return int(cluster.get("deployment", name, "-n", namespace).get("status", {}).get("availableReplicas", 0))


def apply(cluster: Cluster, namespace: str, manifest: dict[str, Any]) -> None:
    cluster.apply(manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}})


def test_a_busy_deployment_grows_to_its_limit(cluster: Cluster, namespace: str) -> None:
    busy = deployment("busy", "while :; do :; done", requests={"cpu": "20m"}, limits={"cpu": "100m"})
    apply(cluster, namespace, busy)
    until(lambda: available(cluster, namespace, "busy") == 1, what="the busy pod")
    cluster.kubectl("autoscale", "deployment", "busy", "-n", namespace, "--cpu=50%", "--min=1", "--max=2")
    until(lambda: available(cluster, namespace, "busy") == 2, seconds=120, what="a second pod")
    found = cluster.get("hpa", "busy", "-n", namespace)["status"]
    assert found["desiredReplicas"] == 2
    events = cluster.get("events", "-n", namespace, "--field-selector", "reason=SuccessfulRescale")["items"]
    text = "New size: 2; reason: cpu resource utilization (percentage of request) above target"
    assert [each["message"] for each in events] == [text]


def test_a_drain_waits_for_the_budget(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("web", "sleep 3600"))
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    manifest = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget}
    apply(cluster, namespace, manifest)

    def healthy(allowed: int) -> bool:
        status = cluster.get("pdb", "web", "-n", namespace)["status"]
        return bool(status["currentHealthy"] == 1 and status["disruptionsAllowed"] == allowed)

    until(lambda: healthy(0), what="the budget's counts")
    drain = ("drain", "e2e", "--pod-selector=app=web", "--timeout=3s", "--disable-eviction=false")
    try:
        assert "would violate the pod's disruption budget" in cluster.kubectl(*drain, check=False)
        cluster.kubectl("patch", "pdb", "web", "-n", namespace, "-p", '{"spec": {"minAvailable": 0}}')
        until(lambda: healthy(1), what="a disruption to spare")
        assert "evicted" in cluster.kubectl("drain", "e2e", "--pod-selector=app=web", "--timeout=60s")
    finally:
        cluster.kubectl("uncordon", "e2e")
    until(lambda: available(cluster, namespace, "web") == 1, what="the pod's successor")


def test_a_spent_quota_refuses_and_is_given_back(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "quota", "small", "-n", namespace, "--hard=pods=1,requests.cpu=100m")
    used = ("quota", "small", "-n", namespace)
    until(lambda: "used" in cluster.get(*used).get("status", {}), what="the quota's counts")
    refused = cluster.kubectl("run", "silent", "-n", namespace, f"--image={SHELL}", check=False)
    assert "failed quota: small: must specify requests.cpu for: silent" in refused
    apply(cluster, namespace, deployment("one", "sleep 3600", requests={"cpu": "50m"}))
    until(lambda: available(cluster, namespace, "one") == 1, what="the first pod")
    cluster.kubectl("scale", "deployment", "one", "-n", namespace, "--replicas=2")

    def refusals() -> list[str]:
        events = cluster.get("events", "-n", namespace, "--field-selector", "reason=FailedCreate")["items"]
        return [each["message"] for each in events if "exceeded quota: small, requested: pods=1" in each["message"]]

    until(refusals, what="a refusal")
    cluster.kubectl("scale", "deployment", "one", "-n", namespace, "--replicas=0")
    until(lambda: cluster.get(*used)["status"]["used"] == {"pods": "0", "requests.cpu": "0"}, what="what was freed")


def seat(namespace: str, priority: str) -> dict[str, Any]:
    one = {"example.com/seat": "1"}
    container = {"name": "c", "image": SHELL, "command": ["sleep", "3600"], "resources": {"limits": one}}
    spec = {"priorityClassName": f"{namespace}-{priority}", "terminationGracePeriodSeconds": 0}
    metadata = {"name": priority, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | {"containers": [container]}}


def test_what_somebody_announces_in_a_nodes_capacity_goes_to_the_pod_of_highest_priority(
    cluster: Cluster, namespace: str
) -> None:
    def announce(seats: str) -> None:
        patch = f'{{"status": {{"capacity": {{"example.com/seat": {seats}}}}}}}'
        cluster.kubectl("patch", "node", "e2e", "--subresource=status", "-p", patch)

    def running(pod: str) -> bool:
        return cluster.get("pod", pod, "-n", namespace)["status"].get("phase") == "Running"

    announce('"1"')
    for name, value in (("low", "1"), ("high", "2")):
        cluster.kubectl("create", "priorityclass", f"{namespace}-{name}", f"--value={value}")
        cluster.apply(seat(namespace, name))
        until(lambda name=name: running(name), what=f"the {name} pod")
    assert "not found" in cluster.kubectl("get", "pod", "low", "-n", namespace, check=False)
    cluster.kubectl("delete", "priorityclass", f"{namespace}-low", f"{namespace}-high")
    announce("null")
    until(
        lambda: "example.com/seat" not in cluster.get("node", "e2e")["status"]["allocatable"],
        what="the resource to be gone",
    )
