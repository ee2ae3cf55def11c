"""The cluster under load and under kill -9. Everything stays inside the test's own network namespace."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ROOT, Cluster, until
from tests.e2e.load import Load
from tests.e2e.test_walkthrough import deploy_web, fetch, pods_of

pytestmark = pytest.mark.fault

KILLS = 20
SEED = int(os.environ.get("SPARSAM_SEED", "20261123"))


def container(cluster: Cluster, namespace: str, pod: str) -> dict:
    return cluster.get("pod", pod, "-n", namespace)["status"]["containerStatuses"][0]


def test_a_rolling_update_under_load_fails_no_request(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    service = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    until(lambda: "version 1" in fetch(f"http://{service}/"), what="first answer")
    with Load(f"http://{service}/") as load:
        for version in ("2", "1"):
            cluster.kubectl("set", "image", "-n", namespace, "deployment/web", f"web=localhost/sparsam/web:{version}")
            cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=90s")
        until(lambda: len(cluster.get("pods", "-n", namespace)["items"]) == 3, what="old pods gone")
    assert load.answers > 100
    assert not load.failures


def test_a_killed_container_restarts_and_is_counted(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    pod = pods_of(cluster, namespace)[0]["metadata"]["name"]
    before = container(cluster, namespace, pod)
    cluster.kubectl("exec", "-n", namespace, pod, "--", "kill", "-TERM", "1", check=False)

    def restarted() -> bool:
        now = container(cluster, namespace, pod)
        return now["restartCount"] == before["restartCount"] + 1 and now["ready"]

    until(restarted, what="restart")
    after = container(cluster, namespace, pod)
    assert after["containerID"] != before["containerID"]
    assert "terminated" in after["lastState"]


def test_containers_outlive_the_node_process_and_are_adopted(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    before = {p["metadata"]["name"]: p["status"]["containerStatuses"][0] for p in pods_of(cluster, namespace)}
    service = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    old = cluster.children()["node-e2e"]
    with Load(f"http://{service}/") as load:
        os.kill(old, signal.SIGKILL)
        until(lambda: cluster.children().get("node-e2e", old) != old, what="node process again")
        name = next(iter(before))
        until(lambda: cluster.kubectl("exec", "-n", namespace, name, "--", "true", check=False) == "", what="exec")
    assert not load.failures
    after = {p["metadata"]["name"]: p["status"]["containerStatuses"][0] for p in pods_of(cluster, namespace)}
    assert after == before


@contextlib.contextmanager
def writing(cluster: Cluster, namespace: str) -> Iterator[list[str]]:
    """Creates ConfigMaps all the while; yields the names that were acknowledged."""
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = f"kept-{number}"
            with contextlib.suppress(Exception):
                created = cluster.kubectl("create", "configmap", name, "-n", namespace, check=False, seconds=20)
                if "created" in created:
                    acknowledged.append(name)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join(30)


def test_a_rollout_completes_while_control_and_api_are_killed_again_and_again(cluster: Cluster, namespace: str):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    deploy_web(cluster, namespace)
    with writing(cluster, namespace) as acknowledged:
        for kill in range(KILLS):
            if kill % 5 == 0:
                version = 2 - (kill // 5) % 2
                until(
                    lambda version=version: (
                        "unchanged"
                        not in cluster.kubectl(
                            *("set", "image", "-n", namespace, "deployment/web"),
                            f"web=localhost/sparsam/web:{version}",
                            check=False,
                        )
                    ),
                    what="image set",
                )
            time.sleep(chance.uniform(0.1, 1.0))
            victim = chance.choice(["api", "control"])
            pid = cluster.children().get(victim)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    until(lambda: "successfully rolled out" in rollout(cluster, namespace), 150, "rollout")
    names = set(cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").split())
    lost = [name for name in acknowledged if f"configmap/{name}" not in names]
    assert acknowledged
    assert not lost
    until(lambda: len(pods_of(cluster, namespace)) == 3, 60, "exactly three pods")


def rollout(cluster: Cluster, namespace: str) -> str:
    command = ("rollout", "status", "-n", namespace, "deployment/web", "--timeout=10s")
    return cluster.kubectl(*command, check=False, seconds=30)


def test_examples_used_here_exist():
    assert (ROOT / "examples" / "web.yaml").exists()
