"""Stop signals of a container's choice (KEP-4960), sent by the agent: engines of today know only the image's."""

from __future__ import annotations

import asyncio
import os
import signal

_LOWEST, _HIGHEST = "SIGRTMIN", "SIGRTMAX"


def signal_number(name: str) -> int:
    """Number of a signal as Kubernetes names it, such as SIGUSR1 or SIGRTMINPLUS3; raises ValueError."""
    base, _, offset = name.partition("PLUS")
    if base == _LOWEST:
        return signal.SIGRTMIN + int(offset or 0)
    base, _, offset = name.partition("MINUS")
    if base == _HIGHEST:
        return signal.SIGRTMAX - int(offset or 0)
    try:
        return signal.Signals[name]
    except KeyError as error:
        raise ValueError(f"unknown signal {name}") from error


async def end_process(pid: int, name: str, seconds: float) -> bool:
    """Send the signal and wait so long for the end; whether it came. Raises OSError, ValueError."""
    handle = os.pidfd_open(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        signal.pidfd_send_signal(handle, signal_number(name))
        loop.add_reader(handle, ended.set)
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True
