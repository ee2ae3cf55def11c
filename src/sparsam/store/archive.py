"""Revisions that only the disk remembers, read on a thread of its own so that they never delay a write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sparsam.store import database
from sparsam.store.interface import Entry, EventBatch, Page, StoreUnavailable

Result = TypeVar("Result")


class DiskArchive:
    """Reads as of an older revision. WAL lets them run beside the writer."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        self._connection = database.connect_reader(path)

    async def get(self, key: str, revision: int) -> Entry | None:
        """The entry as of a revision."""
        return await self._run(lambda connection: database.read_entry(connection, key, revision))

    async def list(self, prefix: str, revision: int, *, limit: int, start_key: str) -> Page:
        """Entries as of a revision."""
        return await self._run(
            lambda connection: database.read_page(connection, prefix, revision, limit=limit, start_key=start_key)
        )

    async def events(self, prefix: str, *, since: int, until: int, limit: int) -> EventBatch:
        """Events in (since, until], at most `limit`, oldest first."""
        return await self._run(
            lambda connection: database.read_events(connection, prefix, since=since, until=until, limit=limit)
        )

    async def close(self) -> None:
        """Finish what is running."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def _run(self, read: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read, self._connection)
        except (sqlite3.Error, RuntimeError) as error:
            # RuntimeError is the executor's word for having been shut down.
            raise StoreUnavailable(f"cannot read an old revision: {error}") from error
