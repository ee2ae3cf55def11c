"""What a new user types after `make up`, in that order, with the real kubectl."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import KUBECTL, ROOT, Cluster, until

SHELL = "localhost/sparsam/busybox:1"


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def pods_of(cluster: Cluster, namespace: str, app: str = "web") -> list[dict]:
    pods = cluster.get("pods", "-n", namespace, "-l", f"app={app}")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def deploy_web(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", str(ROOT / "examples" / "web.yaml"))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=80s")


def test_the_node_is_ready_and_described(cluster: Cluster):
    wide = cluster.kubectl("get", "nodes", "-o", "wide")
    assert wide.split()[:4] == ["NAME", "STATUS", "ROLES", "AGE"]
    assert "Ready" in wide
    assert "containerd://" in wide
    assert "Capacity:" in cluster.kubectl("describe", "node", "e2e")
    assert "FIELDS:" in cluster.kubectl("explain", "deployment.spec.strategy")


def test_a_deployment_runs_and_answers_everywhere(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    service = cluster.get("service", "web", "-n", namespace)
    node_ip = next(a["address"] for a in cluster.get("node", "e2e")["status"]["addresses"] if a["type"] == "InternalIP")
    assert "version 1" in fetch(f"http://{service['spec']['clusterIP']}/")
    assert "version 1" in fetch(f"http://{node_ip}:{service['spec']['ports'][0]['nodePort']}/")
    names = {pod["metadata"]["name"] for pod in pods_of(cluster, namespace)}
    assert len(names) == 3
    pod = next(iter(names))
    by_name = cluster.kubectl("exec", "-n", namespace, pod, "--", "wget", "-qO-", "http://web/")
    assert "version 1" in by_name
    in_full = cluster.kubectl(
        "exec", "-n", namespace, pod, "--", "wget", "-qO-", f"http://web.{namespace}.svc.cluster.local/"
    )
    assert "version 1" in in_full


def test_the_choice_of_node_is_explained_in_watts(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    pod = pods_of(cluster, namespace)[0]
    placement = json.loads(pod["metadata"]["annotations"]["power.sparsam.dev/placement"])
    assert placement["node"] == "e2e"
    # A machine that is busy already draws no more for one pod.
    assert placement["wattsDelta"] >= 0
    assert placement["estimated"] is True
    events = cluster.kubectl("describe", "pod", "-n", namespace, pod["metadata"]["name"])
    assert f"Successfully assigned {namespace}/{pod['metadata']['name']} to e2e" in events


def test_logs_exec_copy_and_port_forward(cluster: Cluster, namespace: str, tmp_path):
    shell = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shell", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": "localhost/sparsam/web:1",
                    "command": ["/bin/sh", "-c", "echo first line; echo second line; exec /bin/serve"],
                }
            ],
        },
    }
    cluster.apply(shell)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/shell", "--timeout=60s")
    assert cluster.kubectl("logs", "-n", namespace, "shell").splitlines()[:2] == ["first line", "second line"]
    assert cluster.kubectl("logs", "-n", namespace, "shell", "--tail=1").strip() == "second line"
    assert cluster.kubectl("exec", "-n", namespace, "shell", "--", "sh", "-c", "echo $((6*7))").strip() == "42"
    assert (
        cluster.kubectl("exec", "-i", "-n", namespace, "shell", "--", "cat", stdin="through stdin").strip()
        == "through stdin"
    )
    assert "exit code 7" in cluster.kubectl("exec", "-n", namespace, "shell", "--", "sh", "-c", "exit 7", check=False)

    source = tmp_path / "there.txt"
    source.write_text("x" * 300_000)
    cluster.kubectl("cp", "-n", namespace, str(source), "shell:/tmp/there.txt")
    cluster.kubectl("cp", "-n", namespace, "shell:/tmp/there.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == source.read_text()

    command = [
        str(KUBECTL),
        "--kubeconfig",
        str(cluster.kubeconfig),
        "port-forward",
        "-n",
        namespace,
        "pod/shell",
        ":8080",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            line = forward.stdout.readline()
            port = int(line.split("127.0.0.1:")[1].split()[0])
            assert "pod shell" in fetch(f"http://127.0.0.1:{port}/")
            assert "pod shell" in fetch(f"http://127.0.0.1:{port}/")
        finally:
            forward.terminate()


def test_scale_update_undo_label_annotate_edit_and_delete(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    in_ns = ("-n", namespace)
    cluster.kubectl("scale", *in_ns, "deployment/web", "--replicas=2")
    until(lambda: len(pods_of(cluster, namespace)) == 2, what="two replicas")
    cluster.kubectl("set", "image", *in_ns, "deployment/web", "web=localhost/sparsam/web:2")
    cluster.kubectl("rollout", "status", *in_ns, "deployment/web", "--timeout=80s")
    ip = cluster.get("service", "web", *in_ns)["spec"]["clusterIP"]
    until(lambda: "version 2" in fetch(f"http://{ip}/"), what="version 2")
    assert cluster.kubectl("rollout", "history", *in_ns, "deployment/web").count("<none>") == 2
    cluster.kubectl("rollout", "undo", *in_ns, "deployment/web")
    cluster.kubectl("rollout", "status", *in_ns, "deployment/web", "--timeout=80s")
    until(lambda: "version 1" in fetch(f"http://{ip}/"), what="version 1 again")
    cluster.kubectl("label", *in_ns, "deployment/web", "tier=front")
    cluster.kubectl("annotate", *in_ns, "deployment/web", "note=hello")
    meta = cluster.get("deployment", "web", *in_ns)["metadata"]
    assert meta["labels"]["tier"] == "front"
    assert meta["annotations"]["note"] == "hello"
    subprocess.run(
        [str(KUBECTL), "--kubeconfig", str(cluster.kubeconfig), "edit", *in_ns, "deployment/web"],
        env={"KUBE_EDITOR": "sed -i s/replicas:.2/replicas:\\ 1/", "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        check=True,
        capture_output=True,
        timeout=30,
    )
    until(lambda: len(pods_of(cluster, namespace)) == 1, what="one replica after edit")
    cluster.kubectl("delete", *in_ns, "deployment/web", "service/web")
    until(lambda: not cluster.get("pods", *in_ns)["items"], what="pods gone with their deployment")


def test_a_watch_shows_a_pod_come_and_go(cluster: Cluster, namespace: str):
    command = [
        str(KUBECTL),
        "--kubeconfig",
        str(cluster.kubeconfig),
        "get",
        "pods",
        "-n",
        namespace,
        "-w",
        "-o",
        "name",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        try:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "brief", "namespace": namespace},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "c", "image": "localhost/sparsam/busybox:1", "command": ["true"]}],
                },
            }
            cluster.apply(pod)
            assert watch.stdout.readline().strip() == "pod/brief"
            until(
                lambda: cluster.get("pod", "brief", "-n", namespace)["status"].get("phase") == "Succeeded", what="end"
            )
        finally:
            watch.terminate()
    status = cluster.get("pod", "brief", "-n", namespace)["status"]["containerStatuses"][0]
    assert status["state"]["terminated"]["reason"] == "Completed"


def test_top_states_watts_and_their_source(cluster: Cluster, namespace: str):
    deploy_web(cluster, namespace)
    nodes = json.loads(cluster.sparsam("top", "nodes", "-o", "json").stdout)
    assert nodes[0]["watts"] > 0
    assert (nodes[0]["provenance"], nodes[0]["kind"]) in {("estimated", "node"), ("measured", "node")}
    assert nodes[0]["watts_source"]
    pods = json.loads(cluster.sparsam("top", "pods", "-n", namespace, "-o", "json").stdout)
    assert len(pods) == 3
    assert all(pod["memory_bytes"] > 0 for pod in pods)


def test_kubectl_top_shows_what_containers_use(cluster: Cluster, namespace: str):
    burn = {"name": "burn", "image": SHELL, "command": ["sh", "-c", "while :; do :; done"]}
    rest = {"name": "rest", "image": SHELL, "command": ["sleep", "600"]}
    metadata = {"name": "mixed", "namespace": namespace}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [burn, rest]},
        }
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/mixed", "-n", namespace, "--timeout=60s")
    until(lambda: "mixed" in cluster.kubectl("top", "pods", "-n", namespace, check=False), what="metrics of the pod")
    lines = cluster.kubectl("top", "pods", "-n", namespace, "--containers", "--no-headers").splitlines()
    millicores = {name: int(cpu.removesuffix("m")) for _, name, cpu, _ in map(str.split, lines)}
    assert millicores["burn"] > 10 * max(millicores["rest"], 1)
    assert cluster.kubectl("top", "nodes", "--no-headers").split()[0] == "e2e"


def cpu_seconds(cluster: Cluster, uid: str) -> float:
    """What a pod's control group has used, by either version of cgroups."""
    base = next(
        path for path in (Path("/sys/fs/cgroup/cpuacct/sparsam"), Path("/sys/fs/cgroup/sparsam")) if path.exists()
    )
    [group] = base.glob(f"*/*/pod{uid}")
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    return int((group / "cpu.stat").read_text().split()[1]) / 1e6


