"""WebSocket requests: exec, attach and port-forward, from the URL to whoever carries the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from sparsam.agent.config import AgentConfig
from sparsam.agent.podspec import container_spec
from sparsam.agent.registry import ContainerTarget, PodRegistry
from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.server import channels
from sparsam.agent.server.bridge import StreamingFailed, bridge
from sparsam.agent.server.dialing import PodDialer
from sparsam.agent.server.engine import attach_address, exec_address
from sparsam.agent.server.exec import Exec, ExecRequest
from sparsam.agent.server.http import Query
from sparsam.agent.server.portchannels import PortChannels, wanted_ports
from sparsam.agent.server.tasks import Tasks
from sparsam.agent.server.terminal import Terminal
from sparsam.agent.server.tunnel import PROTOCOL, Tunnel
from sparsam.agent.server.websocket import WebSocket
from sparsam.errors import BadRequest, NotFound

_PORT_PROTOCOLS = (PROTOCOL, *channels.WITH_STATUS)
_NOT_RUNNING = 'unable to upgrade connection: container not found ("{container}")'


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
        protocol = await _accept(socket)
        if target is None:
            await _say(socket, protocol, channels.failure(_NOT_RUNNING.format(container=container)))
        elif await self._is_containerd():
            await self._exec(socket, protocol, target, request)
        else:
            await self._bridge(socket, protocol, exec_address(self._registry.cri, target.container.id, request))

    async def _is_containerd(self) -> bool:
        """Whether the engine has containerd's task API, which can end a command's input; CRI's v4 streams cannot."""
        if self._config.cri_socket is None:
            return True
        name, _ = await self._registry.cri.version()
        return name == "containerd"

    async def attach(self, socket: WebSocket, namespace: str, name: str, container: str, query: Query) -> None:
        """Join the container's own process."""
        request = exec_request(query)
        target = self._running(namespace, name, container)
        protocol = await _accept(socket)
        if target is None:
            await _say(socket, protocol, channels.failure(_NOT_RUNNING.format(container=container)))
            return
        spec = container_spec(target.pod, container) or {}
        # A container has a terminal or not; what the client thinks of it does not matter.
        tty = bool(spec.get("tty"))
        cri, run = self._registry.cri, target.container.id
        # containerd takes a WebSocket that brings no input for the end of the input: one is opened all the same.
        outputs = replace(request, tty=tty, stderr=request.stderr and not tty, stdin=bool(spec.get("stdin")))
        addresses = [attach_address(cri, run, outputs)]
        if request.stdin and not tty:
            # A client that ends its input still wants to read what comes of it.
            addresses.append(attach_address(cri, run, replace(outputs, stdin=True, stdout=False, stderr=False)))
        await self._bridge(socket, protocol, *addresses)

    async def port_forward(self, socket: WebSocket, namespace: str, name: str, query: Query) -> None:
        """Carry connections to the pod's ports."""
        pod = self._registry.pod(namespace, name)
        if pod is None:
            raise NotFound("pod does not exist")
        protocol = channels.choose(socket.protocols, _PORT_PROTOCOLS)
        if protocol is None:
            raise BadRequest(f"unable to upgrade: none of {', '.join(_PORT_PROTOCOLS)} is offered")
        dialer = PodDialer(self._registry, namespace, name)
        label = f"{name}_{namespace}, uid {pod['metadata']['uid']}"
        if protocol == PROTOCOL:
            await socket.accept(protocol)
            await Tunnel(socket, dialer, label).run()
            return
        ports = wanted_ports(query)
        await socket.accept(protocol)
        await PortChannels(socket, protocol, dialer, label).run(ports)

    async def _exec(self, socket: WebSocket, protocol: str, target: ContainerTarget, request: ExecRequest) -> None:
        """Run a command through containerd; ends the command when the client leaves."""
        terminal = Terminal(socket, protocol)
        tasks = Tasks(self._registry.cri.channel, target.engine_namespace)
        command = Exec(tasks, target.container.id, request, terminal, self._config.run_dir / "io")
        listening, running = asyncio.ensure_future(terminal.listen()), asyncio.ensure_future(command.run())
        try:
            await asyncio.wait({listening, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await _say(socket, protocol, running.result())
        finally:
            for task in (listening, running):
                task.cancel()
            await asyncio.gather(listening, running, return_exceptions=True)

    async def _bridge(self, socket: WebSocket, protocol: str, *addresses: Awaitable[str]) -> None:
        try:
            await bridge(socket, protocol, *(await asyncio.gather(*addresses)))
        except (RuntimeFault, StreamingFailed) as error:
            await _say(socket, protocol, channels.failure(f"error executing command in container: {error}"))

    def _running(self, namespace: str, name: str, container: str) -> ContainerTarget | None:
        if self._registry.pod(namespace, name) is None:
            raise NotFound("pod does not exist")
        target = self._registry.container(namespace, name, container)
        return target if target is not None and target.container.running else None


async def _accept(socket: WebSocket) -> str:
    """Complete the handshake; returns the protocol, or raises BadRequest.

    What goes wrong later is told on the error channel: clients take a refused handshake as a sign to try SPDY.
    """
    protocol = channels.choose(socket.protocols)
    if protocol is None:
        raise BadRequest(f"unable to upgrade: none of {', '.join(channels.PROTOCOLS)} is offered")
    await socket.accept(protocol)
    return protocol


async def _say(socket: WebSocket, protocol: str, status: channels.Obj) -> None:
    """Say the last word and end the connection."""
    word = channels.last_word(status, protocol)
    if word is not None:
        await socket.send(word)
    await socket.close()


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
