"""A real engine for the tests of one file, and a node on it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.agent import Engine, Node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def node(engine: Engine) -> AsyncIterator[Node]:
    async with engine.agent() as node:
        yield node
        for current in list(node.api.pods.values()):
            node.delete(current, grace=0)
            await node.api.until_gone(current)
