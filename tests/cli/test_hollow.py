import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from sparsam.cli.fleetfiles import open_fleet
from sparsam.cli.node import node
from sparsam.cli.tables import BadInput
from sparsam.cli.top import hollow_view
from tests.support.apiserver import serving_in_thread


def test_a_fleet_is_a_file_or_a_built_in_name(tmp_path):
    assert open_fleet("uniform-3").size == 3
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, groups: [{model: epyc-7742-2s, count: 4}]}")
    assert open_fleet(str(path)).size == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: a, groups: [{model: epic, count: 1}]}", "mine.yaml: groups\\[0\\].model: no 'epic'"),
        ("a: [", "mine.yaml: while parsing a flow node"),
        ("\x00", "mine.yaml: unacceptable character"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        open_fleet(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_fleet_is_refused():
    result = CliRunner().invoke(node, ["hollow", "--fleet", "raise-2"])
    assert result.exit_code != 0
    assert "no 'raise-2'; did you mean rise-215" in result.output


def test_top_shows_of_a_modelled_node_what_its_nodepower_says():
    power = {
        "status": {
            "watts": 150.0,
            "utilization": 0.5,
            "provenance": "estimated",
            "source": "hollow",
            "pods": [{"namespace": "d", "name": "p", "uid": "u", "watts": 20.0, "cpuCores": 1.5}],
        }
    }
    view = hollow_view({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "8"}}}, power)
    [whole] = view.node_usage()
    assert (whole.cpu_millicores, whole.watts) == (4000.0, 150.0)
    assert [(each.name, each.cpu_millicores, each.watts) for each in view.pod_usages()] == [("p", 1500.0, 20.0)]


def test_a_fleet_registers_and_is_removed(tmp_path):
    with serving_in_thread(tmp_path) as server:
        command = [sys.executable, "-m", "sparsam.cli", "node", "hollow", "--fleet", "uniform-3"]
        command += ["--kubeconfig", str(server.kubeconfig)]
        with (tmp_path / "log").open("w") as log:
            playing = subprocess.Popen(command, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while "3 nodes of uniform-3 run" not in (tmp_path / "log").read_text():
                assert playing.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            playing.terminate()
            playing.wait(20)
        removed = subprocess.run([*command, "--remove"], capture_output=True, text=True, check=True, timeout=60)
        assert removed.stdout == "3 nodes of uniform-3 removed\n"
