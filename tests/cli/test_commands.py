import socket
import subprocess
import sys

import pytest

from sparsam.cli.up import last_line


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
        (("images", "build", "x"), "either --dir or --packages"),
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
