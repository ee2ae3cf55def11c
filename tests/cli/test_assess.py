import asyncio
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from sparsam.cli.assess import assess_command
from sparsam.cli.sim import sim
from tests.cli.test_schedule import kubectl, make
from tests.support.apiserver import free_port, serving_in_thread
from tests.support.prometheus import prometheus
from tests.support.scheduling import node, pod, watts

READ_ONLY = """
apiVersion: v1
kind: Config
current-context: nobody
clusters: [{name: c, cluster: {server: SERVER, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: TOKEN}}]
contexts: [{name: nobody, context: {cluster: c, user: u}}]
"""


def assess(*arguments, code=0):
    command = [sys.executable, "-m", "sparsam.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with serving_in_thread(tmp_path_factory.mktemp("empty")) as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving_in_thread(tmp_path_factory.mktemp("api")) as made:
        make(made, "ServiceAccount", {"metadata": {"name": "default", "namespace": "default"}})
        for n in range(3):
            sleepy = {"power.sparsam.dev/sleep-state": "suspended"}
            make(made, "Node", node(f"n{n}", annotations={**watts(100, 200), **sleepy}))
            anti = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
            required = {"requiredDuringSchedulingIgnoredDuringExecution": [anti]}
            one = pod(f"p{n}", cpu="1", nodeName=f"n{n}", affinity={"podAntiAffinity": required})
            one["spec"]["containers"][0].pop("ports")
            make(made, "Pod", one)
        make(made, "Pod", pod("waits", cpu="1"))
        yield made


def test_a_cluster_is_assessed_and_nothing_in_it_is_changed(server, tmp_path):
    before = kubectl(server, "get", "nodes,pods", "-o", "json")
    done = assess("assess", "--kubeconfig", server.kubeconfig, "-o", "json", "--report", tmp_path / "out")
    assert kubectl(server, "get", "nodes,pods", "-o", "json") == before
    value = json.loads(done.stdout)
    assert value["estimated"] is True
    assert (value["nodes"], value["pods"]) == (3, 3)
    kwh = {each["name"]: each["kwh_per_year"] for each in value["scenarios"]}
    # Half of what is requested is assumed to be used: an eighth of each server.
    assert kwh["now"] == pytest.approx(3 * 112.5 * 1.5 * 8.76)
    assert kwh["physical limit"] <= kwh["and sleep, anew"] < kwh["now"]
    (constraint,) = value["constraints"]
    assert constraint["pods"] == 3
    assert any("1 pods that wait for a node were left out" in each for each in value["assumptions"])
    assert any("50% of their requests are assumed" in each for each in value["assumptions"])
    assert json.loads((tmp_path / "out" / "assessment.json").read_text()) == value
    assert "estimated" in (tmp_path / "out" / "assessment.html").read_text()


@pytest.mark.needs_prometheus
async def test_use_comes_from_prometheus(server, tmp_path):
    line = 'container_cpu_usage_seconds_total{{namespace="default",pod="p{n}",container="c"}} {seconds}\n'
    with prometheus(tmp_path, 1) as (url, (exporter,)):
        for seconds in (0, 300):
            await exporter.shows("".join(line.format(n=n, seconds=seconds) for n in range(3)))
        arguments = ("assess", "--kubeconfig", server.kubeconfig, "--prometheus", url, "--days", "0.5", "-o", "json")
        value = json.loads((await asyncio.to_thread(assess, *arguments)).stdout)
    assert any("CPU use of 3 pods: Prometheus" in each for each in value["assumptions"])
    assert value["use_share_of_error"] == 0.0
    # A little more than 300 of the 600 seconds that the rate looks at, on four cores.
    assert 0.12 < value["mean_load_ratio"] < 0.25


def test_the_table_says_what_is_estimated_and_by_how_much(server):
    done = assess("assess", "--kubeconfig", server.kubeconfig, "--price", "0.2 EUR/kWh", "--carbon", "0.4 kg/kWh")
    assert "EUR/YEAR" in done.stdout
    assert "All numbers are estimated" in done.stdout
    assert "physical limit" in done.stdout


def test_a_twin_has_the_nodes_of_the_cluster(server, tmp_path):
    done = assess("sim", "--from-cluster", "--kubeconfig", server.kubeconfig, "--days", "0.02", "-o", "json")
    saved = tmp_path / "nodes.json"
    saved.write_text(kubectl(server, "get", "nodes", "-o", "json"))
    again = assess("sim", "--fleet", saved, "--days", "0.02", "-o", "json")
    energies = [[each["energy_kwh"] for each in json.loads(one.stdout)["runs"]] for one in (done, again)]
    assert energies[0] == energies[1]
    # Three servers of 100 to 200 W for 0.48 hours.
    assert all(0.0 < kwh < 3 * 0.2 * 0.48 for kwh in energies[0])


def test_what_cannot_be_asked_is_one_line_with_a_hint(server, empty, tmp_path):
    nobody = tmp_path / "nobody"
    nobody.write_text(READ_ONLY.replace("SERVER", server.url).replace("TOKEN", "wrong"))
    anonymous = tmp_path / "anonymous"
    anonymous.write_text(READ_ONLY.replace("SERVER", server.url).replace("{token: TOKEN}", "{exec: {command: x}}"))
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(READ_ONLY.replace("SERVER", f"https://127.0.0.1:{free_port()}").replace("TOKEN", "x"))
    secret = kubectl(server, "create", "token", "default").strip()
    unprivileged = server.kubeconfig_with_token(secret)
    for kubeconfig, words in (
        (tmp_path / "none", "name a --kubeconfig"),
        (nobody, "who we are is not accepted"),
        (anonymous, "exec plugins are not run"),
        (unprivileged, "needs get and list of nodes and pods"),
        (nowhere, "not reached"),
        (empty.kubeconfig, "the cluster has no nodes"),
    ):
        done = assess("assess", "--kubeconfig", kubeconfig, code=2)
        assert words in done.stderr
    assert "no nodes" in assess("sim", "--from-cluster", "--kubeconfig", empty.kubeconfig, code=2).stderr
    done = assess("assess", "--kubeconfig", server.kubeconfig, "--context", "other", code=2)
    assert "no context named 'other'" in done.stderr


@pytest.mark.parametrize("url", ["prometheus", f"http://127.0.0.1:{free_port()}"], ids=["no address", "nobody there"])
def test_prometheus_that_does_not_answer_is_said(server, url):
    done = assess("assess", "--kubeconfig", server.kubeconfig, "--prometheus", url, code=2)
    assert f"--prometheus {url}" in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (assess_command, ["--price", "cheap"], "--price: 'cheap' is no amount per kWh, such as '0.25 EUR/kWh'"),
        (assess_command, ["--carbon", "300 t/kWh"], "'t' is neither g nor kg"),
        (assess_command, ["--pue", "0.5"], "--pue"),
        (sim, ["--fleet", "rise-3", "--from-cluster"], "exclude each other"),
        (sim, ["--context", "x"], "go with --from-cluster"),
    ],
)
def test_options_that_make_no_sense_are_refused(command, arguments, message):
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, message in result.output) == (2, True)
