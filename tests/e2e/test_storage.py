"""Claims, volumes and what is in them, as pods and kubectl see it."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until
from tests.support.csidriver import STAGE_SECRET, driver_process, journal, wait_registered

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

    def phase():
        return cluster.get("pv", kept["metadata"]["name"])["status"]["phase"]

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


def persistent(name: str, source: dict[str, Any], class_name: str, **spec: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": class_name, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec | source}


def test_claims_hold_what_they_promise_and_say_what_is_wrong(cluster: Cluster, namespace: str, tmp_path: Path):
    for name, kept_for, options in (("pre", "named", None), ("opt", "opt", ["noexec"]), ("lost", "lost", None)):
        reference = {"claimRef": {"namespace": namespace, "name": kept_for}}
        extra = {"mountOptions": options} if options else {}
        source = {"hostPath": {"path": str(tmp_path / name), "type": "DirectoryOrCreate"}}
        cluster.apply(persistent(f"{namespace}-{name}", source | reference, namespace, **extra))
    for name in ("other", "named", "opt", "lost"):
        cluster.apply(claim(name, namespace, storageClassName=namespace))
    cluster.apply(claim("alone", namespace, accessModes=["ReadWriteOncePod"]))
    cluster.apply(claim("shared", namespace))
    cluster.apply(claim("many", namespace, accessModes=["ReadWriteMany"]))
    cluster.apply(claim("huge", namespace, "1Ei"))
    cluster.apply(pod("huge", namespace, "huge"))
    own = {"ephemeral": {"volumeClaimTemplate": {"spec": claim("", "")["spec"]}}}
    cluster.apply(pod("own", namespace, own))
    cluster.apply(pod("alone", namespace, "alone"))
    cluster.apply(pod("missing", namespace, "none"))
    cluster.apply(pod("many", namespace, "many"))
    until(lambda: cluster.get("pvc", "opt", "-n", namespace)["status"]["phase"] == "Bound", what="a bound claim")
    cluster.apply(pod("opt", namespace, "opt"))
    cluster.apply(pod("writer", namespace, "shared"))
    user = {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}}
    cluster.apply(pod("sub", namespace, "shared", {"subPath": "a/b"}))
    ready(cluster, namespace, "writer", "sub", "alone", "own")
    sh(cluster, namespace, "sub", "echo deep > /data/f")
    assert sh(cluster, namespace, "writer", "cat /data/a/b/f") == "deep"
    cluster.apply(pod("second", namespace, "alone"))
    cluster.apply(pod("group", namespace, "shared", **user))
    cluster.apply(pod("reader", namespace, {"persistentVolumeClaim": {"claimName": "shared", "readOnly": True}}))
    sh(cluster, namespace, "own", "echo mine > /data/f")
    scratch = local_path(cluster, volume_of(cluster, namespace, "own-v"))
    assert (scratch / "f").read_text() == "mine\n"
    cluster.kubectl("delete", "pod", "own", "-n", namespace, "--wait=false")
    ready(cluster, namespace, "group", "reader")
    assert sh(cluster, namespace, "reader", "cat /data/a/b/f") == "deep"
    assert "Read-only file system" in sh(cluster, namespace, "reader", "echo no > /data/g", check=False)
    sh(cluster, namespace, "group", "echo mine > /data/mine; echo more >> /data/a/b/f")
    assert sh(cluster, namespace, "group", "stat -c '%g %a' /data/a/b/f") == "2000 664"
    assert sh(cluster, namespace, "group", "stat -c '%u:%g' /data/mine") == "1000:2000"
    assert sh(cluster, namespace, "writer", "cat /data/a/b/f") == "deep\nmore"

    assert cluster.get("pvc", "named", "-n", namespace)["spec"]["volumeName"] == f"{namespace}-pre"
    assert cluster.get("pvc", "other", "-n", namespace)["status"]["phase"] == "Pending"
    cluster.kubectl("patch", "pv", f"{namespace}-lost", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    cluster.kubectl("delete", "pv", f"{namespace}-lost", "--wait=false")
    until(lambda: cluster.get("pvc", "lost", "-n", namespace)["status"]["phase"] == "Lost", what="a lost claim")
    cluster.apply(pod("lost", namespace, "lost"))
    for name, reason, words in (
        ("missing", "FailedScheduling", 'persistentvolumeclaim "none" not found'),
        ("huge", "FailedScheduling", "did not have enough free storage"),
        ("second", "FailedScheduling", "ReadWriteOncePod access mode"),
        ("lost", "FailedScheduling", "bound to non-existent persistentvolume"),
        ("opt", "FailedMount", "mount options"),
    ):
        until(
            lambda n=name, r=reason, w=words: w in messages(cluster, namespace, n).get(r, ""), what=f"{name}: {words}"
        )
    until(
        lambda: "ReadWriteMany" in messages(cluster, namespace, "many").get("ProvisioningFailed", ""), what="a refusal"
    )
    until(lambda: not scratch.exists(), what="an ephemeral volume to go with its pod")


def test_a_csi_driver_is_told_in_order_what_pods_need(cluster: Cluster, namespace: str, tmp_path: Path):
    store = tmp_path / "store"
    with csi_driver(cluster, namespace, store) as (driver, first, second):
        (store / "volumes" / "vol" / "hello").write_text("from the array\n")
        apply_csi_volume(cluster, namespace, driver, "vol")
        cluster.apply(
            pod("tmp", namespace, {"csi": {"driver": driver, "volumeAttributes": {"color": "green"}}}, nodeName=first)
        )
        cluster.apply(pod("one", namespace, "vol", nodeName=first, securityContext={"fsGroup": 3000}))
        until(lambda: attachments(cluster, driver), what="a wish to attach")
        reader = pod("two", namespace, "vol", nodeName=second, restartPolicy="Never")
        reader["spec"]["containers"][0]["command"] = ["cat", "/data/log"]
        cluster.apply(reader)
        ready(cluster, namespace, "tmp")
        context = json.loads(sh(cluster, namespace, "tmp", "cat /data/context.json"))
        assert (context["color"], context["csi.storage.k8s.io/pod.name"]) == ("green", "tmp")
        (offered,) = cluster.get("csinode", first)["spec"]["drivers"]
        assert (offered["name"], offered["nodeID"], offered["allocatable"]) == (driver, first, {"count": 5})

        # Not before it is attached, and to one node only.
        assert not [each for each in journal(store) if each.get("volume_id") == "vol"]

        def refused():
            return messages(cluster, namespace, "two").get("FailedAttachVolume", "")

        until(lambda: "Multi-Attach error" in refused(), what="a word why the other waits")
        assert attach(cluster, driver) == [first]
        ready(cluster, namespace, "one")
        assert sh(cluster, namespace, "one", "cat /data/hello; stat -c %g /data/hello") == "from the array\n3000"
        sh(cluster, namespace, "one", "echo one >> /data/log")

        # The agent and a pod die at the same moment; the volume goes to the other node, with what was written.
        os.kill(cluster.children()[f"node-{first}"], signal.SIGKILL)
        cluster.kubectl("delete", "pod", "one", "tmp", "-n", namespace, "--wait=true", "--timeout=80s")

        def where():
            return [each["spec"]["nodeName"] for each in attachments(cluster, driver)]

        until(lambda: where() == [second], seconds=120, what="a move")
        attach(cluster, driver)

        def phase():
            return cluster.get("pod", "two", "-n", namespace)["status"]["phase"]

        until(lambda: phase() == "Succeeded", what="the end of the other pod")
        assert cluster.kubectl("logs", "-n", namespace, "two") == "one\n"
        until(lambda: not attachments(cluster, driver), what="a pod that is through to give its volume back")
    assert (store / "volumes" / "vol" / "log").read_text() == "one\n"
    assert [path.name for path in (store / "volumes").iterdir()] == ["vol"]
    until(lambda: not cluster.get("csinode", first)["spec"]["drivers"], what="a node without drivers")


def test_a_volume_grows_under_a_pod_that_runs(cluster: Cluster, namespace: str, tmp_path: Path):
    store = tmp_path / "store"
    with csi_driver(cluster, namespace, store) as (driver, first, _):
        apply_csi_volume(cluster, namespace, driver, "vol")
        cluster.apply(pod("one", namespace, "vol", nodeName=first))
        until(lambda: attach(cluster, driver), what="a wish to attach")
        ready(cluster, namespace, "one")
        # What a driver's resizer does once the storage has become larger.
        larger = json.dumps({"spec": {"capacity": {"storage": "3Gi"}}})
        cluster.kubectl("patch", "pv", f"{namespace}-vol", "--type=merge", "-p", larger)
        pending = {"allocatedResourceStatuses": {"storage": "NodeResizePending"}}
        pending["conditions"] = [{"type": "FileSystemResizePending", "status": "True"}]
        wish = json.dumps({"status": pending})
        cluster.kubectl("patch", "pvc", "vol", "-n", namespace, "--subresource=status", "--type=merge", "-p", wish)
        cluster.kubectl("annotate", "pod", "one", "-n", namespace, "look=now")

        def status():
            return cluster.get("pvc", "vol", "-n", namespace)["status"]

        until(lambda: status()["capacity"] == {"storage": "3Gi"}, seconds=90, what="a larger claim")
        assert not status().get("conditions")
        assert not status().get("allocatedResourceStatuses")
        assert "FileSystemResizeSuccessful" in messages(cluster, namespace, "one")
        metrics = cluster.kubectl("get", "--raw", f"/api/v1/nodes/{first}/proxy/metrics")
        labels = f'{{namespace="{namespace}",persistentvolumeclaim="vol"}}'
        assert f"kubelet_volume_stats_capacity_bytes{labels} {3 << 30}" in metrics


def test_a_container_reads_and_writes_a_block_device(cluster: Cluster, namespace: str, tmp_path: Path):
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no loop devices")
    store = tmp_path / "store"
    with csi_driver(cluster, namespace, store) as (driver, first, _):
        disk = store / "volumes" / "vol" / "disk"
        disk.write_bytes(b"label" + bytes((1 << 20) - 5))
        apply_csi_volume(cluster, namespace, driver, "vol", volumeMode="Block")
        raw = pod("raw", namespace, "vol", nodeName=first)
        del raw["spec"]["containers"][0]["volumeMounts"]
        raw["spec"]["containers"][0]["volumeDevices"] = [{"name": "v", "devicePath": "/dev/x"}]
        cluster.apply(raw)
        until(lambda: attach(cluster, driver), what="a wish to attach")
        ready(cluster, namespace, "raw")
        assert sh(cluster, namespace, "raw", "head -c 5 /dev/x") == "label"
        sh(cluster, namespace, "raw", "printf LABEL | dd of=/dev/x conv=notrunc,fsync 2>/dev/null")
    assert disk.read_bytes()[:5] == b"LABEL"


@contextlib.contextmanager
def csi_driver(cluster: Cluster, namespace: str, store: Path) -> Iterator[tuple[str, str, str]]:
    """A driver on both nodes, with one volume `vol`: (its name, the nodes). In the end no call was out of order."""
    driver = f"csi.{namespace}"
    (store / "volumes" / "vol").mkdir(parents=True)
    facts = {"podInfoOnMount": True, "fsGroupPolicy": "File", "volumeLifecycleModes": ["Persistent", "Ephemeral"]}
    about = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": driver}, "spec": facts}
    cluster.apply(about)
    cluster.kubectl("create", "secret", "generic", STAGE_SECRET, "-n", namespace, f"--from-literal=word={STAGE_SECRET}")
    nodes = sorted(each["metadata"]["name"] for each in cluster.get("nodes")["items"])
    with contextlib.ExitStack() as stack:
        for name in nodes:
            root = cluster.data_dir / "nodes" / name
            stack.enter_context(driver_process(root, store, name, "--attached", "--most", "5", name=driver))
        assert {wait_registered(store, name) for name in nodes} == {"registered"}
        yield driver, nodes[0], nodes[1]
        cluster.kubectl("delete", "pod", "--all", "-n", namespace, "--wait=true", "--timeout=80s")
        until(lambda: not attachments(cluster, driver), what="a detachment")
    calls = [(each["method"], each["code"]) for each in journal(store)]
    assert {code for _, code in calls} == {"OK"}, journal(store)
    assert calls[-1] == ("NodeUnstageVolume", "OK")


def apply_csi_volume(cluster: Cluster, namespace: str, driver: str, handle: str, **spec: Any) -> None:
    """A volume of the driver and a claim for it, of the volume's name."""
    secret = {"namespace": namespace, "name": STAGE_SECRET}
    source = {"csi": {"driver": driver, "volumeHandle": handle, "nodeStageSecretRef": secret}}
    name = f"{namespace}-{handle}"
    cluster.apply(persistent(name, source, namespace, **spec))
    cluster.apply(claim(handle, namespace, storageClassName=namespace, volumeName=name, **spec))
    until(lambda: cluster.get("pvc", handle, "-n", namespace)["status"]["phase"] == "Bound", what="a bound claim")


def attachments(cluster: Cluster, driver: str) -> list[dict[str, Any]]:
    return [each for each in cluster.get("volumeattachments")["items"] if each["spec"]["attacher"] == driver]


def attach(cluster: Cluster, driver: str) -> list[str]:
    """What the attacher of a driver says once its volumes are there; the nodes."""
    status = json.dumps({"status": {"attached": True, "attachmentMetadata": {"device": "/dev/test"}}})
    found = attachments(cluster, driver)
    for each in found:
        name = each["metadata"]["name"]
        cluster.kubectl("patch", "volumeattachment", name, "--subresource=status", "--type=merge", "-p", status)
    return [each["spec"]["nodeName"] for each in found]
