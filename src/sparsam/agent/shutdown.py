"""The node's orderly end: pods go by priority within a bounded time, and the node says that it goes.

Whoever shuts the machine down tells the agent through `Order`: a signal (`sparsam node shutdown`), or logind where
there is one. What starts meanwhile is turned away. The next agent knows nothing of it and takes the node up again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sparsam.agent.config import AgentConfig
from sparsam.agent.eviction import CRITICAL_PRIORITY
from sparsam.agent.manifests import is_static
from sparsam.agent.pods import Pods
from sparsam.agent.podspec import Obj, is_terminal
from sparsam.agent.worker import PodWorker
from sparsam.clock import Clock, format_time

log = logging.getLogger(__name__)

GOING_DOWN = "node is shutting down"
STATE_FILE = "shutdown.json"
_POLL_SECONDS = 0.1
_SETTLE_SECONDS = 3.0
"""Beyond a group's time, for the kills and the last statuses."""


class Order:
    """Whether the node shall go down. Set by signals and logind, heeded by the agent."""

    def __init__(self) -> None:
        self.given = asyncio.Event()
        self.done = asyncio.Event()
        self._withdrawn = asyncio.Event()

    def give(self) -> None:
        """Go down."""
        self._withdrawn.clear()
        self.given.set()

    def withdraw(self) -> None:
        """Stay after all; what has ended stays ended."""
        self.given.clear()
        self.done.clear()
        self._withdrawn.set()

    async def withdrawal(self) -> None:
        """Wait until the order is taken back."""
        await self._withdrawn.wait()


@dataclass(frozen=True, slots=True)
class Group:
    """Pods that go at once, and the time that they get."""

    seconds: int
    critical: bool


def is_critical(pod: Obj) -> bool:
    """Whether a pod goes last: by its priority, or since it is the node's own."""
    return is_static(pod) or (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def groups(grace_seconds: int, critical_seconds: int) -> list[Group]:
    """The order of the end: most pods first, the critical ones in the last part of the time."""
    last = min(critical_seconds, grace_seconds)
    return [Group(grace_seconds - last, critical=False), Group(last, critical=True)]


@dataclass(slots=True)
class Shutdown:
    """Carries the order out."""

    config: AgentConfig
    pods: Pods
    order: Order
    clock: Clock
    announce: Callable[[str], None]
    """Tells the node's reporter why it is not ready; nothing when it is again."""
    _began: str = field(default="")

    async def run(self) -> None:
        """Wait for the order, again and again, until cancelled."""
        (self.config.data_dir / STATE_FILE).unlink(missing_ok=True)
        while True:
            await self.order.given.wait()
            ending = asyncio.ensure_future(self._go_down())
            staying = asyncio.ensure_future(self.order.withdrawal())
            try:
                await asyncio.wait({ending, staying}, return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    ending.result()
                await staying
            finally:
                for task in (ending, staying):
                    task.cancel()
                await asyncio.gather(ending, staying, return_exceptions=True)
            log.info("shutdown withdrawn node=%s", self.config.node_name)
            self.pods.closed = False
            self.announce("")
            (self.config.data_dir / STATE_FILE).unlink(missing_ok=True)

    async def _go_down(self) -> None:
        self._began = format_time(self.clock.now())
        log.info("node goes down node=%s pods=%d", self.config.node_name, self.pods.count)
        self.pods.closed = True
        self.announce(GOING_DOWN)
        self._note(0)
        for group in groups(self.config.shutdown_seconds, self.config.shutdown_critical_seconds):
            await self._end(group)
        left = len(_alive(self.pods.workers()))
        self._note(left, ended=True)
        log.info("node may go node=%s pods_left=%d", self.config.node_name, left)
        self.order.done.set()

    async def _end(self, group: Group) -> None:
        workers = [each for each in self.pods.workers() if is_critical(each.pod) == group.critical]
        for worker in workers:
            worker.shut_down(group.seconds)
        deadline = self.clock.monotonic() + group.seconds + _SETTLE_SECONDS
        while (left := _alive(workers)) and self.clock.monotonic() < deadline:
            self._note(len(left))
            await self.clock.sleep(_POLL_SECONDS)

    def _note(self, left: int, *, ended: bool = False) -> None:
        """Write down how far it is, for whoever waits for it."""
        state = {"startedAt": self._began, "podsLeft": left, "ended": ended}
        path = self.config.data_dir / STATE_FILE
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(state))
        beside.replace(path)


def _alive(workers: Iterable[PodWorker]) -> list[PodWorker]:
    """Those whose containers run, or whose end the API has not heard of."""
    return [each for each in workers if not each.ended and not is_terminal(each.pod)]
