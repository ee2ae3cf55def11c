"""`sparsam node shutdown` where there is nothing to shut down, and where a node says how far it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsam.agent.shutdown import STATE_FILE
from sparsam.cli.shutdown import shutdown
from sparsam.settings import Settings


def settings_in(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=str(tmp_path / "d"), run_dir=str(tmp_path / "r"), node_name="n1")
    (settings.data_path / "nodes" / "n1").mkdir(parents=True)
    settings.run_path.mkdir()
    settings.write(settings.data_path / "cluster.json")
    return settings


@contextlib.contextmanager
def supervised(settings: Settings, pid: int) -> Iterator[None]:
    """As if a supervisor ran the node in this process."""
    state = {"pid": os.getpid(), "children": {"node-n1": pid}, "restarts": {}}
    (settings.run_path / "supervisor.json").write_text(json.dumps(state))
    with (settings.run_path / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(settings: Settings, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(shutdown, [*arguments, "--data-dir", settings.data_dir])
    return result.exit_code, result.output + str(result.exception or "")


def test_a_node_that_does_not_run_or_does_not_exist_is_named(tmp_path: Path):
    settings = settings_in(tmp_path)
    assert "node n1 does not run" in run(settings)[1]
    assert "this machine has no node 'other'; it has n1" in run(settings, "other")[1]


@pytest.mark.parametrize(("left", "said"), [(0, False), (2, True)])
def test_it_waits_until_the_node_says_that_it_may_go(tmp_path: Path, left: int, said: bool):
    settings = settings_in(tmp_path)
    state = settings.data_path / "nodes" / "n1" / STATE_FILE

    def obey(_number: int, _frame: object) -> None:
        state.write_text(json.dumps({"ended": False, "podsLeft": 3}))
        threading.Timer(0.3, lambda: state.write_text(json.dumps({"ended": True, "podsLeft": left}))).start()

    before = signal.signal(signal.SIGUSR1, obey)
    try:
        with supervised(settings, os.getpid()):
            code, output = run(settings)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert code == 0, output
    assert ("2 pods of n1 did not end in time" in output) is said


def test_cancelling_tells_the_node_and_waits_for_nothing(tmp_path: Path):
    settings, heard = settings_in(tmp_path), []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(True))
    try:
        with supervised(settings, os.getpid()):
            code, output = run(settings, "--cancel")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (code, heard) == (0, [True]), output
