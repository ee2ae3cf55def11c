"""Connections to ports inside a pod's network namespace."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading

from sparsam.agent.registry import PodRegistry
from sparsam.agent.runtime import RuntimeFault
from sparsam.errors import SparsamError

CONNECT_SECONDS = 10.0
_CLONE_NEWNET = 0x40000000
_LOOPBACK = ((socket.AF_INET, "127.0.0.1", "tcp4"), (socket.AF_INET6, "::1", "tcp6"))

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialFailed(SparsamError):
    """Nobody answers there; the message says why."""


class PodDialer:
    """Connects to one pod, wherever its sandbox is at the time."""

    def __init__(self, registry: PodRegistry, namespace: str, name: str) -> None:
        self._registry = registry
        self._namespace = namespace
        self._name = name

    async def connect(self, port: int) -> Connection:
        """A connection to a port of the pod's loopback address; raises DialFailed."""
        try:
            target = await self._registry.sandbox(self._namespace, self._name)
        except RuntimeFault as error:
            raise DialFailed(str(error)) from error
        if target is None or not target.sandbox.ready:
            raise DialFailed(f'sandbox of pod "{self._name}" is not running')
        failures = []
        for family, address, network in _LOOPBACK:
            try:
                return await _connect(family, address, port, target.netns_path)
            except TimeoutError:
                failures.append(f"dial {network} {address}:{port}: i/o timeout")
            except OSError as error:
                failures.append(f"dial {network} {address}:{port}: connect: {reason(error)}")
        place = f'inside namespace "{target.sandbox.id}"' if target.netns_path else "on the node"
        raise DialFailed(f"failed to connect to localhost:{port} {place}, IPv4: {failures[0]} IPv6: {failures[1]}")


async def _connect(family: int, address: str, port: int, netns_path: str | None) -> Connection:
    made = socket.socket(family) if netns_path is None else await socket_inside(netns_path, family)
    made.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made)
    except BaseException:
        made.close()
        raise


async def socket_inside(netns_path: str, family: int) -> socket.socket:
    """A new socket of a network namespace; a socket stays in the namespace that it was made in. Raises OSError."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[socket.socket] = loop.create_future()

    def give(made: socket.socket | None, error: OSError | None) -> None:
        if result.cancelled():
            if made is not None:
                made.close()
        elif made is not None:
            result.set_result(made)
        else:
            result.set_exception(error or OSError("no socket"))

    def make() -> None:
        try:
            enter_netns(netns_path)
            made = socket.socket(family)
        except OSError as error:
            loop.call_soon_threadsafe(give, None, error)
        else:
            loop.call_soon_threadsafe(give, made, None)

    # A thread of its own, which ends right after: threads of a pool would carry the namespace to others' work.
    threading.Thread(target=make, name="netns socket", daemon=True).start()
    return await result


def enter_netns(path: str) -> None:
    """Move the calling thread into a network namespace; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def reason(error: OSError) -> str:
    """The kernel's words on an error, as Go prints them."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
