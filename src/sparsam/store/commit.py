"""Group commit: writes that arrive while one transaction is on its way to the disk become the next one.

At most one batch is in flight, and the next is decided only when its outcome is known. So compare-and-set sees
durable state plus earlier writes of its own batch, never the hopes of a batch that may yet fail; and a failed
batch takes nothing else with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sparsam.store.decision import Write, decide
from sparsam.store.interface import Entry, Event, EventType, StoreError, StoreUnavailable

Settled = Callable[[StoreUnavailable | None], None]
Commit = Callable[[list[Event], Settled], None]
"""Makes events durable, then calls back on the event loop."""

Submission = tuple[Write, "asyncio.Future[Entry]"]


@dataclass(slots=True)
class Batch:
    """Writes decided together."""

    accepted: list[tuple[Event, asyncio.Future[Entry]]] = field(default_factory=list)
    refused: list[tuple[StoreError, asyncio.Future[Entry]]] = field(default_factory=list)
    """Refused because of an accepted write of the same batch: true only if that becomes durable."""


class GroupCommit:
    """The queue of writes before a slow commit."""

    def __init__(
        self,
        *,
        live: Callable[[str], Entry | None],
        revision: Callable[[], int],
        commit: Commit,
        publish: Callable[[list[Event]], None],
        batch_writes: int,
    ) -> None:
        self._live = live
        self._revision = revision
        self._commit = commit
        self._publish = publish
        self._batch_writes = batch_writes
        self._waiting: deque[Submission] = deque()
        self._in_flight: Batch | None = None
        self._launch_scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()

    def submit(self, write: Write) -> asyncio.Future[Entry]:
        """Queue a write; the future has its entry once that is durable and visible."""
        future: asyncio.Future[Entry] = self._loop.create_future()
        self._waiting.append((write, future))
        self._idle.clear()
        if self._in_flight is None and not self._launch_scheduled:
            # Not at once: what else becomes ready in this turn of the loop shares the transaction.
            self._launch_scheduled = True
            self._loop.call_soon(self._launch)
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        await self._idle.wait()

    def _launch(self) -> None:
        self._launch_scheduled = False
        while self._waiting:
            count = min(self._batch_writes, len(self._waiting))
            batch = self._decide([self._waiting.popleft() for _ in range(count)])
            if batch.accepted:
                self._in_flight = batch
                self._commit([event for event, _ in batch.accepted], self._settled)
                return
        self._idle.set()

    def _decide(self, submissions: list[Submission]) -> Batch:
        batch = Batch()
        revision = self._revision()
        changed: dict[str, Entry | None] = {}
        for write, future in submissions:
            if future.done():
                # The client went away before anything was done for it.
                continue
            key = write.key
            try:
                event = decide(write, changed[key] if key in changed else self._live(key), revision + 1)
            except StoreError as error:
                if key in changed:
                    batch.refused.append((error, future))
                else:
                    future.set_exception(error)
                continue
            revision += 1
            changed[key] = None if event.type is EventType.DELETED else event.entry
            batch.accepted.append((event, future))
        return batch

    def _settled(self, failure: StoreUnavailable | None) -> None:
        batch, self._in_flight = self._in_flight, None
        if batch is None:
            return
        if failure is not None:
            for _, future in [*batch.accepted, *batch.refused]:
                _fail(future, StoreUnavailable(str(failure)), failure)
        else:
            self._publish([event for event, _ in batch.accepted])
            for event, future in batch.accepted:
                if not future.done():
                    future.set_result(event.entry)
            for error, future in batch.refused:
                _fail(future, error)
        self._launch()


def _fail(future: asyncio.Future[Entry], error: StoreError, cause: BaseException | None = None) -> None:
    if not future.done():
        error.__cause__ = cause
        future.set_exception(error)
