"""A CSI driver that lives in pods, as drivers do: a DaemonSet on the nodes, and a provisioner as a Deployment."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Cluster, outside, running_cluster, until
from tests.e2e.test_storage import claim, pod, ready, sh, storage_class
from tests.support.csidriver import STAGE_SECRET, journal

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

IMAGE = "localhost/csi-driver:1"
DRIVER, NAMESPACE, NODE = "csi.pods", "csi-driver", "csi"
PIECES = "aiohappyeyeballs aiohttp aiosignal attr frozenlist google grpc idna msgspec multidict propcache yaml yarl"
"""What the driver of the tests imports from PyPI."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node with the driver's pods at work."""
    folder = tmp_path_factory.mktemp("csi")
    archive = built(folder)
    with running_cluster(folder / "cluster", "--node-name", NODE) as one:
        one.sparsam("images", "load", str(archive), seconds=300)
        store = folder / "store"
        store.mkdir()
        for each in driver_objects(one.data_dir / "nodes" / NODE, store):
            one.apply(each)
        until(lambda: drivers(one) == [DRIVER], 120, "a registered driver")
        yield one


def built(folder: Path) -> Path:
    """The image's archive: Debian's Python, the driver, and what both import."""
    layer, archive = folder / "layer", folder / "driver.tar"
    packages = Path(pytest.__file__).parents[1]
    for name in PIECES.split():
        shutil.copytree(packages / name, layer / "opt/driver" / name)
    shutil.copy(packages / "typing_extensions.py", layer / "opt/driver")
    shutil.copytree(ROOT / "src/sparsam", layer / "opt/driver/sparsam")
    for name in ("__init__.py", "support/__init__.py", "support/csidriver.py", "support/csiprovisioner.py"):
        (layer / "opt/driver/tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, layer / "opt/driver/tests" / name)
    build = [
        *outside(),
        sys.executable,
        "-m",
        "sparsam.cli",
        "images",
        "build",
        IMAGE,
        "--packages",
        "python3,libstdc++6,mount",
    ]
    build += ["--dir", str(layer), "--env", "PYTHONPATH=/opt/driver", "--output", str(archive)]
    result = subprocess.run(build, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode != 0:
        pytest.skip(f"cannot build the driver's image from Debian packages: {result.stderr.strip()[-200:]}")
    return archive


def drivers(cluster: Cluster) -> list[str]:
    return [each["name"] for each in cluster.get("csinode", NODE)["spec"].get("drivers") or ()]


def driver_objects(root: Path, store: Path) -> list[dict[str, Any]]:
    """As the manifests of drivers have them: the node's folders under their own paths, mounts passed on to the node."""
    labels = {"app": "driver"}
    python = {"image": IMAGE, "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}]}
    place = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    command = ["python3", "-m", "tests.support.csidriver", f"--name={DRIVER}", "--node-id=$(NODE)"]
    driver = {
        **python,
        "name": "driver",
        "command": [*command, f"--root={root}", f"--store={store}"],
        "env": [*python["env"], {"name": "NODE", "valueFrom": place}],
        "securityContext": {"privileged": True},
        "volumeMounts": [
            {"name": "node", "mountPath": str(root), "mountPropagation": "Bidirectional"},
            {"name": "store", "mountPath": str(store)},
        ],
    }
    folders = [
        {"name": "node", "hostPath": {"path": str(root), "type": "Directory"}},
        {"name": "store", "hostPath": {"path": str(store), "type": "Directory"}},
    ]
    on_nodes = {"terminationGracePeriodSeconds": 1, "containers": [driver], "volumes": folders}
    provisioner = {
        **python,
        "name": "provisioner",
        "command": ["python3", "-m", "tests.support.csiprovisioner", f"--name={DRIVER}", f"--store={store}"],
        "volumeMounts": [{"name": "store", "mountPath": str(store)}],
    }
    central = {
        "serviceAccountName": "provisioner",
        "terminationGracePeriodSeconds": 1,
        "containers": [provisioner],
        "volumes": folders[1:],
    }
    facts = {"attachRequired": False, "podInfoOnMount": True, "fsGroupPolicy": "File"}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:persistent-volume-provisioner",
    }
    account = {"kind": "ServiceAccount", "name": "provisioner", "namespace": NAMESPACE}
    options = {"provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "provisioner", "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "csi-provisioner"},
            "roleRef": role,
            "subjects": [account],
        },
        {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": facts},
        storage_class("csi", **options, parameters={"secret": STAGE_SECRET}),
        workload("DaemonSet", "driver", labels, on_nodes),
        workload("Deployment", "provisioner", {"app": "provisioner"}, central),
    ]


def workload(kind: str, name: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


@pytest.fixture
def store(cluster: Cluster) -> Path:
    return cluster.data_dir.parent.parent / "store"


def driver_pod(cluster: Cluster) -> dict[str, Any]:
    (found,) = until(
        lambda: [
            each
            for each in cluster.get("pods", "-n", NAMESPACE, "-l", "app=driver")["items"]
            if any(one.get("ready") for one in each["status"].get("containerStatuses") or ())
        ],
        what="a driver's pod",
    )
    return found


def test_a_claim_is_provisioned_mounted_and_kept_while_the_drivers_pod_comes_and_goes(
    cluster: Cluster, namespace: str, store: Path
):
    cluster.kubectl("create", "secret", "generic", STAGE_SECRET, "-n", namespace, f"--from-literal=word={STAGE_SECRET}")
    cluster.apply(claim("data", namespace, storageClassName="csi"))
    # With a grace period the API waits for the node, which waits for the driver.
    patient = {"terminationGracePeriodSeconds": 1}
    cluster.apply(pod("writer", namespace, "data", securityContext={"fsGroup": 3000}, **patient))
    ready(cluster, namespace, "writer")
    volume = cluster.get("pvc", "data", "-n", namespace)["spec"]["volumeName"]
    sh(cluster, namespace, "writer", "echo first > /data/f")
    assert (store / "volumes" / volume / "f").read_text() == "first\n"

    # The driver's pod is replaced: who has a volume does not notice.
    old = driver_pod(cluster)["metadata"]["name"]
    cluster.kubectl("delete", "pod", old, "-n", NAMESPACE, "--wait=true", "--timeout=80s")
    sh(cluster, namespace, "writer", "echo second >> /data/f")
    assert driver_pod(cluster)["metadata"]["name"] != old
    until(lambda: drivers(cluster) == [DRIVER], what="a driver registered again")
    cluster.apply(pod("reader", namespace, "data", **patient))
    ready(cluster, namespace, "reader")
    assert sh(cluster, namespace, "reader", "cat /data/f") == "first\nsecond"

    # So with a driver and an agent that die without a word.
    before = driver_pod(cluster)["status"]["containerStatuses"][0]["restartCount"]
    inside = cluster.kubectl(
        "get", "pod", "-n", NAMESPACE, "-l", "app=driver", "-o", "jsonpath={.items[0].metadata.uid}"
    )
    os.kill(cluster.children()[f"node-{NODE}"], signal.SIGKILL)
    os.kill(process_of(inside), signal.SIGKILL)
    until(
        lambda: driver_pod(cluster)["status"]["containerStatuses"][0]["restartCount"] == before + 1, 120, "a new driver"
    )
    cluster.kubectl("delete", "pod", "writer", "-n", namespace, "--wait=true", "--timeout=80s")
    assert sh(cluster, namespace, "reader", "cat /data/f") == "first\nsecond"
    restarts = cluster.get("pod", "reader", "-n", namespace)["status"]["containerStatuses"][0]["restartCount"]
    assert restarts == 0

    cluster.kubectl("delete", "pod", "reader", "-n", namespace, "--wait=true", "--timeout=80s")
    cluster.kubectl("delete", "pvc", "data", "-n", namespace, "--wait=true", "--timeout=80s")
    until(lambda: not (store / "volumes" / volume).exists(), what="the data's end")
    until(lambda: "NotFound" in cluster.kubectl("get", "pv", volume, check=False), what="the volume's end")
    until(lambda: methods(store, volume)[-1] == "NodeUnstageVolume", what="the volume's last call")
    assert methods(store, volume).count("NodeUnpublishVolume") == 2
    assert {each["code"] for each in journal(store)} == {"OK"}, journal(store)


def methods(store: Path, volume: str) -> list[str]:
    return [each["method"] for each in journal(store) if each.get("volume_id") == volume]


def process_of(pod_uid: str) -> int:
    """The driver's process, by the group that it is in."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            mine = pod_uid in path.read_text() and "csidriver" in (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if mine:
            return int(path.parent.name)
    raise AssertionError(f"no driver in pod {pod_uid}")
