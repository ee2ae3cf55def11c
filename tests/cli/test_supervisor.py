import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from sparsam.cli import supervisor as module
from sparsam.cli.supervisor import AlreadyRunning, Child, Supervisor, read_state


@pytest.fixture
def sleeper(monkeypatch):
    """Children that sleep instead of serving: the interpreter is replaced, everything else is real."""
    real = asyncio.create_subprocess_exec

    def start(_python, _m, _module, _serve, *arguments, **options):
        return real(sys.executable, "-c", f"import time; time.sleep({arguments[0]})", **options)

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", start)


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_killed_child_is_started_again_and_counted(tmp_path: Path, sleeper):
    supervisor = Supervisor([Child("a", ("600",))], run_dir=tmp_path, log_dir=tmp_path / "log")
    running = asyncio.create_task(supervisor.run())
    await until(lambda: read_state(tmp_path) is not None)
    first = read_state(tmp_path).children["a"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: (state := read_state(tmp_path)) and state.children.get("a", first) != first)
    assert read_state(tmp_path).restarts["a"] == 1
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    assert read_state(tmp_path) is None


async def test_stopping_ends_every_child(tmp_path: Path, sleeper):
    children = [Child("a", ("600",)), Child("b", ("600",))]
    supervisor = Supervisor(children, run_dir=tmp_path, log_dir=tmp_path / "log")
    running = asyncio.create_task(supervisor.run())
    await until(lambda: (state := read_state(tmp_path)) and len(state.children) == 2)
    pids = read_state(tmp_path).children.values()
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_what_leans_on_others_is_stopped_before_them(tmp_path: Path, monkeypatch):
    real = asyncio.create_subprocess_exec
    script = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.3 * int(sys.argv[1]))\n"
        "    with pathlib.Path(sys.argv[2]).open('a') as file: file.write(sys.argv[1])\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path(sys.argv[2] + sys.argv[1]).touch()\n"
        "time.sleep(600)\n"
    )

    def start(_python, _m, _module, _serve, *arguments, **options):
        return real(sys.executable, "-c", script, *arguments, **options)

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", start)
    order = str(tmp_path / "order")
    children = [Child("base", ("0", order)), Child("upper", ("1", order), tier=1)]
    supervisor = Supervisor(children, run_dir=tmp_path, log_dir=tmp_path / "log")
    running = asyncio.create_task(supervisor.run())
    await until(lambda: Path(f"{order}0").exists() and Path(f"{order}1").exists())
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    assert Path(order).read_text() == "10"


async def test_only_one_supervisor_holds_a_cluster(tmp_path: Path, sleeper):
    first = Supervisor([Child("a", ("600",))], run_dir=tmp_path, log_dir=tmp_path / "log")
    running = asyncio.create_task(first.run())
    await until(lambda: read_state(tmp_path) is not None)
    with pytest.raises(AlreadyRunning, match="already runs"):
        await Supervisor([], run_dir=tmp_path, log_dir=tmp_path / "log").run()
    first.stop()
    await asyncio.wait_for(running, 20)


def test_no_state_means_not_running(tmp_path: Path):
    assert read_state(tmp_path) is None
    (tmp_path / "supervisor.json").write_text('{"pid": 1, "children": {}, "restarts": {}}')
    assert read_state(tmp_path) is None
