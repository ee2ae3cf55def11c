"""WebSocket requests: exec, attach and port-forward, from the URL to whoever carries the bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sparsam.agent.config import AgentConfig
from sparsam.agent.registry import ContainerTarget, PodRegistry
from sparsam.agent.server import channels
from sparsam.agent.server.dialing import PodDialer
from sparsam.agent.server.exec import Exec, ExecRequest
from sparsam.agent.server.http import Query
from sparsam.agent.server.portchannels import PortChannels, wanted_ports
from sparsam.agent.server.tasks import Tasks
from sparsam.agent.server.terminal import Terminal
from sparsam.agent.server.tunnel import PROTOCOL, Tunnel
from sparsam.agent.server.websocket import WebSocket
from sparsam.errors import BadRequest, NotFound

log = logging.getLogger(__name__)


class Streaming:
    """The streams of one node."""

    def __init__(self, config: AgentConfig, registry: PodRegistry) -> None:
        self._config = config
        self._registry = registry

    async def exec(self, socket: WebSocket, namespace: str, name: str, container: str, query: Query) -> None:
        """Run a command."""
        request = exec_request(query)
        if not request.command:
            raise BadRequest("you must specify at least one command for the container")
        target = self._running(namespace, name, container)
        await self._converse(socket, lambda terminal: self._exec(target, container, request, terminal), request)

    async def port_forward(self, socket: WebSocket, namespace: str, name: str, query: Query) -> None:
        """Carry connections to the pod's ports."""
        pod = self._registry.pod(namespace, name)
        if pod is None:
            raise NotFound("pod does not exist")
        protocol = channels.choose(socket.protocols, (PROTOCOL, *channels.PROTOCOLS))
        if protocol is None:
            raise BadRequest(f"unable to upgrade: none of {', '.join((PROTOCOL, *channels.PROTOCOLS))} is offered")
        dialer = PodDialer(self._registry, namespace, name)
        label = f"{name}_{namespace}, uid {pod['metadata']['uid']}"
        if protocol == PROTOCOL:
            await socket.accept(protocol)
            await Tunnel(socket, dialer, label).run()
            return
        ports = wanted_ports(query)
        await socket.accept(protocol)
        await PortChannels(socket, protocol, dialer, label).run(ports)

    async def _exec(
        self, target: ContainerTarget | None, container: str, request: ExecRequest, terminal: Terminal
    ) -> channels.Obj:
        if target is None:
            return channels.failure(f'unable to upgrade connection: container not found ("{container}")')
        tasks = Tasks(self._registry.cri.channel, target.engine_namespace)
        return await Exec(tasks, target.container.id, request, terminal, self._config.run_dir / "io").run()

    async def _converse(
        self, socket: WebSocket, run: Callable[[Terminal], Awaitable[channels.Obj]], request: ExecRequest
    ) -> None:
        """Accept, run, send the last word; ends early when the client leaves.

        What goes wrong is told after the handshake: a client takes a refused one as a sign to try SPDY.
        """
        protocol = channels.choose(socket.protocols)
        if protocol is None:
            raise BadRequest(f"unable to upgrade: none of {', '.join(channels.PROTOCOLS)} is offered")
        await socket.accept(protocol)
        terminal = Terminal(socket, protocol)
        await terminal.write(first_channel(request), b"")
        listening = asyncio.ensure_future(terminal.listen())
        running = asyncio.ensure_future(run(terminal))
        try:
            await asyncio.wait({listening, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await terminal.finish(running.result())
        finally:
            for task in (listening, running):
                task.cancel()
            await asyncio.gather(listening, running, return_exceptions=True)

    def _running(self, namespace: str, name: str, container: str) -> ContainerTarget | None:
        if self._registry.pod(namespace, name) is None:
            raise NotFound("pod does not exist")
        target = self._registry.container(namespace, name, container)
        return target if target is not None and target.container.running else None


def exec_request(query: Query) -> ExecRequest:
    """What a URL asks for, in a kubelet's words or the API's; a terminal has no stderr of its own."""
    tty = query.flag("tty")
    return ExecRequest(
        command=query.all("command"),
        stdin=query.flag("input", "stdin"),
        stdout=query.flag("output", "stdout"),
        stderr=query.flag("error", "stderr") and not tty,
        tty=tty,
    )


def first_channel(request: ExecRequest) -> int:
    """The lowest channel that we write to; an empty message on it says that the connection stands."""
    if request.stdout:
        return channels.STDOUT
    return channels.STDERR if request.stderr else channels.ERROR
