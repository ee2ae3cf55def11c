"""Controllers against a real API server, all in one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.client.informer import InformerFactory
from sparsam.clock import SystemClock
from sparsam.controllers.runtime import Context
from sparsam.errors import NotFound
from sparsam.objects.kinds import PODS
from tests.support.apiserver import serving

WAIT_SECONDS = 30
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


class Kubelet:
    """Makes every pod run and be ready, except those of images it was told to break; removes those that are deleted."""

    def __init__(self, context: Context, broken: tuple[str, ...] = ()) -> None:
        self._client, self._broken = context.client, broken
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.controller = self
        context.informer(PODS).add_handler(lambda _kind, _old, new: self._queue.put_nowait(new) if new else None)

    async def run(self) -> None:
        while True:
            pod = await self._queue.get()
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            with contextlib.suppress(NotFound):
                if "deletionTimestamp" in pod["metadata"]:
                    await self._client.delete(PODS, name, namespace, grace_seconds=0)
                elif (
                    pod.get("status", {}).get("phase") == "Pending"
                    and pod["spec"]["containers"][0]["image"] not in self._broken
                ):
                    status = {"phase": "Running", "conditions": [READY]}
                    await self._client.patch(PODS, name, {"status": status}, namespace=namespace, subresource="status")


@contextlib.asynccontextmanager
async def controlled(tmp_path: Path, *makers: Callable[[Context], Any]) -> AsyncIterator[ApiClient]:
    """A fresh API server with these controllers running; yields an administrator's client."""
    async with (
        serving(tmp_path) as server,
        ApiClient(load_kubeconfig(server.kubeconfig)) as client,
        running(client, *makers),
    ):
        yield client


@contextlib.asynccontextmanager
async def running(client: ApiClient, *makers: Callable[[Context], Any]) -> AsyncIterator[None]:
    """These controllers, until the block ends."""

    async def work() -> None:
        context = Context(client, InformerFactory(client), SystemClock())
        async with asyncio.TaskGroup() as group:
            context.informers.start(group)
            for make in makers:
                group.create_task(make(context).controller.run())

    task = asyncio.create_task(work())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def eventually(look: Callable[[], Any], what: str = "") -> Any:
    """Await `look()` until it gives something true; NotFound counts as not yet."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with contextlib.suppress(NotFound):
                if found := await look():
                    return found
            await asyncio.sleep(0.03)
    raise AssertionError(what)


async def gone(look: Callable[[], Any]) -> None:
    """Await until `look()` raises NotFound."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await look()
            except NotFound:
                return
            await asyncio.sleep(0.03)
