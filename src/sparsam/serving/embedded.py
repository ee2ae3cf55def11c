"""A uvicorn server inside a process that has other things to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn

TICK_SECONDS = 1.0


class EmbeddedServer(uvicorn.Server):
    """Leaves signals to the process it runs in, and sleeps while nothing happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Stop accepting and drain."""
        self.should_exit = True
        self._stop.set()

    async def main_loop(self) -> None:
        """Renew the Date header once a second until told to stop; uvicorn itself would wake ten times as often."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield
