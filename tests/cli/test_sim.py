import json

import pytest
from click.testing import CliRunner

from sparsam.cli.sim import sim

FLEET = "{name: small, groups: [{model: epyc-7742-1s, count: 3, sleep: suspended}, {model: xeon-e5-2660-2s, count: 4}]}"


@pytest.fixture
def fleet(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return str(path)


def test_policies_are_compared_on_the_same_arrivals(fleet):
    result = CliRunner().invoke(sim, ["--fleet", fleet, "--days", "0.05", "--seeds", "2", "-o", "json"])
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert [(run["policy"], run["sleep"], run["seed"]) for run in value["runs"]] == [
        (policy, sleep, seed) for seed in (0, 1) for policy in ("kube-default", "sparsam") for sleep in (False, True)
    ]
    assert all(run["bound_kwh"] <= run["energy_kwh"] for run in value["runs"])
    base, _, ours, asleep = value["comparison"]
    assert base["saved_ratio"] == 0.0
    assert ours["energy_kwh"] < base["energy_kwh"]
    assert asleep["energy_kwh"] < base["energy_kwh"]


def test_a_trace_of_ones_own_is_replayed_and_shown_as_a_table(fleet, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "name,arrival_seconds,duration_seconds,cpu,memory,kind\na,0,600,4,1Gi,service\nb,60,300,2,1Gi,batch\n"
    )
    result = CliRunner().invoke(sim, ["--fleet", fleet, "--trace", str(path), "--sleep", "off"])
    assert result.exit_code == 0, result.output
    assert "POLICY" in result.stdout
    assert "kube-default" in result.stdout


def test_a_trace_is_played_as_often_as_asked(fleet, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,arrival_seconds,duration_seconds,cpu,kind\na,0,600,4,batch\nb,3000,600,2,batch\n")
    once, thrice = (
        json.loads(
            CliRunner()
            .invoke(sim, ["--fleet", fleet, "--trace", str(path), "--sleep", "off", "--repeat", times, "-o", "json"])
            .stdout
        )["runs"]
        for times in ("1", "3")
    )
    for before, after in zip(once, thrice, strict=True):
        assert after["work_done"] == pytest.approx(3.0 * before["work_done"])
        assert after["energy_kwh"] > 2.9 * before["energy_kwh"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "best"], "--policies: 'best' is none of"),
        (["--sleep", "deep"], "--sleep: 'deep' is neither on nor off"),
        (["--load", "-1"], "--load: -1 is not a share above 0"),
        (["--trace", "nothing.csv"], "nothing.csv: no such file; made-up traces are day, batch, sysbench"),
        (["--fleet", "raise-3"], "no 'raise-3'"),
    ],
)
def test_what_cannot_be_used_is_said(arguments, message):
    result = CliRunner().invoke(sim, arguments)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


def test_a_pod_larger_than_any_node_is_said_with_its_row(fleet, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,arrival_seconds,duration_seconds,cpu,memory,kind\na,0,600,4000,1Gi,service\n")
    result = CliRunner().invoke(sim, ["--fleet", fleet, "--trace", str(path)])
    assert result.exit_code != 0
    assert "row 1, requests cpu" in result.output + str(result.exception)
    assert "--lenient leaves such pods out" in result.output + str(result.exception)
    arguments = ["--fleet", fleet, "--trace", str(path), "--lenient", "--sleep", "off", "-o", "json"]
    assert "row 1, requests cpu" in CliRunner().invoke(sim, arguments).output
    path.write_text(path.read_text() + "b,0,600,2,1Gi,service\n")
    left = CliRunner().invoke(sim, arguments)
    assert "pods left out that are larger than every node: 1; the first: " in left.stderr
    assert [run["work_done"] for run in json.loads(left.stdout)["runs"]] == [pytest.approx(2 * 600 / 3600)] * 2


def test_what_others_are_compared_with_does_not_sleep_whatever_the_order(fleet):
    arguments = ["--fleet", fleet, "--days", "0.05", "--policies", "sparsam", "--sleep", "on,off", "-o", "json"]
    awake, asleep = json.loads(CliRunner().invoke(sim, arguments).stdout)["comparison"]
    assert (awake["sleep"], awake["saved_ratio"]) == (False, 0.0)
    assert asleep["saved_ratio"] != 0.0


def test_a_scenario_holds_options_and_those_beside_it_win(fleet, tmp_path):
    (tmp_path / "mine.csv").write_text(
        "name,arrival_seconds,duration_seconds,cpu,memory,kind\na,0,600,4,1Gi,service\nb,0,-5,2,1Gi,batch\n"
    )
    path = tmp_path / "scenario.yaml"
    path.write_text("{fleet: fleet.yaml, trace: mine.csv, policies: [random, sparsam], sleep: [off], lenient: true}")
    result = CliRunner().invoke(sim, [str(path), "--policies", "sparsam", "-o", "json"])
    assert result.exit_code == 0, result.output
    assert [(run["policy"], run["sleep"]) for run in json.loads(result.stdout)["runs"]] == [("sparsam", False)]
    assert "1 rows left out" in result.stderr
    path.write_text("{fleets: fleet.yaml}")
    wrong = CliRunner().invoke(sim, [str(path)])
    assert "fleets: no such option; there are" in wrong.output + str(wrong.exception)


def test_nodes_of_a_cluster_and_pods_without_their_cards(tmp_path):
    allocatable = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    node = {"metadata": {"name": "a"}, "status": {"allocatable": allocatable}}
    nodes = tmp_path / "nodes.json"
    nodes.write_text(json.dumps({"kind": "List", "items": [node]}))
    pods = tmp_path / "pods.csv"
    pods.write_text("pod_name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np,4000,1024,1,1000,T4\n")
    arguments = ["--fleet", str(nodes), "--trace", str(pods), "--sleep", "off"]
    refused = CliRunner().invoke(sim, arguments)
    assert "nvidia.com/gpu" in refused.output + str(refused.exception)
    timeless = CliRunner().invoke(sim, [*arguments, "--cpu-only"])
    assert "ends when it begins" in timeless.output + str(timeless.exception)
    assert CliRunner().invoke(sim, [*arguments, "--cpu-only", "--in-order", "60"]).exit_code == 0
