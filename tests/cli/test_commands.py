import subprocess
import sys

import pytest


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
