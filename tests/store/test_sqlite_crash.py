"""A store's process is killed at random moments: what it acknowledged is there, and revisions go on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sparsam.store.sqlite import SqliteStore

WRITER = """
import asyncio, os, sys
from pathlib import Path
from sparsam.store.sqlite import SqliteStore

async def write(store, worker):
    key, number, entry = f"/core/pods/ns/{worker}", 0, None
    entry = await store.get(key)
    number = int(entry.value) if entry else 0
    while True:
        number += 1
        value = str(number).encode()
        entry = await (store.update(key, value, expected=entry.revision) if entry else store.create(key, value))
        os.write(1, f"{worker} {number} {entry.revision}\\n".encode())

async def compact(store):
    while True:
        await asyncio.sleep(0.02)
        await store.compact(max(1, store.revision - 50))

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    os.write(1, b"ready\\n")
    await asyncio.gather(compact(store), *(write(store, worker) for worker in range(8)))

asyncio.run(main())
"""


def run_and_kill(path: Path, seconds: float) -> list[tuple[int, int, int]]:
    """Acknowledgements (worker, number, revision) that came out before the kill."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    with process.stdout as acknowledged:
        assert acknowledged.readline() == b"ready\n"
        # The pipe must not fill up, or the writer would stop by itself.
        output = os.read(acknowledged.fileno(), 65536)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            output += os.read(acknowledged.fileno(), 65536)
        process.send_signal(signal.SIGKILL)
        output += acknowledged.read()
    assert process.wait() == -signal.SIGKILL
    lines = [line for line in output.split(b"\n")[:-1] if line != b"ready"]
    return [(int(worker), int(number), int(revision)) for worker, number, revision in map(bytes.split, lines)]


async def test_what_was_acknowledged_survives_sigkill_and_revisions_continue(tmp_path: Path):
    path = tmp_path / "store.db"
    newest = 0
    for _ in range(4):
        acknowledged = run_and_kill(path, random.uniform(0.02, 0.3))
        revisions = [revision for _, _, revision in acknowledged]
        assert len(set(revisions)) == len(revisions)
        assert min(revisions) > newest
        store = await SqliteStore.open(path)
        newest = store.revision
        assert newest >= max(revisions)
        last = {worker: (number, revision) for worker, number, revision in acknowledged}
        for worker, (number, revision) in last.items():
            entry = await store.get(f"/core/pods/ns/{worker}")
            assert entry is not None
            assert int(entry.value) in (number, number + 1)
            assert entry.revision == revision if int(entry.value) == number else entry.revision > revision
        await store.close()
