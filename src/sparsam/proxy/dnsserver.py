"""The cluster's DNS server, over UDP and TCP: the cluster's own names from the zone, all others forwarded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import struct
from collections.abc import Callable, Coroutine
from typing import cast

from sparsam.proxy.dns import (
    ADDRESS_BYTES,
    TCP_SIZE,
    Answer,
    Code,
    MalformedMessage,
    Query,
    Record,
    Type,
    encode_answer,
    encode_error,
    parse_query,
    size_limit,
)
from sparsam.proxy.resolver import Resolver
from sparsam.proxy.zone import Zone

log = logging.getLogger(__name__)

_MAX_ALIASES = 8
_IDLE_SECONDS = 10.0
_MAX_CONNECTIONS = 200
_MAX_PENDING = 2000


class DnsServer:
    """Answers on one address; use as an async context manager."""

    def __init__(self, zone: Zone, resolver: Resolver, *, address: str, port: int = 53) -> None:
        self.zone = zone
        self.resolver = resolver
        self.address = address
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> DnsServer:
        """Listen; raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self.address, self.port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        try:
            self._server = await asyncio.start_server(self._converse, self.address, self.port)
        except OSError:
            self._transport.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and drop what is under way."""
        if self._transport:
            self._transport.close()
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer_now(self, message: bytes) -> bytes | Query:
        """The answer to a datagram if it needs nobody else, else the query to be resolved."""
        try:
            query = parse_query(message)
        except MalformedMessage as error:
            return encode_error(message, error.code)
        answer = self.zone.lookup(query.name, query.type)
        if answer is None or _dangling_alias(query, answer):
            return query
        return encode_answer(query, _rotated(answer), limit=size_limit(query))

    def receive(self, message: bytes, reply: Callable[[bytes], None]) -> None:
        """Take one datagram."""
        found = self.answer_now(message)
        if isinstance(found, bytes):
            if found:
                reply(found)
        elif len(self._tasks) < _MAX_PENDING:
            self._spawn(self._resolve_and_reply(message, found, reply))
        else:
            reply(encode_error(message, Code.SERVER_FAILURE))

    async def resolve(self, message: bytes, query: Query, *, over_tcp: bool = False) -> bytes:
        """The answer to a query, asking elsewhere where the zone does not know."""
        answer = self.zone.lookup(query.name, query.type)
        if answer is None:
            return await self.resolver.forward(message, query, over_tcp=over_tcp)
        if _dangling_alias(query, answer):
            answer = await self._follow(answer, query.type)
        return encode_answer(query, _rotated(answer), limit=TCP_SIZE if over_tcp else size_limit(query))

    async def _follow(self, answer: Answer, kind: int) -> Answer:
        """An alias with the addresses it stands for: the resolvers in pods do not ask a second time."""
        records: tuple[Record, ...] = answer.answers
        for _ in range(_MAX_ALIASES):
            alias = records[-1]
            if alias.type != Type.CNAME or not isinstance(alias.data, tuple):
                break
            inside = self.zone.lookup(alias.data, kind)
            if inside is None:
                records += await self.resolver.addresses(alias.data, kind)
                break
            if not inside.answers:
                break
            records += inside.answers
        return Answer(answers=records)

    async def _resolve_and_reply(self, message: bytes, query: Query, reply: Callable[[bytes], None]) -> None:
        reply(await self.resolve(message, query))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        (size,) = struct.unpack("!H", await reader.readexactly(2))
                        message = await reader.readexactly(size)
                    found = await self._answer_stream(message)
                    if not found:
                        break
                    writer.write(struct.pack("!H", len(found)) + found)
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()

    async def _answer_stream(self, message: bytes) -> bytes:
        try:
            query = parse_query(message)
        except MalformedMessage as error:
            return encode_error(message, error.code)
        return await self.resolve(message, query, over_tcp=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("dns question failed", exc_info=task.exception())


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.receive(data, lambda answer: self._reply(answer, addr))

    def _reply(self, answer: bytes, addr: tuple[str, int]) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


def _dangling_alias(query: Query, answer: Answer) -> bool:
    return query.type in ADDRESS_BYTES and bool(answer.answers) and answer.answers[-1].type == Type.CNAME


def _rotated(answer: Answer) -> Answer:
    """Start the list somewhere else each time: many clients take the first address."""
    if len(answer.answers) < 2 or any(each.type == Type.CNAME for each in answer.answers):
        return answer
    start = secrets.randbelow(len(answer.answers))
    return Answer(answer.code, answer.answers[start:] + answer.answers[:start], answer.authority, answer.additional)
