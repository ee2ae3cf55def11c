"""A definition, its objects and kubectl on a real cluster, with kill -9 of the API server in the middle."""

import contextlib
import json
import os
import signal

from tests.e2e.conftest import ROOT, Cluster, until

DEFINITION = "backups.example.com"


def backup(name: str, namespace: str) -> str:
    metadata = {"name": name, "namespace": namespace}
    return json.dumps(
        {"apiVersion": "example.com/v1", "kind": "Backup", "metadata": metadata, "spec": {"volume": "data"}}
    )


def kill_api(cluster: Cluster) -> None:
    pid = cluster.children().get("api")
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_nothing_of_a_custom_resource_is_lost_and_all_of_it_goes_with_its_definition(cluster: Cluster, namespace: str):
    cluster.kubectl("apply", "-f", str(ROOT / "examples" / "backups.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{DEFINITION}", "--timeout=60s")
    acknowledged = []
    for number in range(12):
        if number % 4 == 2:
            kill_api(cluster)
        name = f"b{number}"
        answer = cluster.kubectl("create", "-f", "-", stdin=backup(name, namespace), check=False, seconds=30)
        if "created" in answer:
            acknowledged.append(name)
    assert acknowledged
    until(lambda: "b0" in cluster.kubectl("get", "backups", "-n", namespace, check=False), what="the objects")
    table = cluster.kubectl("get", "backups", "-n", namespace).splitlines()
    assert table[0].split() == ["NAME", "VOLUME", "SCHEDULE", "COPIES", "READY", "AGE"]
    assert set(acknowledged) <= {line.split()[0] for line in table[1:]}
    cluster.kubectl("scale", "backup/b0", "-n", namespace, "--replicas=3")
    assert cluster.get("backup", "b0", "-n", namespace)["spec"] == {
        "volume": "data",
        "schedule": "0 3 * * *",
        "copies": 3,
    }
    assert "How many copies are kept" in cluster.kubectl("explain", "backup.spec.copies")

    cluster.kubectl("delete", "crd", DEFINITION, "--wait=false")
    kill_api(cluster)
    until(
        lambda: "NotFound" in cluster.kubectl("get", "crd", DEFINITION, check=False),
        what="the definition to be gone",
    )
    cluster.kubectl("apply", "-f", str(ROOT / "examples" / "backups.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{DEFINITION}", "--timeout=60s")
    assert cluster.get("backups", "-A")["items"] == []
    cluster.kubectl("delete", "crd", DEFINITION, "--timeout=60s")
