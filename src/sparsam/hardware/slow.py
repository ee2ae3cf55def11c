"""Blocking reads of drivers, kept off the event loop: one at a time, never waited for longer than agreed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SlowRead(Generic[T]):
    """A function run in a thread. While a call hangs no second one is started, so threads cannot pile up."""

    def __init__(self, function: Callable[[], T], seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._under_way: asyncio.Task[T] | None = None

    async def __call__(self) -> T | None:
        """The function's result, of the call that is under way if there is one; None if it takes too long."""
        if self._under_way is None:
            self._under_way = asyncio.create_task(asyncio.to_thread(self._function))
        await asyncio.wait({self._under_way}, timeout=self._seconds)
        if not self._under_way.done():
            return None
        finished, self._under_way = self._under_way, None
        return finished.result()

    def close(self) -> None:
        """Stop waiting. A call that hangs in the kernel cannot be ended."""
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None
