"""Stop signals: names to numbers, and a process that heeds one."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from sparsam.agent.signals import end_process, signal_number


def test_names_are_those_of_kubernetes():
    assert signal_number("SIGUSR1") == signal.SIGUSR1
    assert signal_number("SIGRTMIN") == signal.SIGRTMIN
    assert signal_number("SIGRTMINPLUS3") == signal.SIGRTMIN + 3
    assert signal_number("SIGRTMAXMINUS2") == signal.SIGRTMAX - 2
    with pytest.raises(ValueError, match="unknown signal SIGNOT"):
        signal_number("SIGNOT")


@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "ended"), [("", True), ("signal.signal(signal.SIGUSR1, signal.SIG_IGN);", False)])
async def test_a_process_is_given_the_signal_and_time(code: str, ended: bool):
    script = f"import signal, time; {code} print('up', flush=True); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        assert await end_process(process.pid, "SIGUSR1", 20.0 if ended else 0.2) is ended
    finally:
        if process.returncode is None and not ended:
            process.kill()
        await process.wait()
