"""StatefulSets, DaemonSets, Jobs, CronJobs and ephemeral containers as one meets them with kubectl."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import KUBECTL, Cluster, running_cluster, until

SHELL = "localhost/sparsam/busybox:1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with running_cluster(tmp_path_factory.mktemp("w"), "--nodes", "3", "--node-name", "w") as one:
        yield one


def container(command: str, **fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": SHELL, "command": ["sh", "-c", command], **fields}


def template(app: str, command: str = "sleep 3600", **spec: Any) -> dict[str, Any]:
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container(command)], **spec}
    return {"metadata": {"labels": {"app": app}}, "spec": pod}


def workload(kind: str, name: str, namespace: str, group: str = "apps/v1", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    if group == "apps/v1":
        spec.setdefault("selector", {"matchLabels": {"app": name}})
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def test_a_stateful_set_keeps_names_and_data_through_updates_and_undo(cluster: Cluster, namespace: str, tmp_path: Path):
    for number in range(2):
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{namespace}-{number}"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": "1Gi"},
                    "storageClassName": namespace,
                    "hostPath": {"path": str(tmp_path / str(number)), "type": "DirectoryOrCreate"},
                },
            }
        )
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": namespace,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    pod = template("db", "echo $HOSTNAME started >> /data/log; sleep 3600")
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    cluster.apply(
        workload(
            "StatefulSet",
            "db",
            namespace,
            replicas=2,
            serviceName="db",
            template=pod,
            volumeClaimTemplates=[claim],
        )
    )
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=80s")
    order = [cluster.get("pod", f"db-{number}", "-n", namespace)["status"]["startTime"] for number in range(2)]
    assert order == sorted(order)
    cluster.kubectl("set", "env", "statefulset/db", "-n", namespace, "VERSION=2")
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=80s")
    assert len(cluster.kubectl("rollout", "history", "statefulset/db", "-n", namespace).strip().splitlines()) == 4
    cluster.kubectl("rollout", "undo", "statefulset/db", "-n", namespace)
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=80s")

    def asked(*command: str) -> str:
        return cluster.kubectl("exec", "-n", namespace, "db-1", "--", *command)

    assert "VERSION" not in asked("env")  # at once: a pod that is ready can be asked
    until(lambda: asked("cat", "/data/log").splitlines() == ["db-1 started"] * 3, what="three starts on one volume")


def test_a_daemon_runs_on_every_node_and_is_rolled_out(cluster: Cluster, namespace: str):
    cluster.apply(workload("DaemonSet", "agent", namespace, template=template("agent")))
    cluster.kubectl("rollout", "status", "daemonset/agent", "-n", namespace, "--timeout=80s")
    pods = cluster.get("pods", "-n", namespace)["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 3
    cluster.kubectl("set", "env", "daemonset/agent", "-n", namespace, "VERSION=2")
    cluster.kubectl("rollout", "status", "daemonset/agent", "-n", namespace, "--timeout=80s")
    shown = cluster.kubectl("get", "daemonset", "agent", "-n", namespace).splitlines()[1].split()
    assert shown[1:6] == ["3", "3", "3", "3", "3"]


def test_jobs_run_to_their_end_and_failures_are_told(cluster: Cluster, namespace: str):
    indexed = template("sum", "echo $JOB_COMPLETION_INDEX", restartPolicy="Never")
    cluster.apply(
        workload(
            "Job",
            "sum",
            namespace,
            "batch/v1",
            completions=6,
            parallelism=3,
            completionMode="Indexed",
            template=indexed,
        )
    )
    failing = template("bad", "exit 3", restartPolicy="Never")
    policy = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]}
    cluster.apply(workload("Job", "bad", namespace, "batch/v1", podFailurePolicy=policy, template=failing))
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/sum", "--timeout=80s")
    outputs = [
        cluster.kubectl("logs", "-n", namespace, pod["metadata"]["name"]).strip()
        for pod in cluster.get("pods", "-n", namespace, "-l", "job-name=sum")["items"]
    ]
    assert sorted(outputs) == [str(number) for number in range(6)]
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Failed", "job/bad", "--timeout=80s")
    (target, failed) = cluster.get("job", "bad", "-n", namespace)["status"]["conditions"]
    assert (target["reason"], failed["reason"]) == ("PodFailurePolicy", "PodFailurePolicy")
    assert "failed with exit code 3 matching FailJob rule at index 0" in failed["message"]


def test_a_cron_job_can_be_started_by_hand(cluster: Cluster, namespace: str):
    job = {"spec": {"template": template("tick", "echo tick", restartPolicy="OnFailure")}}
    cluster.apply(
        workload(
            "CronJob", "tick", namespace, "batch/v1", schedule="0 4 1 1 *", timeZone="Europe/Berlin", jobTemplate=job
        )
    )
    cluster.kubectl("create", "job", "now", "--from=cronjob/tick", "-n", namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/now", "--timeout=80s")
    assert "now" in cluster.kubectl("get", "jobs", "-n", namespace)
    assert cluster.kubectl("logs", "-n", namespace, "job/now").strip() == "tick"


def test_debug_looks_into_a_running_pod(cluster: Cluster, namespace: str):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": namespace}}
    cluster.apply({**pod, "spec": template("app", "sleep 4711")["spec"]})
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app", "--timeout=60s")
    cluster.kubectl(
        "debug", "-n", namespace, "app", f"--image={SHELL}", "--target=c", "-c", "look", "--", "sh", "-c", "ps; sleep 60"
    )  # fmt: skip

    def seen() -> bool:
        return "sleep 4711" in cluster.kubectl("logs", "-n", namespace, "app", "-c", "look", check=False)

    until(seen, what="the target's processes in the log")
    attached = subprocess.run(
        [
            str(KUBECTL),
            "--kubeconfig",
            str(cluster.kubeconfig),
            "exec",
            "-n",
            namespace,
            "app",
            "-c",
            "look",
            "--",
            "ps",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "sleep 4711" in attached.stdout
    status = json.loads(cluster.kubectl("get", "pod", "app", "-n", namespace, "-o", "json"))["status"]
    assert "running" in status["ephemeralContainerStatuses"][0]["state"]
