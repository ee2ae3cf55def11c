import socket
import subprocess
import sys

import pytest

from sparsam.cli.up import OWN_DATA, as_before, kept_settings, last_line, remove_own
from sparsam.settings import SettingsError, load_settings


def sparsam(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sparsam.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [(), ("up",), ("down",), ("status",), ("images", "build"), ("top",), ("node",)])
def test_help_explains_itself(command):
    result = sparsam(*command, "--help")
    assert result.returncode == 0
    assert "Usage: sparsam" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--nodes", "0"), "nodes: 0 is not between"),
        (("up", "--only", "kitchen"), "unknown part 'kitchen'"),
        (("up", "--config", "/nowhere.toml"), "cannot read /nowhere.toml"),
        (("status", "--data-dir", "/nowhere"), "no cluster in /nowhere"),
        (("images", "build", "x", "--dir", "/", "--account", "a=1"), "go with --packages"),
        (("images", "build", "x", "--packages", "a", "--account", "a"), "is not NAME=NUMBER"),
        (("images", "build", "x"), "give --dir or --packages"),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(arguments, words):
    result = sparsam(*arguments)
    assert result.returncode != 0
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_said_at_once_and_nothing_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = sparsam(
            "up",
            "--only",
            "api",
            "--port",
            str(port),
            "--data-dir",
            str(tmp_path / "d"),
            "--run-dir",
            str(tmp_path / "r"),
        )
    assert result.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}: another program listens there" in result.stderr
    assert not (tmp_path / "d").exists()


def test_the_reason_of_a_part_that_keeps_ending_is_the_last_line_of_its_log(tmp_path):
    log = tmp_path / "api.log"
    log.write_text("starting\nsparsam: no space left\n\n")
    assert last_line(log) == "sparsam: no space left"
    assert last_line(tmp_path / "absent.log") == "its log is empty"


def test_purge_touches_no_directory_that_holds_no_cluster(tmp_path):
    (tmp_path / "letter").write_text("dear diary")
    result = sparsam("down", "--purge", "--data-dir", str(tmp_path))
    assert "nothing was removed" in result.stderr
    assert (tmp_path / "letter").exists()


def test_purge_leaves_what_somebody_else_put_beside_the_data(tmp_path):
    (tmp_path / "letter").write_text("dear diary")
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_text("ours")
    (tmp_path / "admin.kubeconfig").write_text("ours")
    remove_own(tmp_path, OWN_DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]
    (tmp_path / "letter").unlink()
    remove_own(tmp_path, OWN_DATA)
    assert not tmp_path.exists()


def test_a_cluster_is_started_again_as_it_was_and_in_no_other_shape(tmp_path):
    first = load_settings({"data_dir": str(tmp_path), "nodes": 2, "port": 7000}, config=None, environ={})
    first.write(tmp_path / "cluster.json")
    plain = {"data_dir": str(tmp_path)}
    again = load_settings(plain, config=None, environ={}, kept=kept_settings(first))
    assert (again.nodes, again.port) == (2, 7000)
    assert as_before(first, again) == again
    other = load_settings({**plain, "nodes": 3}, config=None, environ={}, kept=kept_settings(first))
    with pytest.raises(SettingsError, match="was made with 2, not 3"):
        as_before(first, other)


def test_relative_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings({"data_dir": "here"}, config=None, environ={}).data_path == tmp_path / "here"
