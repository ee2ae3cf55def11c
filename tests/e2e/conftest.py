"""A whole cluster in a network namespace of its own: nothing it does reaches the machine's network."""

import contextlib
import ctypes
import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count(1)
KUBECTL = Path(sys.executable).with_name("kubectl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What a failed test's cluster looked like goes into the report, since nobody can look at it afterwards."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, Cluster):
            report.sections.append((f"cluster of fixture {name}", value.diagnosis()))


@dataclass(frozen=True)
class Cluster:
    """A running cluster and the commands one types at it."""

    data_dir: Path
    run_dir: Path

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    def sparsam(self, *arguments: str, check: bool = True, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sparsam.cli", *arguments]
        if arguments[0] != "up":
            command += (
                ["--data-dir", str(self.data_dir)] if arguments[0] != "top" else ["--kubeconfig", str(self.kubeconfig)]
            )
        return run(command, check=check, seconds=seconds)

    def kubectl(self, *arguments: str, check: bool = True, seconds: float = 90, stdin: str | None = None) -> str:
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), *arguments]
        result = run(command, check=check, seconds=seconds, stdin=stdin)
        return result.stdout if check else result.stdout + result.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def children(self) -> dict[str, int]:
        """Pids of the cluster's processes by name."""
        return json.loads((self.run_dir / "supervisor.json").read_text())["children"]

    def diagnosis(self) -> str:
        """Nodes, pods, warnings and the ends of the logs."""
        asked = (("nodes",), ("pods", "-A"), ("events", "-A", "--field-selector", "type=Warning"))
        shown = [self.kubectl("get", *what, "-o", "wide", check=False, seconds=20) for what in asked]
        return "\n".join((*shown, self.logs()))

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-4000:]}" for path in (self.data_dir / "log").glob("*.log")
        )


def run(
    command: list[str], *, check: bool, seconds: float, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, capture_output=True, text=True, timeout=seconds, input=stdin, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)} -> {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def until(condition: Any, seconds: float = 60, what: str = "") -> Any:
    """Poll until the condition holds; its value. A generous limit, since this is not a timing test."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.2)


def outside() -> list[str]:
    """What to put before a command that needs the machine's own network, to fetch something."""
    return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{_outer_network()}", "--"]


@functools.cache
def _outer_network() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def own_place() -> None:
    """Move this process into fresh network and mount namespaces; they go when the last process in them ends.

    The nodes' named network namespaces are files below /run/netns: with that private, clusters may run at once.
    """
    _outer_network()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        pytest.skip(f"cannot make namespaces: {os.strerror(ctypes.get_errno())}")
    Path("/run/netns").mkdir(exist_ok=True)
    for command in (
        ("mount", "--make-rprivate", "/"),
        ("mount", "-t", "tmpfs", "tmpfs", "/run/netns"),
        ("ip", "link", "set", "lo", "up"),
    ):
        subprocess.run(command, check=True)


@pytest.fixture(scope="session", autouse=True)
def _isolated() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("containerd", "runc", "nft", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    own_place()


@contextlib.contextmanager
def running_cluster(tmp: Path, *flags: str) -> Iterator[Cluster]:
    # Short, since a socket path holds 108 bytes at most, and one's own, since several clusters may run in turn.
    cluster = Cluster(tmp / "data", Path(f"/run/spt{os.getpid()}-{next(_NUMBERS)}"))
    try:
        cluster.sparsam(
            "up", "--detach", "--data-dir", str(cluster.data_dir), "--run-dir", str(cluster.run_dir), *flags
        )
        if "--only" not in flags:
            cluster.sparsam("images", "demo")
        yield cluster
    except BaseException:
        print(cluster.logs() if (cluster.data_dir / "log").exists() else "no logs")
        raise
    finally:
        cluster.sparsam("down", "--purge", check=False, seconds=600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("one"), "--node-name", "e2e") as one:
        yield one


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that is removed, with everything in it, after the test."""
    name = f"t{time.monotonic_ns()}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.get("serviceaccounts", "-n", name)["items"], what="default service account")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s")