def test_watts_follow_the_cpu_time_of_control_groups_and_add_up_to_the_node(cluster: Cluster, namespace: str):
    scripts = {"burn": "while :; do :; done", "half": "while :; do :; done", "rest": "sleep 600"}
    for name, script in scripts.items():
        limits = {"limits": {"cpu": "300m"}} if name == "half" else {}
        container = {"name": "c", "image": SHELL, "command": ["sh", "-c", script], "resources": limits}
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            }
        )
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, "--timeout=60s")
    uids = {name: cluster.get("pod", name, "-n", namespace)["metadata"]["uid"] for name in scripts}

    def joules() -> dict[str, float]:
        power = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/e2e/proxy/power"))
        assert (
            abs(sum(power[f"{part}Watts"] for part in ("idle", "pod", "system", "unattributed")) - power["watts"])
            < 0.01
        )
        assert power["provenance"] == "measured" or "model" in power["note"]
        return {pod["uid"]: pod["joules"] for pod in power["pods"]}

    def seen() -> tuple[dict[str, float], dict[str, float]]:
        """CPU time and joules of the same moment: on a busy machine asking takes a while."""
        before = {name: cpu_seconds(cluster, uid) for name, uid in uids.items()}
        energy = joules()
        after = {name: cpu_seconds(cluster, uid) for name, uid in uids.items()}
        return {name: (before[name] + after[name]) / 2 for name in uids}, {
            name: energy.get(uid, 0.0) for name, uid in uids.items()
        }

    used, energy = seen()
    time.sleep(15)
    used_later, energy_later = seen()
    gained = {name: energy_later[name] - energy[name] for name in uids}
    implied = {name: used_later[name] - used[name] for name in uids}
    assert gained["burn"] / gained["half"] == pytest.approx(implied["burn"] / implied["half"], rel=0.1)
    assert gained["rest"] < 0.05 * gained["half"]


