"""Operations under way for one pod, one for each key, as tasks: a slow pull never delays a deletion."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class PodTasks:
    """Whatever becomes of an operation, the worker looks again: `kick` is called."""

    def __init__(self, pod: str, kick: Callable[[], None]) -> None:
        """`pod` is what the log calls it."""
        self._pod, self._kick = pod, kick
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unseen: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._tasks

    def __bool__(self) -> bool:
        return bool(self._tasks)

    @property
    def keys(self) -> frozenset[str]:
        """Operations under way, and those that ended since the last look."""
        return frozenset((*self._tasks, *self._unseen))

    def look(self) -> None:
        """The engine is being read: what ends meanwhile may be missing there, and counts until the next look."""
        self._unseen.clear()

    def launch(self, key: str, work: Coroutine[Any, Any, None]) -> bool:
        """Begin an operation unless one of this key is under way; whether it began."""
        if key in self._tasks:
            work.close()
            return False
        self._tasks[key] = asyncio.create_task(self._guard(key, work))
        return True

    def cancel(self, keys: Iterable[str]) -> None:
        """Those of the operations that are under way."""
        for key in keys:
            if key in self._tasks:
                self._tasks[key].cancel()

    async def wait(self, key: str) -> None:
        """Until the operation, if it is under way, has ended."""
        if key in self._tasks:
            await asyncio.wait([self._tasks[key]])

    async def stop(self) -> None:
        """Cancel all and wait for their ends."""
        self.cancel(self._tasks)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _guard(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (SparsamError, OSError) as error:
            log.warning("operation failed pod=%s operation=%s error=%s", self._pod, key, error)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("operation broke pod=%s operation=%s", self._pod, key)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._tasks.pop(key, None)
            self._unseen.add(key)
            self._kick()
