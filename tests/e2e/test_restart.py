"""`sparsam down` and `sparsam up` again: the same cluster, its pods included."""

from pathlib import Path

from tests.e2e.conftest import ROOT, Cluster, running_cluster, until
from tests.e2e.test_walkthrough import fetch


def pods_ready(cluster: Cluster, count: int) -> bool:
    pods = cluster.get("pods", "-l", "app=web")["items"]
    conditions = [
        {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}.get("Ready") for pod in pods
    ]
    return conditions == ["True"] * count


def answer(address: str) -> str:
    try:
        return fetch(f"http://{address}/")
    except OSError:
        return ""


def test_pods_come_back_with_new_addresses_and_the_page_answers(tmp_path: Path):
    with running_cluster(tmp_path, "--node-name", "again", "--port", "7443") as cluster:
        cluster.kubectl("apply", "-f", str(ROOT / "examples" / "web.yaml"))
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=80s")
        before = {pod["metadata"]["uid"] for pod in cluster.get("pods", "-l", "app=web")["items"]}
        cluster.sparsam("down")
        cluster.sparsam("up", "--detach", "--data-dir", str(cluster.data_dir))
        assert [node["metadata"]["name"] for node in cluster.get("nodes")["items"]] == ["again"]
        address = cluster.get("service", "web")["spec"]["clusterIP"]
        # What the API says of the pods may be from before; whether they answer is not.
        until(lambda: all("version 1" in answer(address) for _ in range(10)), what="the page")
        until(lambda: pods_ready(cluster, 3), what="the pods to be ready again")
        pods = cluster.get("pods", "-l", "app=web")["items"]
        assert {pod["metadata"]["uid"] for pod in pods} == before
        assert all(len(pod["status"]["podIPs"]) == 1 for pod in pods)
