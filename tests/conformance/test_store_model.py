"""Random histories: whatever is done to a store, it answers as the model does that keeps everything."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sparsam.store.config import StoreConfig
from sparsam.store.interface import Compacted, Entry, Store, StoreError
from sparsam.store.memory import MemoryStore
from sparsam.store.sqlite import SqliteStore
from tests.support.store import Model, Watched

Result = TypeVar("Result")

PREFIXES = ["", "/core/", "/core/pods/", "/core/pods/a/", "/core/pods/a/x", "/core/nodes/", "/other"]
KEYS = ["/core/pods/a/x", "/core/pods/a/xy", "/core/pods/b/x", "/core/nodes/n", "/core/nodes/m", "/other"]

writes = st.tuples(
    st.sampled_from(["create", "update", "delete", "delete-any"]),
    st.sampled_from(KEYS),
    st.binary(max_size=3),
    st.booleans(),
)


class StoreMachine(RuleBasedStateMachine):
    """Drives one store and the model side by side, on an event loop of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.watches: list[tuple[Any, asyncio.Task[None], Watched, str, int]] = []
        self.store = self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> Store:
        return await MemoryStore.open()

    @rule(batch=st.lists(writes, min_size=1, max_size=6))
    def write(self, batch: list[tuple[str, str, bytes, bool]]) -> None:
        """Several at once, of which some meet the others' outcome."""
        calls, wanted = [], []
        for verb, key, value, stale in batch:
            current = self.model.state().get(key)
            expected = (current.revision if current else self.model.revision) - stale
            if verb == "create":
                calls.append(self.store.create(key, value))
                wanted.append(self.model.create(key, value))
            elif verb == "update":
                calls.append(self.store.update(key, value, expected=expected))
                wanted.append(self.model.update(key, value, expected))
            else:
                maybe = None if verb == "delete-any" else expected
                calls.append(self.store.delete(key, expected=maybe))
                wanted.append(self.model.delete(key, maybe))

        async def gather() -> list[Entry | BaseException]:
            return await asyncio.gather(*calls, return_exceptions=True)

        got = [type(result) if isinstance(result, StoreError) else result for result in self.run(gather())]
        assert got == wanted

    @rule(key=st.sampled_from(KEYS), data=st.data())
    def get(self, key: str, data: st.DataObject) -> None:
        revision = data.draw(st.none() | st.integers(1, self.model.revision))
        if revision is not None and revision < self.model.oldest:
            with pytest.raises(Compacted):
                self.run(self.store.get(key, revision=revision))
        else:
            assert self.run(self.store.get(key, revision=revision)) == self.model.state(revision).get(key)

    @rule(
        prefix=st.sampled_from(PREFIXES),
        start_key=st.none() | st.sampled_from(KEYS),
        limit=st.integers(0, 4),
        data=st.data(),
    )
    def list_some(self, prefix: str, start_key: str | None, limit: int, data: st.DataObject) -> None:
        revision = data.draw(st.none() | st.integers(self.model.oldest, self.model.revision))
        page = self.run(self.store.list(prefix, revision=revision, limit=limit, start_key=start_key))
        wanted = self.model.listing(prefix, revision, start_key)
        cut = limit or len(wanted)
        assert page.entries == wanted[:cut]
        assert page.remaining == len(wanted[cut:])
        assert page.next_key == (wanted[cut].key if wanted[cut:] else None)
        assert page.revision == (self.model.revision if revision is None else revision)

    @precondition(lambda self: len(self.watches) < 4)
    @rule(prefix=st.sampled_from(PREFIXES), data=st.data())
    def watch(self, prefix: str, data: st.DataObject) -> None:
        since = data.draw(st.integers(self.model.oldest, self.model.revision))

        async def start() -> None:
            context = self.store.watch(prefix, since=since)
            watched = Watched(self.store)
            task = asyncio.create_task(watched.follow(await context.__aenter__()))
            self.watches.append((context, task, watched, prefix, since))

        self.run(start())

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, self.model.revision))
        self.run(self.store.compact(revision))
        self.model.oldest = max(self.model.oldest, revision)

    @invariant()
    def revision_agrees(self) -> None:
        assert self.store.revision == self.model.revision

    def end_watches(self) -> None:
        """Every watch saw exactly what the model says, in order."""

        async def settle() -> None:
            for context, task, watched, prefix, since in self.watches:
                wanted = self.model.since(prefix, since)
                assert await asyncio.wait_for(watched.until(len(wanted)), 5) == wanted
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await context.__aexit__(None, None, None)

        self.run(settle())
        self.watches.clear()

    def teardown(self) -> None:
        try:
            self.end_watches()
        finally:
            self.run(self.store.close())
            self.runner.close()


class SqliteMachine(StoreMachine):
    """With next to no history in memory, so that old revisions come from the disk, and with restarts."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="store-model-"))
        super().__init__()

    async def open(self) -> Store:
        return await SqliteStore.open(self.directory / "store.db", StoreConfig(history_events=3, batch_writes=4))

    @rule()
    def restart(self) -> None:
        self.end_watches()
        self.run(self.store.close())
        self.store = self.run(self.open())
        assert self.store.revision == self.model.revision

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.directory)


def test_the_memory_store_answers_as_the_model_does():
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


def test_the_sqlite_store_answers_as_the_model_does_through_restarts():
    run_state_machine_as_test(SqliteMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
