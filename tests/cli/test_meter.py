import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.apiserver import free_port, serving_in_thread
from tests.support.metering import FakeMachine


def command(machine, *arguments):
    roots = ["--sys-root", str(machine.sys.root), "--proc-root", str(machine.proc), "--dev-root", str(machine.proc)]
    return [sys.executable, "-m", "sparsam.cli", "meter", "--node-name", "n1", *roots, *arguments]


@pytest.fixture
def machine(tmp_path):
    machine = FakeMachine(tmp_path)
    machine.sys.write("class/hwmon/hwmon0/name", "power_meter")
    machine.sys.write("class/hwmon/hwmon0/power1_average", 187_000_000)
    machine.run(1.0, a=0.5)
    return machine


def test_one_look_says_what_the_machine_draws_and_how_that_is_known(machine):
    done = subprocess.run(
        command(machine, "--once", "-o", "json"), capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert (found["watts"], found["provenance"], found["covers"]) == (187.0, "measured", "wall")
    assert found["source"] == "hwmon:acpi power meter"
    assert any(gap.startswith("rapl: absent") for gap in found["gaps"])
    total = sum(found[f"{part}Watts"] for part in ("idle", "pod", "system", "unattributed"))
    assert total == pytest.approx(187.0, abs=0.01)


def test_people_get_a_table(machine):
    done = subprocess.run(command(machine, "--once"), capture_output=True, text=True, timeout=60, check=True)
    assert "187.00 (measured ±5%)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "nonsense"), "not an address and a port"),
        (("--redfish", "https://bmc.example"), "--redfish needs --redfish-user"),
        (("--prometheus", "ftp://x"), "not an http:// or https:// address"),
        (("--prometheus", "http://x", "--prometheus-preset", "crystal"), "known are kepler"),
    ],
)
def test_a_mistake_is_one_line(machine, arguments, words):
    done = subprocess.run(command(machine, *arguments), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@contextmanager
def running(machine, *arguments):
    port = free_port()
    state = ("--state-dir", str(machine.state.parent), "--listen", f"127.0.0.1:{port}")
    with subprocess.Popen(command(machine, *state, *arguments), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield lambda path: fetch(f"http://127.0.0.1:{port}{path}")
        finally:
            process.terminate()
            process.wait(20)


def fetch(url):
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def test_without_a_cluster_it_serves_what_it_measures(machine):
    with running(machine) as get:
        assert get("/healthz") == "ok\n"
        assert 'sparsam_node_power_watts{node="n1",source="hwmon:acpi power meter"' in get("/metrics")
        [pod] = json.loads(get("/power"))["pods"]
        assert pod["uid"] == pod["name"] == machine.uid("a")


def test_with_a_cluster_pods_have_names_and_the_node_a_node_power(machine, tmp_path):
    with serving_in_thread(tmp_path / "api") as server:
        kubectl = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(server.kubeconfig)]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
        subprocess.run(
            [*kubectl, "create", "-f", "-"], input=json.dumps(node), text=True, check=True, capture_output=True
        )
        with running(machine, "--kubeconfig", str(server.kubeconfig)) as get:
            get("/healthz")
            for _ in range(100):
                shown = subprocess.run(
                    [*kubectl, "get", "nodepower", "n1"], text=True, capture_output=True, check=False
                )
                if "measured" in shown.stdout:
                    break
                time.sleep(0.1)
            assert "187.0" in shown.stdout
