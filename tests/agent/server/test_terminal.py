"""The client's end of exec: buffered input, sizes, and leaving unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sparsam.agent.server.channels import V5
from sparsam.agent.server.terminal import Terminal


class Socket:
    """Says what it is given; whoever sends to it learns that nobody is there."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = messages

    async def messages(self) -> AsyncIterator[bytes]:
        for message in self._messages:
            yield message

    async def send(self, data: bytes) -> None:
        raise ConnectionResetError("gone")


def terminal(*messages: bytes) -> Terminal:
    socket: Any = Socket(*messages)
    return Terminal(socket, V5)


async def test_input_comes_in_order_and_ends_when_the_client_closes_it():
    one = terminal(b"\0one", b"\0two", b"\xff\0", b"\0late")
    await one.listen()
    assert [await one.read(), await one.read(), await one.read()] == [b"one", b"two", b""]


async def test_the_newest_size_counts():
    one = terminal(b'\x04{"Width":80,"Height":24}', b'\x04{"Width":90,"Height":30}')
    await one.listen()
    assert await one.first_size() == await one.resized()


async def test_a_client_without_a_terminal_is_not_waited_for():
    assert await terminal().first_size() is None


async def test_while_input_is_stuck_a_client_that_has_gone_is_found_out():
    one = terminal(*(b"\0" + b"x" * 65536 for _ in range(40)))
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(one.listen(), 30)
