"""Keeps a cluster's processes running: starts them, restarts what dies, stops them in reverse order.

The supervisor holds no state that matters. It may be killed at any instant: its children ask the kernel to be
told when it dies, containers live on, and the next `sparsam up` finds everything again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sparsam.errors import SparsamError

STOP_SECONDS = 20.0
STEADY_SECONDS = 5.0
FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 5.0
LOG_LIMIT_BYTES = 20_000_000
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For glibc: memory that one thread has freed is there for others (each core would have eight pieces, but ours
wait more than they work), and what is free at its end goes back to the machine.
"""


class AlreadyRunning(SparsamError):
    """Another supervisor holds this cluster."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running: its name (also of its log) and the arguments after `sparsam serve`."""

    name: str
    arguments: tuple[str, ...]
    tier: int = 0
    """Children of higher tiers lean on those of lower ones, and are stopped before them."""


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """What a running supervisor wrote down: its pid, and of each child the pid and how often it was restarted."""

    pid: int
    children: dict[str, int]
    restarts: dict[str, int]


class Supervisor:
    """Runs children until it is told to stop."""

    def __init__(self, children: Sequence[Child], *, run_dir: Path, log_dir: Path) -> None:
        self._children = tuple(children)
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._stop = asyncio.Event()
        self._ended = {child.name: asyncio.Event() for child in self._children}
        self._pids: dict[str, int] = {}
        self._restarts = {child.name: 0 for child in self._children}

    async def run(self) -> None:
        """Start everything and return once everything is stopped; raises AlreadyRunning."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        with _lock(self._run_dir / "supervisor.lock"):
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            try:
                async with asyncio.TaskGroup() as group:
                    for child in self._children:
                        group.create_task(self._keep(child), name=child.name)
            finally:
                (self._run_dir / "supervisor.json").unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stop.set()

    async def _keep(self, child: Child) -> None:
        try:
            await self._keep_until_stopped(child)
        finally:
            self._ended[child.name].set()

    async def _keep_until_stopped(self, child: Child) -> None:
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while not self._stop.is_set():
            started = time.monotonic()
            await self._run_once(child)
            if time.monotonic() - started > STEADY_SECONDS:
                backoff_seconds = FIRST_BACKOFF_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, LAST_BACKOFF_SECONDS)
            self._restarts[child.name] += 1

    async def _run_once(self, child: Child) -> None:
        with _open_log(self._log_dir / f"{child.name}.log") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sparsam.cli",
                "serve",
                *child.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**ALLOCATOR, **os.environ},
            )
        self._pids[child.name] = process.pid
        self._write_state()
        exited = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._turn_to_stop(child))
        try:
            await asyncio.wait({exited, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self._end(process, exited)
            del self._pids[child.name]

    async def _turn_to_stop(self, child: Child) -> None:
        """Wait for the order to stop, and then for all that lean on this child: they have Leases to give back."""
        await self._stop.wait()
        for other in self._children:
            if other.tier > child.tier:
                await self._ended[other.name].wait()

    async def _end(self, process: asyncio.subprocess.Process, exited: asyncio.Task[int]) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(exited), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await exited

    def _write_state(self) -> None:
        path = self._run_dir / "supervisor.json"
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({"pid": os.getpid(), "children": self._pids, "restarts": self._restarts}))
        beside.replace(path)


def read_state(run_dir: Path) -> SupervisorState | None:
    """The running supervisor's state, or None when none runs."""
    try:
        state = SupervisorState(**json.loads((run_dir / "supervisor.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return state if _is_locked(run_dir / "supervisor.lock") else None


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"a cluster already runs in {path.parent}; see: sparsam status") from None
        yield


def _is_locked(path: Path) -> bool:
    try:
        with _lock(path):
            return False
    except AlreadyRunning:
        return True
    except FileNotFoundError:
        return False


def _open_log(path: Path) -> IO[bytes]:
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
