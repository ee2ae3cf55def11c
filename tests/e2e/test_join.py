"""A second machine joins: another network namespace with an address, a wire and nothing else in common."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster, run, running_cluster, until
from tests.e2e.test_purge import traces
from tests.e2e.test_walkthrough import fetch
from tests.support.netns import Namespace

WEB = "localhost/sparsam/web:1"
SERVER_IP, OTHER_IP = "192.168.77.1", "192.168.77.2"


@dataclass(frozen=True)
class OtherMachine:
    """A machine that shares a wire with the one under the test."""

    network: Namespace
    data_dir: Path
    run_dir: Path

    def sparsam(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", "-t", str(self.network.pid), "-n", sys.executable, "-m", "sparsam.cli", *arguments]
        return run([*command, "--data-dir", str(self.data_dir)], check=check, seconds=180)

    def join(self, line: str) -> None:
        name, *words = line.split()
        assert name == "sparsam"
        self.sparsam(*words, "--run-dir", str(self.run_dir), "--node-name", "other", "--detach")

    def traces(self) -> dict[str, list[str]]:
        commands = {"links": "ip -br link", "routes": "ip route", "nftables": "nft list ruleset"}
        seen = {
            name: sorted(part.split("@")[0].split()[0] if name == "links" else part for part in lines)
            for name, command in commands.items()
            if (lines := self.network.run(*command.split()).splitlines()) is not None
        }
        return {**seen, "directories": [str(path) for path in (self.data_dir, self.run_dir) if path.exists()]}


@contextlib.contextmanager
def wired(tmp_path: Path, cluster_run_dir: Path) -> Iterator[OtherMachine]:
    """The other machine, at the far end of a wire from this one's network namespace; both have default routes."""
    with contextlib.closing(Namespace()) as network:
        peer = ["peer", "name", "wire1", "netns", str(network.pid)]
        subprocess.run(["ip", "link", "add", "wire0", "type", "veth", *peer], check=True)
        try:
            for words in (
                f"addr add {SERVER_IP}/24 dev wire0",
                "link set wire0 up",
                f"route add default via {OTHER_IP}",
            ):
                subprocess.run(["ip", *words.split()], check=True)
            for words in (
                f"addr add {OTHER_IP}/24 dev wire1",
                "link set wire1 up",
                f"route add default via {SERVER_IP}",
            ):
                network.ip(words)
            other = OtherMachine(network, tmp_path / "other", cluster_run_dir)
            try:
                yield other
            finally:
                other.sparsam("down", "--purge", check=False)
        finally:
            subprocess.run(["ip", "link", "delete", "wire0"], check=True)


def web(name: str, node: str) -> dict:
    container = {
        "name": "web",
        "image": WEB,
        "ports": [{"containerPort": 8080}],
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_machine_joins_works_and_leaves(tmp_path: Path):
    with wired(tmp_path, Path(f"/run/spj{tmp_path.stat().st_ino}")) as other:
        before, other_before = traces(()), other.traces()
        with running_cluster(tmp_path, "--node-name", "first", "--listen", "0.0.0.0") as cluster:
            other.join(cluster.sparsam("node", "token").stdout.strip())
            check_both_nodes_work(cluster, other)
            check_it_stops_and_starts_again(cluster, other)
            other.sparsam("down", "--purge")
            assert [node["metadata"]["name"] for node in cluster.get("nodes")["items"]] == ["first"]
            until(lambda: not pod_routes(cluster), what="the route to the gone node to go")
            assert other.traces() == other_before
        assert traces((cluster.data_dir, cluster.run_dir)) == before


def check_both_nodes_work(cluster: Cluster, other: OtherMachine) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", "node/first", "node/other", "--timeout=60s")
    cidrs = {node["spec"]["podCIDR"] for node in cluster.get("nodes")["items"]}
    assert len(cidrs) == 2
    other.sparsam("images", "demo")
    until(lambda: cluster.get("serviceaccounts")["items"], what="default service account")
    for name, node in (("here", "first"), ("there", "other")):
        cluster.apply(web(name, node))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/here", "pod/there", "--timeout=80s")
    cluster.kubectl("expose", "pod", "there", "--name=there", "--port=80", "--target-port=8080")
    cluster.kubectl("expose", "pod", "here", "--name=here", "--port=80", "--target-port=8080")
    addresses = {name: cluster.get("pod", name)["status"]["podIP"] for name in ("here", "there")}
    for source, target in (("here", "there"), ("there", "here")):
        for host in (f"{addresses[target]}:8080", target):
            ask = ["exec", source, "--", "wget", "-qO-", f"http://{host}/"]
            until(
                lambda ask=ask: cluster.kubectl(*ask, check=False).startswith("sparsam demo"), what=f"{host} to answer"
            )
            assert f"pod {target}" in cluster.kubectl(*ask), host
    assert "pod there" in fetch(f"http://{cluster.get('service', 'there')['spec']['clusterIP']}/")
    assert "pod here" in other.network.run(
        "busybox", "wget", "-qO-", f"http://{cluster.get('service', 'here')['spec']['clusterIP']}/"
    )
    # The API server's ClusterIP leads to the other machine.
    cluster.kubectl("exec", "there", "--", "sh", "-c", "nc -w 5 kubernetes.default 443 < /dev/null")
    cluster.kubectl("exec", "there", "--", "sh", "-c", "echo seen from outside > /proc/1/fd/1")
    until(lambda: "seen from outside" in cluster.kubectl("logs", "there"), what="the log line")


def check_it_stops_and_starts_again(cluster: Cluster, other: OtherMachine) -> None:
    other.sparsam("down")
    # With the data directory alone: what was agreed on at the first time stands.
    other.sparsam("up", "--detach")
    status = other.sparsam("status", "-o", "json").stdout
    assert '"healthy": true' in status
    cluster.kubectl("wait", "--for=condition=Ready", "pod/there", "--timeout=80s")


def pod_routes(cluster: Cluster) -> list[str]:
    lines = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if OTHER_IP in line and line.startswith("10.244.")]


@pytest.mark.parametrize(
    ("flags", "words"),
    [((), "sparsam up --listen 0.0.0.0"), (("--listen", "0.0.0.0"), "")],
    ids=["for-this-machine-only", "for-others"],
)
def test_an_invitation_needs_an_api_server_that_others_reach(tmp_path: Path, flags: tuple[str, ...], words: str):
    with wired(tmp_path, tmp_path / "run"), running_cluster(tmp_path, "--only", "api", *flags) as cluster:
        result = cluster.sparsam("node", "token", check=False)
        assert (result.returncode != 0) is bool(words)
        assert words in result.stderr
