"""The thread that owns the writing connection.

Jobs run one after another; each costs the event loop one wake-up. A job either returns or fails with
StoreUnavailable: SQLite's own errors end here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from sparsam.store.interface import StoreUnavailable

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Any]
Done = Callable[[Any, StoreUnavailable | None], None]
"""Called on the event loop with the job's result, or with why it failed."""


class Writer:
    """Runs jobs on a connection, away from the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        # A daemon: a process that is told to die need not wait, its acknowledged writes are on disk.
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Queue a job."""
        self._jobs.put((job, done))

    async def run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Queue a job and wait for its result."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def settle(result: Result, error: StoreUnavailable | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(job, settle)
        return await future

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result, failure = self._attempt(job)
            try:
                self._loop.call_soon_threadsafe(done, result, failure)
            except RuntimeError:
                # The loop was closed without closing the store: nobody is left to hear.
                break
            # Nothing of a finished batch may stay alive while the thread sleeps.
            del item, job, done, result
        self._connection.close()

    def _attempt(self, job: Job) -> tuple[Any, StoreUnavailable | None]:
        try:
            return job(self._connection), None
        except (sqlite3.Error, sqlite3.Warning, OSError, OverflowError, MemoryError) as error:
            failure = StoreUnavailable(f"cannot write: {error}")
            failure.__cause__ = error
            return None, failure
