"""What a pod's worker makes of an engine that changes while it is being read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparsam.agent.runtime import Sandbox
from sparsam.agent.worker import PodWorker
from sparsam.clock import SystemClock
from tests.support.agent import FakeApi, pod

pytestmark = pytest.mark.asyncio


class Engine:
    """Lists sandboxes as they were when asked, but answers only when let."""

    def __init__(self) -> None:
        self.sandboxes: list[Sandbox] = []
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def list_sandboxes(self, uid: str) -> list[Sandbox]:
        seen = list(self.sandboxes)
        self.asked.set()
        await self.answer.wait()
        return seen

    async def sandbox(self, sandbox_id: str) -> Sandbox:
        return next(s for s in self.sandboxes if s.id == sandbox_id)

    async def list_containers(self, uid: str) -> list[Any]:
        return []


class Operations:
    """Makes sandboxes when let, and counts them."""

    directory = SimpleNamespace(path=Path("/nowhere"))

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.made = 0

    async def set_up(self, view: Any) -> None:
        pass

    async def run_sandbox(self, view: Any, attempt: int) -> None:
        self.made += 1
        self.begun.set()
        await self.go.wait()
        self.engine.sandboxes.append(Sandbox("s1", "u", "p", "default", attempt, True, 1.0, ips=("10.0.0.2",)))

    async def start(self, view: Any, action: Any, started: Any) -> str:
        await asyncio.Event().wait()
        return ""


async def test_a_sandbox_that_came_while_the_engine_was_read_is_not_made_twice():
    engine = Engine()
    operations = Operations(engine)
    node = SimpleNamespace(
        cri=engine,
        api=FakeApi(),
        clock=SystemClock(),
        now=lambda: 1.0,
        config=SimpleNamespace(node_ip="127.0.0.1", node_ips=("127.0.0.1",)),
    )
    worker = PodWorker(node.api.add(pod()), node, operations)
    async with asyncio.timeout(10):
        running = asyncio.create_task(worker.run())
        await operations.begun.wait()
        await asyncio.sleep(0)
        engine.answer.clear()
        engine.asked.clear()
        worker.kick()
        await engine.asked.wait()
        operations.go.set()
        while "sandbox" in worker._tasks:
            await asyncio.sleep(0)
        engine.answer.set()
        while not worker.view.sandboxes:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert operations.made == 1
