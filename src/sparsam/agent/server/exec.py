"""Runs a command in a container of our own containerd for a client behind a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.server import channels
from sparsam.agent.server.fifo import FifoReader, FifoWriter
from sparsam.agent.server.tasks import Process, Streams, Tasks
from sparsam.agent.server.terminal import Terminal

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 2.0
"""How long output may stay silent after the command's end: what it left in the background can hold the pipe."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What to run, and which streams the client wants."""

    command: list[str]
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Exec:
    """One command, from its pipes to its exit code."""

    def __init__(
        self, tasks: Tasks, container_id: str, request: ExecRequest, terminal: Terminal, run_dir: Path
    ) -> None:
        self._tasks = tasks
        self._container_id = container_id
        self._request = request
        self._terminal = terminal
        self._run_dir = run_dir

    async def run(self) -> channels.Obj:
        """Run until the command has ended; returns its Status. Cancelling ends the command."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        # Named pipes are opened without blocking; nothing below waits on the disk.
        directory = Path(tempfile.mkdtemp(prefix="x", dir=self._run_dir))
        try:
            return await self._run_in(directory)
        except RuntimeFault as error:
            return channels.failure(f"error executing command in container: {error}")
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def _run_in(self, directory: Path) -> channels.Obj:
        request = self._request
        size = await self._terminal.first_size() if request.tty else None
        spec = exec_spec(await self._tasks.process_spec(self._container_id), request, size)
        streams = _make_pipes(directory, request)
        process = self._tasks.process(self._container_id, uuid.uuid4().hex)
        async with contextlib.AsyncExitStack() as stack:
            outputs = []
            for channel, path in ((channels.STDOUT, streams.stdout), (channels.STDERR, streams.stderr)):
                if path not in ("", os.devnull):
                    reader = FifoReader(Path(path))
                    stack.callback(reader.close)
                    outputs.append((channel, reader))
            await process.create(spec, streams)
            stack.push_async_callback(_forget, process)
            await process.start()
            await self._say_that_it_runs()
            code = await self._converse(process, outputs, streams.stdin)
        return channels.exit_status(code, request.command)

    async def _say_that_it_runs(self) -> None:
        """As upstream, an empty message on the lowest channel that we write to.

        Not before the command runs: kubectl may get what comes right after the handshake before its streams are made.
        """
        request = self._request
        written = ((request.stdout, channels.STDOUT), (request.stderr, channels.STDERR), (True, channels.ERROR))
        with contextlib.suppress(OSError):
            await self._terminal.write(next(channel for wanted, channel in written if wanted), b"")

    async def _converse(self, process: Process, outputs: list[tuple[int, FifoReader]], stdin: str) -> int:
        """Carry input and output until the command has ended and all it wrote is sent; returns its exit code."""
        idle = _Idle()
        copies = [asyncio.ensure_future(self._copy_out(channel, reader, idle)) for channel, reader in outputs]
        feeding = [asyncio.ensure_future(self._resize(process))]
        if stdin:
            feeding.append(asyncio.ensure_future(self._feed(process, Path(stdin))))
        try:
            code = await process.wait()
            await idle.drained(copies)
        finally:
            for task in (*feeding, *copies):
                task.cancel()
            await asyncio.gather(*feeding, *copies, return_exceptions=True)
        return code

    async def _copy_out(self, channel: int, reader: FifoReader, idle: _Idle) -> None:
        # Without a client this ends too: whoever listens to it notices, and cancels the command.
        with contextlib.suppress(OSError):
            while data := await idle.watch(reader.read()):
                await self._terminal.write(channel, data)

    async def _feed(self, process: Process, path: Path) -> None:
        with contextlib.suppress(OSError, RuntimeFault):
            writer = await FifoWriter.open(path)
            try:
                while data := await self._terminal.read():
                    await writer.write(data)
            finally:
                writer.close()
            await process.close_stdin()

    async def _resize(self, process: Process) -> None:
        while True:
            size = await self._terminal.resized()
            if self._request.tty:
                with contextlib.suppress(RuntimeFault):
                    await process.resize(size.width, size.height)


class _Idle:
    """Knows since when nobody has had anything to read."""

    def __init__(self) -> None:
        self._busy_until = asyncio.get_running_loop().time()
        self._reading = 0

    async def watch(self, read: Any) -> bytes:
        """Wait for a read, and count it as silence until it returns."""
        self._reading += 1
        try:
            data: bytes = await read
        finally:
            self._reading -= 1
            self._busy_until = asyncio.get_running_loop().time()
        return data

    async def drained(self, copies: list[asyncio.Task[None]]) -> None:
        """Return once all copies are done, or all that are left have been silent for long enough."""
        loop = asyncio.get_running_loop()
        self._busy_until = loop.time()
        pending = set(copies)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_DRAIN_SECONDS / 4)
            waiting_for_the_client = self._reading < len(pending)
            if not waiting_for_the_client and loop.time() - self._busy_until >= _DRAIN_SECONDS:
                return


def exec_spec(container: dict[str, Any], request: ExecRequest, size: channels.Resized | None) -> dict[str, Any]:
    """The process to run: as the container's own, with another command and, if wanted, a terminal of that size."""
    spec = {**container, "args": request.command, "terminal": request.tty}
    spec.pop("commandLine", None)
    spec.pop("consoleSize", None)
    if request.tty:
        env = [entry for entry in container.get("env") or () if not entry.startswith("TERM=")]
        spec["env"] = [*env, "TERM=xterm"]
        if size is not None:
            spec["consoleSize"] = {"width": size.width, "height": size.height}
    return spec


def _make_pipes(directory: Path, request: ExecRequest) -> Streams:
    """Named pipes for the wanted streams; containerd wants some place for both outputs unless there is a terminal."""

    def pipe(name: str) -> str:
        path = directory / name
        os.mkfifo(path, 0o600)
        return str(path)

    stdin = pipe("in") if request.stdin else ""
    if request.tty:
        return Streams(stdin, pipe("out"), terminal=True)
    return Streams(
        stdin,
        pipe("out") if request.stdout else os.devnull,
        pipe("err") if request.stderr else os.devnull,
    )


async def _forget(process: Process) -> None:
    """End what still runs and have containerd forget the process, also when the client's leave cancelled us."""
    await asyncio.shield(asyncio.ensure_future(_end(process)))


async def _end(process: Process) -> None:
    with contextlib.suppress(RuntimeFault):
        await process.delete()
        return
    with contextlib.suppress(RuntimeFault):
        await process.kill()
        await asyncio.wait_for(process.wait(), 10)
    try:
        await process.delete()
    except RuntimeFault as error:
        log.warning("process of an exec not removed error=%s", error)
