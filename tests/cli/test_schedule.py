import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.apiserver import free_port, serving_in_thread
from tests.support.scheduling import node, pod, watts


def run(*arguments, kubeconfig=None, check=True):
    command = [sys.executable, "-m", "sparsam.cli", *arguments]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check, env=environment)


def kubectl(server, *arguments, stdin=""):
    command = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(server.kubeconfig), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout


def make(server, kind, obj):
    status = obj.pop("status", None)
    full = {"apiVersion": "v1", "kind": kind, **obj}
    kubectl(server, "create", "-f", "-", "--validate=false", stdin=json.dumps(full))
    if status:
        name = obj["metadata"]["name"]
        kubectl(server, "patch", kind, name, "--subresource=status", "-p", json.dumps({"status": status}))


@contextlib.contextmanager
def scheduling(server, *arguments):
    port = free_port()
    command = [sys.executable, "-m", "sparsam.cli", "schedule", "--kubeconfig", str(server.kubeconfig)]
    process = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}", *arguments], stderr=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
            assert process.returncode == 0
        finally:
            process.kill()


def bound(server, name):
    for _ in range(200):
        found = json.loads(kubectl(server, "get", "pod", name, "-o", "json"))
        if found["spec"].get("nodeName"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"never bound: {found}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving_in_thread(tmp_path_factory.mktemp("api")) as made:
        account = {"metadata": {"name": "default", "namespace": "default"}}
        make(made, "ServiceAccount", account)
        make(made, "Node", node("hungry", annotations=watts(100, 500)))
        make(made, "Node", node("thrifty", annotations=watts(50, 150)))
        kubectl(made, "taint", "node", "--all", "node.kubernetes.io/not-ready:NoSchedule-")
        yield made


def test_it_places_the_pods_that_name_it_and_no_others(server):
    with scheduling(server, "--no-leader-elect") as address:
        make(server, "Pod", pod("other", cpu="100m"))
        make(server, "Pod", pod("ours", cpu="100m", schedulerName="sparsam"))
        assert bound(server, "ours")["spec"]["nodeName"] == "thrifty"
        assert "nodeName" not in json.loads(kubectl(server, "get", "pod", "other", "-o", "json"))["spec"]
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    assert 'scheduler_schedule_attempts_total{profile="sparsam",result="scheduled"} 1.0' in text
    told = json.loads(run("explain", "pod/ours", "-o", "json", kubeconfig=server.kubeconfig).stdout)
    assert [each["node"] for each in told["ranked"]] == ["thrifty", "hungry"]
    assert "thrifty" in run("explain", "pod/ours", kubeconfig=server.kubeconfig).stdout


def test_profiles_come_from_a_scheduler_configuration(server, tmp_path):
    path = tmp_path / "scheduler.yaml"
    head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    path.write_text(
        f"""{head}profiles:
- schedulerName: pinned
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{{matchFields: [{{key: metadata.name, operator: In, values: [hungry]}}]}}]
"""
    )
    with scheduling(server, "--no-leader-elect", "--config", str(path)):
        make(server, "Pod", pod("pinned", cpu="100m", schedulerName="pinned"))
        assert bound(server, "pinned")["spec"]["nodeName"] == "hungry"
    path.write_text(f"{head}extenders: [{{urlPrefix: http://x}}]\n")
    done = run("schedule", "--kubeconfig", str(server.kubeconfig), "--config", str(path), check=False)
    assert (done.returncode, "extenders: are not supported" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_in_shadow_it_binds_as_upstream_does_and_writes_down_the_other_choice(server):
    with scheduling(server, "--shadow", "--scheduler-name", "watcher"):
        make(server, "Pod", pod("watched", cpu="100m", schedulerName="watcher"))
        found = bound(server, "watched")
    shadow = json.loads(found["metadata"]["annotations"]["power.sparsam.dev/shadow-placement"])
    placed = json.loads(found["metadata"]["annotations"]["power.sparsam.dev/placement"])
    assert (placed["policy"], shadow["policy"], shadow["node"]) == ("kube-default", "sparsam", "thrifty")
    assert "in shadow" in run("explain", "pod/watched", kubeconfig=server.kubeconfig).stdout


def test_what_keeps_a_pod_waiting_is_told_with_a_remedy(server):
    make(server, "Pod", pod("huge", cpu="64", schedulerName="nobody"))
    told = json.loads(run("explain", "pod/huge", "-o", "json", kubeconfig=server.kubeconfig).stdout)
    assert told["node"] is None
    assert told["remedies"][0]["change"] == "ask for at most 4000m of cpu"
    assert "any of these would make it fit" in run("explain", "pod/huge", kubeconfig=server.kubeconfig).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("schedule",), "no cluster"),
        (("schedule", "--policy", "best"), "is none of sparsam"),
        (("schedule", "--listen", "nonsense"), "not an address and a port"),
        (("explain", "deployment/web"), "only pods are explained"),
        (("explain", "pod/web", "--kubeconfig", "/nowhere"), "does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(arguments, words):
    done = run(*arguments, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pod_that_does_not_exist_is_one_line_too(server):
    done = run("explain", "pod/none", kubeconfig=server.kubeconfig, check=False)
    assert (done.returncode, "not found" in done.stderr) == (1, True)