def test_the_examples_are_valid_and_status_is_healthy(cluster: Cluster):
    for path in (ROOT / "examples").glob("*.yaml"):
        assert all(document["kind"] for document in yaml.safe_load_all(path.read_text()))
        cluster.kubectl("apply", "--dry-run=server", "-f", str(path))
    seen = json.loads(cluster.sparsam("status", "-o", "json").stdout)
    assert seen["healthy"]


def storage(path: Path, namespace: str, name: str) -> str:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": name}
    volume = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": name,
        "hostPath": {"path": str(path), "type": "DirectoryOrCreate"},
    }
    kinds = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": namespace},
            "spec": claim,
        },
    ]
    return yaml.safe_dump_all(kinds)


def user(namespace: str, name: str, command: str) -> str:
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "c",
                "image": SHELL,
                "command": ["sh", "-c", command],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    metadata = {"name": name, "namespace": namespace}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_data_of_a_claim_outlives_its_pods(cluster: Cluster, namespace: str, tmp_path: Path):
    cluster.kubectl("apply", "-f", "-", stdin=storage(tmp_path / "store", namespace, f"{namespace}-late"))
    assert "Pending" in cluster.kubectl("get", "pvc", "data", "-n", namespace)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=user(namespace, "writer", "echo kept > /data/file"))
        cluster.kubectl(
            "wait", "pod/writer", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
        )
        assert "Bound" in cluster.kubectl("get", "pvc", "data", "-n", namespace)
        cluster.kubectl("delete", "pod", "writer", "-n", namespace)
        cluster.kubectl("apply", "-f", "-", stdin=user(namespace, "reader", "cat /data/file"))
        cluster.kubectl(
            "wait", "pod/reader", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
        )
        assert cluster.kubectl("logs", "reader", "-n", namespace).strip() == "kept"
        cluster.kubectl("delete", "pod", "reader", "-n", namespace)
        cluster.kubectl("delete", "pvc", "data", "-n", namespace)
        assert until(lambda: "Released" in cluster.kubectl("get", "pv", f"{namespace}-late"))
    finally:
        cluster.kubectl("delete", "pv,storageclass", f"{namespace}-late", "--ignore-not-found")
