"""systemd's login manager as the one who shuts the machine down: it waits while we hold a delay lock.

Its own tools speak D-Bus for us: `systemd-inhibit` holds the lock for as long as the command that it runs, which is
`busctl`, and that one shows the signal that a shutdown is at hand. How long logind waits at most is its own setting
(`InhibitDelayMaxSec`, five seconds by default).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from pathlib import Path

import msgspec

from sparsam.agent.shutdown import Order

log = logging.getLogger(__name__)

SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
_RETRY_SECONDS = 60.0
_MATCH = "type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown'"


def tools() -> tuple[str, str] | None:
    """Paths of `systemd-inhibit` and `busctl`; None where there is no logind to ask."""
    inhibit, busctl = shutil.which("systemd-inhibit"), shutil.which("busctl")
    return (inhibit, busctl) if inhibit and busctl and SYSTEM_BUS.exists() else None


async def follow(order: Order) -> None:
    """Hold the lock and pass logind's word on until cancelled; returns at once where there is no logind."""
    found = tools()
    if found is None:
        return
    inhibit, busctl = found
    command = [
        inhibit,
        "--what=shutdown",
        "--mode=delay",
        "--who=sparsam",
        "--why=pods are ended in order",
        busctl,
        "monitor",
        "--system",
        "--json=short",
        f"--match={_MATCH}",
    ]
    while True:
        await _hold(command, order)
        await asyncio.sleep(_RETRY_SECONDS)


async def _hold(command: list[str], order: Order) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        log.warning("no delay lock for shutdowns error=%s", error)
        return
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            going = going_down(line)
            if going is True:
                order.give()
                await order.done.wait()
                return  # ending the process gives the lock back
            if going is False:
                order.withdraw()
        log.warning("logind is not followed any more")
    finally:
        # The lock belongs to the whole group: systemd-inhibit and its child.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


def going_down(line: bytes) -> bool | None:
    """What a line of `busctl monitor --json=short` says: shutdown begins, is called off, or something else."""
    try:
        message = msgspec.json.decode(line)
        if message.get("member") != "PrepareForShutdown":
            return None
        return bool(message["payload"]["data"][0])
    except (msgspec.DecodeError, AttributeError, KeyError, IndexError, TypeError):
        return None
