"""Asks the resolvers outside the cluster, one after the other, each with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from sparsam.proxy.dns import Code, Name, Query, Record, encode_error, encode_query, parse_addresses

DNS_PORT = 53
_MAX_WAITING = 1000
_TRIES = 2


class Resolver:
    """Forwards questions; bounded in time and in number."""

    def __init__(self, servers: Iterable[tuple[str, int]], *, concurrency: int = 100, timeout: float = 2.0) -> None:
        self.servers = tuple(servers)
        self._timeout = timeout
        self._free = asyncio.Semaphore(concurrency)
        self._waiting = 0

    async def forward(self, message: bytes, query: Query, *, over_tcp: bool = False) -> bytes:
        """The answer for a client's own message; a server failure if nobody gives one."""
        if self._waiting >= _MAX_WAITING:
            return encode_error(message, Code.SERVER_FAILURE)
        self._waiting += 1
        try:
            async with self._free:
                answer = await self._ask_all(message, over_tcp=over_tcp)
        finally:
            self._waiting -= 1
        if answer is None:
            return _failure(message, query)
        return message[:2] + answer[2:]

    async def addresses(self, name: Name, kind: int) -> tuple[Record, ...]:
        """The addresses of an outside name of one type, with the aliases on the way; nothing if they cannot be had."""
        message = encode_query(0, name, kind)
        async with self._free:
            answer = await self._ask_all(message, over_tcp=False)
        with contextlib.suppress(ValueError):
            return parse_addresses(answer or b"")
        return ()

    async def _ask_all(self, message: bytes, *, over_tcp: bool) -> bytes | None:
        ask = _ask_tcp if over_tcp else _ask_udp
        for server in self.servers * _TRIES:
            # A number of our own: the client's would make the answer easier to forge.
            sent = secrets.token_bytes(2) + message[2:]
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(self._timeout):
                    return await ask(server, sent)
        return None


def read_resolv_conf(path: Path, *, without: str) -> tuple[tuple[str, int], ...]:
    """The name servers of a resolv.conf, without the cluster's own, which would ask itself."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    ips = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    # A link's own address may belong to another link here, where the node has a network namespace: it is asked last.
    return tuple((ip, DNS_PORT) for ip in sorted(ips, key=lambda ip: ip.startswith("fe80:")) if ip != without)


async def _ask_udp(server: tuple[str, int], message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Asker(message, answer), remote_addr=server)
    try:
        return await answer
    finally:
        transport.close()


async def _ask_tcp(server: tuple[str, int], message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(message)) + message)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(size)
    finally:
        writer.close()
    if not _answers(message, answer):
        raise OSError("an answer to another question")
    return answer


class _Asker(asyncio.DatagramProtocol):
    def __init__(self, message: bytes, answer: asyncio.Future[bytes]) -> None:
        self._message = message
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self._message)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._answer.done() and _answers(self._message, data):
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


def _answers(question: bytes, answer: bytes) -> bool:
    return len(answer) >= 12 and answer[:2] == question[:2] and bool(answer[2] & 0x80)


def _failure(message: bytes, query: Query) -> bytes:
    header = encode_error(message, Code.SERVER_FAILURE)
    return header[:4] + struct.pack("!4H", 1, 0, 0, 0) + query.question
