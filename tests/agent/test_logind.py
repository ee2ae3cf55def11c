"""logind's word, by its tools' own output."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from sparsam.agent import logind
from sparsam.agent.shutdown import Order

BEGINS = (
    b'{"type":"signal","endian":"l","path":"/org/freedesktop/login1","interface":"org.freedesktop.login1.Manager",'
    b'"member":"PrepareForShutdown","payload":{"type":"b","data":[true]}}\n'
)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (BEGINS, True),
        (BEGINS.replace(b"true", b"false"), False),
        (b'{"type":"method_return"}\n', None),
        (b'{"member":"PrepareForShutdown"}\n', None),
        (b'{"member":"PrepareForShutdown","payload":{"data":[]}}\n', None),
        (b"Monitoring bus message stream.\n", None),
        (b"[]\n", None),
    ],
)
def test_a_line_says_whether_a_shutdown_begins(line: bytes, meaning: bool | None):
    assert logind.going_down(line) is meaning


async def test_without_logind_there_is_nothing_to_follow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(logind, "SYSTEM_BUS", tmp_path / "none")
    await asyncio.wait_for(logind.follow(Order()), 5)


async def test_the_lock_is_held_until_the_pods_have_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "bus").touch()
    # The lock is as good as the process that holds it.
    inhibit = tmp_path / "systemd-inhibit"
    inhibit.write_text(
        '#!/bin/sh\necho $$ > "$(dirname "$0")/holder"\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
    )
    busctl = tmp_path / "busctl"
    busctl.write_text(f"#!/bin/sh\necho '{BEGINS.decode().strip()}'\nexec sleep 600\n")
    for tool in (inhibit, busctl):
        tool.chmod(0o755)
    monkeypatch.setattr(logind, "SYSTEM_BUS", tmp_path / "bus")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    order = Order()
    following = asyncio.create_task(logind.follow(order))
    try:
        await asyncio.wait_for(order.given.wait(), 20)
        holder = Path("/proc") / (tmp_path / "holder").read_text().strip()
        assert holder.exists()
        order.done.set()
        async with asyncio.timeout(20):
            while holder.exists():
                await asyncio.sleep(0.02)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
