"""A work queue of keys: no duplicates, one worker per key at a time, growing delays for keys that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from sparsam.errors import Conflict, StatusError

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_DELAY_SECONDS = 0.005
LAST_DELAY_SECONDS = 1000.0


class WorkQueue(Generic[K]):
    """A key added while it is being worked on is worked on once more afterwards."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Work on a key soon."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Work on a key later; an earlier appointment stands."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + seconds:
                return
            known.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: K) -> None:
        """Work on a key that failed, after a delay that doubles with each failure in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(FIRST_DELAY_SECONDS * 2.0 ** min(failures, 30), LAST_DELAY_SECONDS))

    def forget(self, key: K) -> None:
        """The key is fine: its next failure starts with the shortest delay."""
        self._failures.pop(key, None)

    async def run(self, work: Callable[[K], Awaitable[None]], *, workers: int = 4) -> None:
        """Work until cancelled. An exception from `work` is logged and the key tried again later."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._serve(work), name=f"{self.name} worker {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _serve(self, work: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._active.add(key)
            try:
                await work(key)
                self.forget(key)
            except Conflict:
                self.retry(key)
            except (StatusError, OSError, TimeoutError) as error:
                log.warning("will try again queue=%s key=%s error=%s", self.name, key, error or type(error).__name__)
                self.retry(key)
            except Exception:
                log.exception("failed, will try again queue=%s key=%s", self.name, key)
                self.retry(key)
            finally:
                self._active.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
