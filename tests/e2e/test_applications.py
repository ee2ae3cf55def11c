"""Real programs from Debian packages, as images built here, run by the manifests under examples/ on three nodes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ROOT, Cluster, outside, running_cluster, until
from tests.e2e.load import Load

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

PIECES = int(os.environ.get("SPARSAM_QUEUE_PIECES", "200"))
"""Of the queue, as in the example."""

IMAGES = {
    "localhost/nginx:1": [
        "--packages", "nginx-light", "--entrypoint", "/usr/sbin/nginx", "--stop-signal", "SIGQUIT",
    ],
    "localhost/postgres:15": [
        "--packages", "postgresql-15,dash,coreutils", "--account", "postgres=999", "--stop-signal", "SIGINT",
        "--env", "PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin",
        "--exclude", "usr/lib/*/libLLVM*", "--exclude", "usr/lib/*/libz3*", "--exclude", "usr/lib/*/perl*",
        "--exclude", "usr/lib/postgresql/15/lib/llvmjit.so", "--exclude", "usr/share/perl*",
    ],
}  # fmt: skip
DATABASE_NODE = "app-1"
ROLLOUT_SECONDS = 300


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with the images, made while the cluster starts, and the examples but for the queue applied at once."""
    folder = tmp_path_factory.mktemp("apps")
    builds = {name: build(name, arguments, folder) for name, arguments in IMAGES.items()}
    try:
        with running_cluster(tmp_path_factory.mktemp("app"), "--nodes", "3", "--node-name", "app") as one:
            for name, process in builds.items():
                _, said = process.communicate(timeout=600)
                if process.returncode != 0:
                    pytest.skip(f"cannot build {name} from Debian packages: {said.strip().splitlines()[-1]}")
            one.sparsam("images", "load", str(archive(folder, "localhost/nginx:1")), seconds=300)
            postgres = str(archive(folder, "localhost/postgres:15"))
            one.sparsam("images", "load", postgres, "--node", DATABASE_NODE, seconds=300)
            for each in (*examples("nginx-hpa", "node-report"), *database(one, folder)):
                one.apply(each)
            yield one
    finally:
        for process in builds.values():
            process.kill()
            process.wait()


