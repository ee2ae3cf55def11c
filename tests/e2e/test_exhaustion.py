"""Pods that take all they can get: they suffer for it, the node and its other pods do not.

The cluster's data lives in a small file system of its own, so that the machine's disk is never filled.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until
from tests.support.leaks import CGROUPS, NodeFiles

pytestmark = pytest.mark.fault

SHELL = "localhost/sparsam/busybox:1"
NODE = "small"
DISK_MB = 800
PIDS = 64
NAMESPACE = "default"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    tmp = tmp_path_factory.mktemp("small")
    data = tmp / "data"
    data.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=711", "tmpfs", str(data)]
    subprocess.run(["mount", *options], check=True)
    os.environ["SPARSAM_POD_PIDS_LIMIT"] = str(PIDS)
    try:
        with running_cluster(tmp, "--node-name", NODE) as one:
            until(lambda: one.get("serviceaccounts")["items"], what="default service account")
            apply(one, pod("bystander", "sleep 3600"))
            one.kubectl("wait", "--for=condition=Ready", "pod/bystander", "--timeout=60s")
            yield one
    finally:
        del os.environ["SPARSAM_POD_PIDS_LIMIT"]
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def pod(name: str, script: str, limits: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": SHELL, "command": ["sh", "-c", script]}
    if limits:
        container["resources"] = {"limits": limits}
    if "volumes" in spec:
        container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec},
    }


def apply(cluster: Cluster, *pods: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(each) for each in pods))


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    return cluster.get("pod", name)["status"]


def ended(cluster: Cluster, name: str) -> dict[str, Any]:
    return until(lambda: (now := status(cluster, name)).get("phase") == "Failed" and now, 120, f"{name} fails")


def assert_unharmed(cluster: Cluster) -> None:
    bystander = status(cluster, "bystander")
    assert bystander["containerStatuses"][0]["restartCount"] == 0
    assert bystander["containerStatuses"][0]["ready"]
    assert cluster.kubectl("exec", "bystander", "--", "echo", "alive").strip() == "alive"


def files_of(cluster: Cluster) -> NodeFiles:
    return NodeFiles.of(cluster.data_dir, cluster.run_dir, NODE)


def evicted(cluster: Cluster, name: str) -> str:
    """The message of an evicted pod, once nothing of it takes room on the disk any more."""
    found = ended(cluster, name)
    assert found["reason"] == "Evicted", found
    uid = cluster.get("pod", name)["metadata"]["uid"]
    volumes = files_of(cluster).paths.pods_dir / uid / "volumes"
    until(lambda: not volumes.exists(), what=f"volumes of {name} removed")
    return str(found["message"])


def test_memory_processes_logs_and_disk_have_bounds(cluster: Cluster):
    write = "dd if=/dev/zero of={} bs=1M count=30; sleep 3600"
    limited = [{"name": "v", "emptyDir": {"sizeLimit": "10Mi"}}]
    flood = "for i in $(seq 20); do head -c 6m /dev/zero | tr '\\0' x; sleep 1; done; touch /tmp/done; sleep 3600"
    apply(
        cluster,
        pod("glutton", "tail /dev/zero", {"memory": "24Mi"}),
        pod("bomb", "b() { b | b & }; b; sleep 3600", {"cpu": "100m", "memory": "128Mi"}),
        pod("volume", write.format("/v/fill"), volumes=limited),
        pod("layer", write.format("/fill"), {"ephemeral-storage": "10Mi"}),
        pod("flood", flood),
    )
    glutton = ended(cluster, "glutton")["containerStatuses"][0]["state"]["terminated"]
    assert (glutton["reason"], glutton["exitCode"]) == ("OOMKilled", 137)
    assert_forks_fail(cluster)
    assert 'Usage of EmptyDir volume "v" exceeds the limit "10Mi"' in evicted(cluster, "volume")
    assert "ephemeral local storage" in evicted(cluster, "layer")
    assert_unharmed(cluster)
    assert_log_is_rotated(cluster)


def assert_forks_fail(cluster: Cluster) -> None:
    uid = cluster.get("pod", "bomb")["metadata"]["uid"]
    base = files_of(cluster).paths.cgroup_base.lstrip("/")
    (group,) = [*CGROUPS.glob(f"pids/{base}/*/pod{uid}"), *CGROUPS.glob(f"{base}/*/pod{uid}")]
    assert (group / "pids.max").read_text().strip() == str(PIDS)

    def refused() -> bool:  # counted where the fork was tried
        lines = [line.split() for each in group.rglob("pids.events") for line in each.read_text().splitlines()]
        return any(name == "max" and int(count) > 0 for name, count in lines)

    until(refused, what="a fork that is refused")
    assert int((group / "pids.current").read_text()) <= PIDS
    cluster.kubectl("delete", "pod", "bomb", "--wait=true", "--timeout=60s")


def assert_log_is_rotated(cluster: Cluster) -> None:
    (logs,) = files_of(cluster).paths.logs_dir.glob(f"{NAMESPACE}_flood_*")
    until(lambda: cluster.kubectl("exec", "flood", "--", "ls", "/tmp").strip() == "done", 120, "the flood ends")
    until(lambda: len(list((logs / "c").iterdir())) > 2, what="the log is rotated")
    assert len(list((logs / "c").iterdir())) <= 5
    assert "xxx" in cluster.kubectl("logs", "flood", "--tail=1", "--limit-bytes=1000")


def test_a_pod_that_fills_the_disk_is_evicted_and_all_else_goes_on(cluster: Cluster):
    hog = pod("hog", "dd if=/dev/zero of=/v/fill bs=1M; sleep 3600", volumes=[{"name": "v", "emptyDir": {}}])
    apply(cluster, hog)
    files = files_of(cluster)
    until(lambda: free_mb(files.paths.data_dir) < DISK_MB / 50, what="the disk is full")
    until(lambda: free_mb(files.paths.data_dir) > DISK_MB / 3, 120, "the disk has room again")
    message = until(lambda: message_of_hog(cluster), 120, "the eviction is told")
    assert message.startswith("The node was low on resource: ephemeral-storage. Threshold quantity: 5%, available: 0.")
    until(lambda: conditions(cluster)["DiskPressure"] == "True", what="the node's condition")  # holds for minutes
    assert conditions(cluster)["Ready"] == "True"
    cluster.kubectl("create", "configmap", "after")
    assert_unharmed(cluster)


def conditions(cluster: Cluster) -> dict[str, str]:
    return {each["type"]: each["status"] for each in cluster.get("node", NODE)["status"]["conditions"]}


def free_mb(path: Path) -> float:
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize / (1 << 20)


def message_of_hog(cluster: Cluster) -> str:
    shown = cluster.kubectl("get", "pod", "hog", "-o", "json", check=False)
    return json.loads(shown)["status"].get("message", "") if shown.startswith("{") else ""
