"""Claims, volumes and what is in them, as pods and kubectl see it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until

SHELL = "localhost/sparsam/busybox:1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with running_cluster(tmp_path_factory.mktemp("s"), "--nodes", "2", "--node-name", "s") as one:
        yield one


def claim(name: str, namespace: str, size: str = "1Mi", **spec: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def pod(
    name: str, namespace: str, volume: str | dict[str, Any], mount: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod that sleeps with one volume, of a claim if it is only named, at /data."""
    source = {"persistentVolumeClaim": {"claimName": volume}} if isinstance(volume, str) else volume
    container = {
        "name": "c",
        "image": SHELL,
        "command": ["sh", "-c", "sleep 3600"],
        "volumeMounts": [{"name": "v", "mountPath": "/data", **(mount or {})}],
    }
    body = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "v", **source}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def storage_class(name: str, **fields: Any) -> dict[str, Any]:
    fields.setdefault("provisioner", "local.sparsam.dev")
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, **fields}


def sh(cluster: Cluster, namespace: str, name: str, command: str, check: bool = True) -> str:
    return cluster.kubectl("exec", "-n", namespace, name, "--", "sh", "-c", command, check=check).strip()


def ready(cluster: Cluster, namespace: str, *pods: str) -> None:
    names = [f"pod/{name}" for name in pods] or ["pod", "--all"]
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", *names, "--timeout=80s")


def messages(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """The newest event of each reason about an object."""
    events = cluster.get("events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")["items"]
    return {each["reason"]: each["message"] for each in events}


def volume_of(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    return cluster.get("pv", cluster.get("pvc", name, "-n", namespace)["spec"]["volumeName"])


def local_path(cluster: Cluster, volume: dict[str, Any]) -> Path:
    return Path(volume["spec"]["local"]["path"])


def test_a_claim_gets_a_directory_on_its_pods_node_that_outlives_pods_and_agents(cluster: Cluster, namespace: str):
    template = pod("", namespace, {})["spec"] | {"volumes": []}
    template["containers"][0]["command"] = ["sh", "-c", "echo $HOSTNAME >> /data/log; exec sleep 3600"]
    labels = {"app": "db"}
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": namespace},
            "spec": {
                "replicas": 2,
                "serviceName": "db",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template},
                "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": claim("", "")["spec"]}],
            },
        }
    )
    cluster.apply(claim("unused", namespace))
    for name, fields in (("now", {"volumeBindingMode": "Immediate"}), ("kept", {"reclaimPolicy": "Retain"})):
        cluster.apply(storage_class(f"{namespace}-{name}", **fields))
        cluster.apply(claim(name, namespace, storageClassName=f"{namespace}-{name}"))
        cluster.apply(pod(name, namespace, name))
    ready(cluster, namespace, "db-0", "db-1", "now", "kept")
    for name in ("db-0", "db-1"):
        placed = cluster.get("pod", name, "-n", namespace)["spec"]["nodeName"]
        volume = volume_of(cluster, namespace, f"v-{name}")
        assert volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [
            placed
        ]
        assert (cluster.data_dir / "nodes" / placed / "volumes") == local_path(cluster, volume).parent
        assert (local_path(cluster, volume) / "log").read_text() == f"{name}\n"
    told = messages(cluster, namespace, "v-db-0")
    assert {"WaitForPodScheduled", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"} & told.keys()
    assert told["ProvisioningSucceeded"].startswith("Successfully provisioned volume pvc-")
    assert messages(cluster, namespace, "unused")["WaitForFirstConsumer"]
    assert cluster.get("pvc", "unused", "-n", namespace)["status"]["phase"] == "Pending"

    # The agents die without a word and the pods go: the data stays.
    for name, pid in cluster.children().items():
        if name.startswith("node-"):
            os.kill(pid, signal.SIGKILL)
    cluster.kubectl("delete", "pod", "db-0", "db-1", "-n", namespace, "--wait=true", "--timeout=80s")
    until(lambda: len(cluster.get("pods", "-n", namespace, "-l", "app=db")["items"]) == 2, what="new pods")
    ready(cluster, namespace, "db-0", "db-1")
    assert sh(cluster, namespace, "db-0", "cat /data/log") == "db-0\ndb-0"

    # A claim in use waits to be deleted; afterwards the data of a class that deletes goes, and that of others stays.
    kept, now = (volume_of(cluster, namespace, name) for name in ("kept", "now"))
    sh(cluster, namespace, "now", "ln -s /etc /data/out; mkdir /data/d; echo x > /data/d/f")
    sh(cluster, namespace, "kept", "echo mine > /data/f")
    assert local_path(cluster, now).is_dir()
    cluster.kubectl("delete", "pvc", "kept", "now", "-n", namespace, "--wait=false")
    held = cluster.get("pvc", "now", "-n", namespace)
    assert held["metadata"]["deletionTimestamp"]
    assert held["status"]["phase"] == "Bound"
    assert sh(cluster, namespace, "now", "cat /data/d/f") == "x"
    cluster.kubectl("delete", "pod", "kept", "now", "-n", namespace, "--wait=false")
    until(lambda: not local_path(cluster, now).exists(), what="the deletion of the data")
    until(lambda: "NotFound" in cluster.kubectl("get", "pv", now["metadata"]["name"], check=False), what="no volume")
    assert (local_path(cluster, kept) / "f").read_text() == "mine\n"
    phase = lambda: cluster.get("pv", kept["metadata"]["name"])["status"]["phase"]  # noqa: E731
    until(lambda: phase() == "Released", what="a released volume")

    # Nobody gets a released volume, not even a claim of the same name that asks for it.
    again = claim("kept", namespace, storageClassName=f"{namespace}-kept", volumeName=kept["metadata"]["name"])
    cluster.apply(again)
    cluster.apply(pod("again", namespace, "kept"))
    until(lambda: "FailedScheduling" in messages(cluster, namespace, "again"), what="a word why")
    assert phase() == "Released"
    cluster.kubectl("delete", "pv", kept["metadata"]["name"], "--wait=true", "--timeout=60s")
    assert (local_path(cluster, kept) / "f").read_text() == "mine\n"
    larger = json.dumps({"spec": {"resources": {"requests": {"storage": "2Mi"}}}})
    refused = cluster.kubectl("patch", "pvc", "v-db-0", "-n", namespace, "-p", larger, check=False)
    assert "only dynamically provisioned pvc can be resized" in refused
