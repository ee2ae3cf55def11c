"""Network namespaces for tests, without names: they vanish with the process that holds each."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import netns

needs_ipv6 = pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6")


class Namespace:
    """A network namespace of its own."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        self.pid = self._holder.pid
        self._listeners: list[socket.socket] = []
        self.ip("link set lo up")

    def close(self) -> None:
        for each in self._listeners:
            each.close()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def run(self, *command: str, text: str | None = None) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-n", *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def ip(self, arguments: str) -> str:
        return self.run("ip", *arguments.split())

    def sysctl(self, name: str, value: str) -> None:
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name}")

    def call(self, work: Callable[[], Any]) -> Any:
        """The result of a function run by a thread inside."""
        result: list[Any] = []
        failure: list[BaseException] = []

        def inside() -> None:
            try:
                descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
                try:
                    netns.setns(descriptor)
                finally:
                    os.close(descriptor)
                result.append(work())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=inside, daemon=True)
        thread.start()
        thread.join(30)
        if failure:
            raise failure[0]
        return result[0]

    def serve(self, name: str, ip: str, port: int) -> None:
        """A server that answers each line with its name and who asked, until the namespace is closed."""

        def listen() -> socket.socket:
            return socket.create_server((ip, port), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)

        listener = self.call(listen)
        self._listeners.append(listener)
        threading.Thread(target=_accept, args=(listener, name), daemon=True).start()

    def connect(self, ip: str, port: int) -> socket.socket:
        return self.call(lambda: socket.create_connection((ip, port), timeout=5))

    def ask(self, ip: str, port: int) -> tuple[str, str]:
        """Name of the server reached and the address it saw."""
        with self.connect(ip, port) as connection:
            return talk(connection)


def talk(connection: socket.socket) -> tuple[str, str]:
    connection.sendall(b"hello\n")
    name, peer = connection.recv(200).decode().split()
    return name, peer


def _accept(listener: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, peer = listener.accept()
            threading.Thread(target=_converse, args=(connection, f"{name} {peer[0]}\n"), daemon=True).start()


def _converse(connection: socket.socket, line: str) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(30)
        while connection.recv(100):
            connection.sendall(line.encode())


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Namespace())) for _ in range(count)]
