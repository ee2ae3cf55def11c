"""Processes in running containers through containerd's own task service.

CRI's exec streams cannot end stdin before the command ends; the task service can, tells the exit code, resizes
terminals and ends what is left over.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sparsam.agent.cri import translated
from sparsam.objects.protowire import Value, content, decode, encode, number

_TASKS = "containerd.services.tasks.v1.Tasks"
_CONTAINERS = "containerd.services.containers.v1.Containers"
_PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Streams:
    """Paths of the named pipes of a process; empty ones are not connected."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class Tasks:
    """containerd's task service on a gRPC channel. Errors are RuntimeFault."""

    def __init__(self, channel: Any, namespace: str) -> None:
        self._channel = channel
        self._metadata = (("containerd-namespace", namespace),)

    async def process_spec(self, container_id: str) -> dict[str, Any]:
        """How the container's own process was started: user, environment, directory, capabilities."""
        answer = await self._call(_CONTAINERS, "Get", {1: container_id})
        spec = msgspec.json.decode(content(decode(content(decode(content(answer, 1)), 5)), 2))
        process: dict[str, Any] = spec["process"]
        return process

    def process(self, container_id: str, exec_id: str) -> Process:
        """A process beside the container's own, not yet made."""
        return Process(self, container_id, exec_id)

    async def _call(
        self, service: str, method: str, fields: Mapping[int, Value], seconds: float | None = _CALL_SECONDS
    ) -> dict[int, int | bytes]:
        call = self._channel.unary_unary(
            f"/{service}/{method}", request_serializer=encode, response_deserializer=decode
        )
        with translated():
            answer: dict[int, int | bytes] = await call(fields, metadata=self._metadata, timeout=seconds)
        return answer

    async def call(self, method: str, fields: Mapping[int, Value], seconds: float | None = _CALL_SECONDS) -> int:
        """Call the task service; returns the first field of its answer, a pid or an exit code."""
        return number(await self._call(_TASKS, method, fields, seconds), 1)


class Process:
    """One exec'd process. Each method is one call."""

    def __init__(self, tasks: Tasks, container_id: str, exec_id: str) -> None:
        self._tasks = tasks
        self._names: dict[int, Value] = {1: container_id, 2: exec_id}
        self._container_id = container_id
        self._exec_id = exec_id

    async def create(self, spec: Mapping[str, Any], streams: Streams) -> None:
        """Make it known; it does not run yet."""
        fields: dict[int, Value] = {
            1: self._container_id,
            2: streams.stdin,
            3: streams.stdout,
            4: streams.stderr,
            5: streams.terminal,
            6: encode({1: _PROCESS_TYPE, 2: msgspec.json.encode(spec)}),
            7: self._exec_id,
        }
        await self._tasks.call("Exec", fields)

    async def start(self) -> int:
        """Run it; returns its pid."""
        return await self._tasks.call("Start", self._names)

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._tasks.call("Wait", self._names, None)

    async def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        await self._tasks.call("Kill", {**self._names, 3: number})

    async def close_stdin(self) -> None:
        """Let it read the end of its input, once all writers have gone."""
        await self._tasks.call("CloseIO", {**self._names, 3: True})

    async def resize(self, width: int, height: int) -> None:
        """Give its terminal a size."""
        await self._tasks.call("ResizePty", {**self._names, 3: width, 4: height})

    async def delete(self) -> None:
        """Forget it."""
        await self._tasks.call("DeleteProcess", self._names)