def build(name: str, arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    command = [*outside(), sys.executable, "-m", "sparsam.cli", "images", "build", name, *arguments]
    output = ["--output", str(archive(folder, name))]
    return subprocess.Popen([*command, *output], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def archive(folder: Path, name: str) -> Path:
    return folder / f"{name.rpartition('/')[2].replace(':', '-')}.tar"


def examples(*names: str) -> list[dict[str, Any]]:
    return [
        each for name in names for each in yaml.safe_load_all((ROOT / "examples" / f"{name}.yaml").read_text()) if each
    ]


def database(cluster: Cluster, folder: Path) -> list[dict[str, Any]]:
    """PostgreSQL on the node that has its image; its own volume only where nothing makes volumes."""
    found = examples("postgres")
    for each in found:
        if each["kind"] == "StatefulSet":
            each["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": DATABASE_NODE}
    if not cluster.get("storageclasses")["items"]:
        (volume,) = examples("postgres-volume")
        volume["spec"]["hostPath"]["path"] = str(folder / "postgres-0")
        found.append(volume)
    return found


def patient(workload: dict[str, Any]) -> dict[str, Any]:
    """The workload with a longer wait before its pods stop: on an overloaded machine nodes learn late who leaves."""
    spec = workload["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 60
    spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] = 10
    return workload


def rolled_out(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.kubectl("rollout", "status", name, f"--timeout={ROLLOUT_SECONDS}s", seconds=ROLLOUT_SECONDS + 10)


def test_postgres_keeps_its_rows_when_its_pod_and_its_agent_go(cluster: Cluster):
    rolled_out(cluster, "statefulset/postgres")
    shell = {
        "name": "c",
        "image": "localhost/postgres:15",
        "command": ["sleep", "3600"],
        "env": [
            {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "postgres", "key": "password"}}},
            {"name": "PGHOST", "value": "postgres-0.postgres"},
            {"name": "PGUSER", "value": "postgres"},
        ],
        "securityContext": {"runAsUser": 999},
    }
    spec = {
        "nodeName": DATABASE_NODE,
        "terminationGracePeriodSeconds": 0,
        "containers": [shell],
    }
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=80s")

    def sql(text: str) -> str:
        return cluster.kubectl("exec", "client", "--", "psql", "-qtAc", text).strip()

    until(
        lambda: cluster.kubectl("exec", "client", "--", "pg_isready", check=False).endswith("accepting connections\n")
    )
    sql("create table t as select x, md5(x::text) as y from generate_series(1, 1000) x")
    pod = cluster.get("pod", "postgres-0")
    cluster.kubectl("delete", "pod", "postgres-0", "--timeout=80s")
    rolled_out(cluster, "statefulset/postgres")
    assert cluster.get("pod", "postgres-0")["metadata"]["uid"] != pod["metadata"]["uid"]
    assert until(lambda: sql("select count(*), max(y) from t"), what="rows") == "1000|" + sql("select max(y) from t")
    log = cluster.kubectl("logs", "postgres-0", "-c", "postgres")
    assert "database system was shut down at" in log, "the first server got no time to end"

    sql("insert into t values (1001, 'z')")
    pod = cluster.get("pod", "postgres-0")
    os.kill(cluster.children()[f"node-{DATABASE_NODE}"], signal.SIGKILL)
    cluster.kubectl("delete", "pod", "postgres-0", "--wait=false")
    until(lambda: uid(cluster, "postgres-0") not in ("", pod["metadata"]["uid"]), 180, "the next pod of the name")
    rolled_out(cluster, "statefulset/postgres")
    assert until(lambda: sql("select count(*), max(y) from t"), what="rows") == "1001|z"
    assert cluster.get("pvc", "data-postgres-0")["status"]["phase"] == "Bound"


def test_nginx_grows_with_its_load_and_shrinks_after_it(cluster: Cluster):
    rolled_out(cluster, "deployment/nginx")

    def replicas() -> int:
        return int(cluster.get("deployment", "nginx")["status"].get("readyReplicas", 0))

    with Load(url(cluster, "nginx"), b"nginx on", pause_seconds=0.0) as load:
        until(lambda: replicas() > 1, 180, "a second pod")
        lines = json.loads(cluster.sparsam("top", "pods", "--namespace", "default", "-o", "json").stdout)
    mine = [each for each in lines if each["name"].startswith("nginx-")]
    assert mine
    assert all(each["watts"] is not None and each["provenance"] == "estimated" for each in mine), mine
    assert load.answers > 100
    assert not load.failures
    until(lambda: replicas() == 1, 240, "one pod alone")
    events = cluster.get("events", "--field-selector", "reason=SuccessfulRescale")["items"]
    messages = [each["message"] for each in events if each["involvedObject"]["name"] == "nginx"]
    assert any("above target" in each for each in messages)
    assert "New size: 1; reason: All metrics below target" in messages


def uid(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("get", "pod", pod, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")


def url(cluster: Cluster, service: str) -> str:
    return f"http://{cluster.get('service', service)['spec']['clusterIP']}/"


def test_every_node_reports_and_the_clock_asks_for_it(cluster: Cluster):
    rolled_out(cluster, "daemonset/node-report")
    pods = cluster.get("pods", "-l", "app=node-report")["items"]
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == ["app-1", "app-2", "app-3"]

    def fired() -> list[dict[str, Any]]:
        jobs = cluster.get("jobs")["items"]
        return [
            job
            for job in jobs
            if job["metadata"]["name"].startswith("node-report-") and job["status"].get("succeeded") == 1
        ]

    job = until(fired, 180, "a job of the clock")[0]
    assert "sparsam demo, version 1" in cluster.kubectl("logs", f"job/{job['metadata']['name']}")
    assert cluster.get("cronjob", "node-report")["status"]["lastSuccessfulTime"]
    cluster.kubectl("create", "job", "by-hand", "--from=cronjob/node-report")
    cluster.kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=80s")


def behind_a_service(kind: str) -> list[dict[str, Any]]:
    """The nginx of the example under another kind of workload, with a Service of its own."""
    workload, service = (each for each in examples("nginx-hpa") if each["kind"] in ("Deployment", "Service"))
    name = f"nginx-{kind.lower()}"
    workload["kind"], workload["metadata"] = kind, {"name": name}
    workload["spec"].pop("strategy")
    workload["spec"]["selector"]["matchLabels"] = workload["spec"]["template"]["metadata"]["labels"] = {"app": name}
    if kind == "StatefulSet":
        workload["spec"].update(replicas=2, serviceName=name, podManagementPolicy="Parallel")
    else:
        workload["spec"]["updateStrategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    service["metadata"], service["spec"]["selector"] = {"name": name}, {"app": name}
    return [workload, service]


def test_rolling_updates_of_every_kind_fail_no_request(cluster: Cluster):
    changed = [each for each in examples("nginx-hpa", "node-report") if each["kind"] in ("Deployment", "DaemonSet")]
    for kind in ("StatefulSet", "DaemonSet"):
        workload, service = behind_a_service(kind)
        changed.append(workload)
        cluster.apply(service)
    for each in changed:
        cluster.apply(patient(each))
    cluster.kubectl("patch", "hpa", "nginx", "--type=merge", "-p", '{"spec": {"minReplicas": 2}}')
    workloads = {
        "deployment/nginx": ("nginx", b"nginx on"),
        "statefulset/nginx-statefulset": ("nginx-statefulset", b"nginx on"),
        "daemonset/nginx-daemonset": ("nginx-daemonset", b"nginx on"),
        "daemonset/node-report": ("node-report", b"sparsam demo"),
    }
    rolled_out(cluster, *workloads)
    until(lambda: cluster.get("deployment", "nginx")["status"].get("readyReplicas") == 2, 180, "two pods")
    with ExitStack() as stack:
        loads = {
            name: stack.enter_context(Load(url(cluster, service), expected, pause_seconds=0.02))
            for name, (service, expected) in workloads.items()
        }
        until(lambda: all(load.answers for load in loads.values()), what="answers")
        cluster.kubectl("set", "env", *workloads, "ROUND=2")
        rolled_out(cluster, *workloads)
        until(lambda: not leaving(cluster), 180, "old pods gone")
    assert {name: load.failures for name, load in loads.items() if load.failures} == {}
    assert all(load.answers > 50 for load in loads.values())


def leaving(cluster: Cluster) -> list[str]:
    pods = cluster.get("pods")["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


def test_a_queue_of_many_pods_is_counted_exactly(cluster: Cluster):
    for each in examples("job-queue"):
        each["spec"]["completions"] = PIECES
        cluster.apply(each)
    cluster.kubectl("wait", "--for=condition=Complete", "job/queue", "--timeout=600s", seconds=610)
    status = cluster.get("job", "queue")["status"]
    assert (status["succeeded"], status.get("failed", 0), status.get("active", 0)) == (PIECES, 0, 0)
    assert status["completedIndexes"] == f"0-{PIECES - 1}"
    assert not any(status.get("uncountedTerminatedPods", {}).values())
    pods = cluster.get("pods", "-l", "job-name=queue")["items"]
    indexes = [pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in pods]
    assert sorted(indexes, key=int) == [str(number) for number in range(PIECES)]
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}
    assert not any(pod["metadata"].get("finalizers") for pod in pods)
    log = cluster.kubectl(
        "logs", next(p["metadata"]["name"] for p in pods if p["metadata"]["name"].startswith("queue-7-"))
    )
    assert log.startswith("piece 7: ")
