"""Exec, attach, port-forward and statistics against a real engine."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from sparsam.agent.registry import PodRegistry
from sparsam.agent.server import spdy
from tests.support.agent import Engine, container, phase, pod, ready
from tests.support.nodeserver import NodeServer, collect, serving_engine, serving_node, with_certificates

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs_root, pytest.mark.needs_containerd]

_SERVE = (
    "mkdir -p /www; echo hello > /www/index.html; httpd -p 8080 -h /www; while read l; do echo got $l; done; sleep 99"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[NodeServer]:
    engine = Engine()
    try:
        await engine.start()
        with tempfile.TemporaryDirectory() as pki_dir:
            async with serving_engine(engine, Path(pki_dir)) as server:
                assert server.node is not None
                web = {
                    **container(command=_SERVE, env=[{"name": "COLOR", "value": "red"}], workingDir="/bin"),
                    "stdin": True,
                }
                server.node.run(pod(web, name="web", securityContext={"runAsUser": 0}))
                user = container(command="sleep 99", securityContext={"runAsUser": 1234, "runAsGroup": 5678})
                other = server.node.run(pod(user, name="user"))
                for each in list(server.node.api.pods.values()):
                    await server.node.api.until(each, phase("Running"))
                assert other
                yield server
    finally:
        await engine.stop()


def exec_path(*command: str, pod: str = "web", streams: str = "output=1&error=1") -> str:
    return f"/exec/default/{pod}/main?{streams}&" + "&".join(f"command={quote(word)}" for word in command)


def processes_with(word: str) -> list[str]:
    lines = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in lines if word in line]


async def begun(word: str) -> None:
    async with asyncio.timeout(15):
        while not processes_with(word):
            await asyncio.sleep(0.02)


async def gone(word: str) -> None:
    async with asyncio.timeout(15):
        while processes_with(word):
            await asyncio.sleep(0.02)


async def test_a_command_has_the_containers_environment_and_directory(server: NodeServer):
    stream = await server.exec(exec_path("sh", "-c", "echo $COLOR; pwd; echo oops >&2; exit 3"))
    assert stream.stdout == b"red\n/bin\n"
    assert stream.stderr == b"oops\n"
    assert stream.status is not None
    assert stream.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


@pytest.mark.parametrize(
    ("command", "last"), [("true", b""), ("exit 3", b"command terminated with non-zero exit code")]
)
async def test_the_oldest_protocol_has_a_sentence_or_nothing_for_a_last_word(
    server: NodeServer, command: str, last: bytes
):
    said = {1: b"", 3: b""}
    async with server.socket(exec_path("sh", "-c", f"echo out; {command}"), "channel.k8s.io") as socket:
        async for message in socket:
            said[message.data[0]] += message.data[1:]
    assert said[1] == b"out\n"
    assert said[3].startswith(last)
    assert bool(said[3]) == bool(last)


async def test_a_command_runs_as_the_containers_user(server: NodeServer):
    stream = await server.exec(exec_path("id", pod="user"))
    assert stream.stdout.startswith(b"uid=1234 gid=5678")


async def test_input_ends_when_the_client_says_so(server: NodeServer):
    data = bytes(range(256)) * 20_000
    stream = await server.exec(exec_path("sh", "-c", "cat; echo end", streams="input=1&output=1&error=1"), stdin=data)
    assert stream.stdout == data + b"end\n"
    assert stream.status == {"metadata": {}, "status": "Success"}


async def test_empty_input_ends_too(server: NodeServer):
    stream = await server.exec(exec_path("wc", "-c", streams="input=1&output=1"), stdin=b"")
    assert stream.stdout.strip() == b"0"


async def test_a_command_that_ends_before_its_input_is_fine(server: NodeServer):
    stream = await server.exec(exec_path("true", streams="input=1&output=1"), stdin=b"x" * 1_000_000)
    assert stream.status == {"metadata": {}, "status": "Success"}


async def test_a_command_that_does_not_exist_is_an_error_of_the_engine(server: NodeServer):
    stream = await server.exec(exec_path("nosuch"))
    assert stream.status is not None
    assert 'exec: "nosuch": executable file not found' in stream.status["message"]


async def test_a_terminal_has_the_clients_size_and_follows_it(server: NodeServer):
    script = "trap 'stty size; exit 0' WINCH; stty size; echo $TERM; while true; do sleep 0.05; done"
    async with server.socket(exec_path("sh", "-c", script, streams="input=1&output=1&tty=1")) as socket:
        await socket.send_bytes(b"\x04" + msgspec.json.encode({"Width": 91, "Height": 31}))
        got = b""
        async with asyncio.timeout(20):
            while b"xterm" not in got:
                got += (await socket.receive_bytes())[1:]
            await socket.send_bytes(b"\x04" + msgspec.json.encode({"Width": 120, "Height": 40}))
            rest = await collect(socket)
    assert b"31 91\r\n" in got
    assert b"40 120\r\n" in rest.stdout


async def test_a_client_that_leaves_ends_its_command(server: NodeServer):
    async with server.socket(exec_path("sleep", "98761")) as socket:
        await begun("sleep 98761")
        await socket.close()
    await gone("sleep 98761")


async def test_a_client_that_leaves_in_the_middle_of_output_ends_its_command(server: NodeServer):
    async with server.socket(exec_path("yes", "9876543")) as socket:
        assert await socket.receive_bytes()
        assert await socket.receive_bytes()
    await gone("yes 9876543")


async def test_background_processes_do_not_hold_the_connection(server: NodeServer):
    stream = await asyncio.wait_for(server.exec(exec_path("sh", "-c", "sleep 98762 & echo done")), 20)
    assert stream.stdout == b"done\n"


async def test_many_commands_leave_no_pipes_behind(server: NodeServer):
    results = await asyncio.gather(*(server.exec(exec_path("echo", str(number))) for number in range(8)))
    assert [result.stdout for result in results] == [f"{number}\n".encode() for number in range(8)]
    assert server.node is not None
    assert not list((server.node.config.run_dir / "io").iterdir())


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_attach_joins_the_containers_own_process(server: NodeServer, protocol: str):
    async with server.socket("/attach/default/web/main?input=1&output=1&error=1", protocol) as socket:
        await socket.send_bytes(b"\0" + protocol.encode() + b"\n")
        got = b""
        async with asyncio.timeout(10):
            while not got.endswith(b"\n"):
                got += (await socket.receive_bytes())[1:]
    assert got == b"got " + protocol.encode() + b"\n"


@pytest.mark.parametrize("outputs", ["output=1&error=1", "output=1"])
async def test_a_client_that_ends_its_input_still_reads_what_comes_of_it(server: NodeServer, outputs: str):
    assert server.node is not None
    spec = container(command="sort; echo over", stdin=True, stdinOnce=True)
    sorting = server.node.run(pod(spec, restartPolicy="Never"))
    await server.node.api.until(sorting, ready)
    async with server.socket(f"/attach/default/{sorting['metadata']['name']}/main?input=1&{outputs}") as socket:
        await socket.send_bytes(b"\0b\na\n")
        await socket.send_bytes(b"\xff\0")
        stream = await asyncio.wait_for(collect(socket), 20)
    assert stream.stdout == b"a\nb\nover\n"


class Client:
    """A SPDY client as kubectl is one, as far as port-forward goes."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self._next = 1
        self.frames: list[spdy.Frame] = []

    async def send(self, *frames: spdy.Frame) -> None:
        for frame in frames:
            await self._socket.send_bytes(self._encoder.encode(frame))

    async def open(self, port: int) -> tuple[int, int]:
        """Returns the numbers of the error and the data stream."""
        error, data = self._next, self._next + 2
        headers = {"port": str(port), "requestid": str(error)}
        await self.send(spdy.SynStream(error, {**headers, "streamtype": "error"}), spdy.DataFrame(error, b"", fin=True))
        await self.send(spdy.SynStream(data, {**headers, "streamtype": "data"}))
        self._next += 4
        return error, data

    async def until(self, wanted: spdy.Frame) -> None:
        async with asyncio.timeout(10):
            while wanted not in self.frames:
                self.frames += self._decoder.feed(await self._socket.receive_bytes())

    def text(self, stream: int) -> bytes:
        return b"".join(f.payload for f in self.frames if isinstance(f, spdy.DataFrame) and f.stream == stream)


async def test_ports_are_forwarded_through_one_tunnel_side_by_side(server: NodeServer):
    async with server.socket("/portForward/default/web", "SPDY/3.1+portforward.k8s.io") as socket:
        client = Client(socket)
        pairs = [await client.open(8080) for _ in range(5)]
        for _, data in pairs:
            await client.send(spdy.DataFrame(data, b"GET /index.html HTTP/1.0\r\n\r\n"))
        for error, data in pairs:
            await client.until(spdy.DataFrame(error, b"", fin=True))
            await client.until(spdy.DataFrame(data, b"", fin=True))
            assert client.text(data).endswith(b"hello\n")
            assert client.text(error) == b""
        await client.send(spdy.Ping(7))
        await client.until(spdy.Ping(7))


async def test_a_port_that_nobody_serves_is_told_on_the_error_stream(server: NodeServer):
    async with server.socket("/portForward/default/web", "SPDY/3.1+portforward.k8s.io") as socket:
        client = Client(socket)
        error, _ = await client.open(9)
        await client.until(spdy.DataFrame(error, b"", fin=True))
        assert b"error forwarding port 9 to pod web_default, uid " in client.text(error)
        assert b"dial tcp4 127.0.0.1:9: connect: connection refused" in client.text(error)
        again, data = await client.open(8080)
        await client.send(spdy.DataFrame(data, b"GET / HTTP/1.0\r\n\r\n"))
        await client.until(spdy.DataFrame(again, b"", fin=True))


async def test_a_stream_without_a_port_is_refused(server: NodeServer):
    async with server.socket("/portForward/default/web", "SPDY/3.1+portforward.k8s.io") as socket:
        client = Client(socket)
        await client.send(spdy.SynStream(1, {"streamtype": "data"}))
        await client.until(spdy.RstStream(1, spdy.REFUSED_STREAM))


async def test_ports_are_forwarded_over_plain_channels_too(server: NodeServer):
    async with server.socket("/portForward/default/web?ports=8080") as socket:
        assert await socket.receive_bytes() == b"\x00\x90\x1f"
        assert await socket.receive_bytes() == b"\x01\x90\x1f"
        await socket.send_bytes(b"\0GET /index.html HTTP/1.0\r\n\r\n")
        parts = [message.data async for message in socket]
    assert b"".join(part[1:] for part in parts if part[0] == 0).endswith(b"hello\n")
    assert parts[-1] == b"\xff\x00"


async def test_the_summary_names_every_pod_with_cpu_and_memory(server: NodeServer):
    status, text = await server.get("/stats/summary")
    assert status == 200
    found = msgspec.json.decode(text)
    assert found["node"]["cpu"]["usageNanoCores"] >= 0
    assert found["node"]["memory"]["workingSetBytes"] > 0
    pods = {each["podRef"]["name"]: each for each in found["pods"]}
    assert set(pods) == {"web", "user"}
    for each in pods.values():
        assert each["memory"]["workingSetBytes"] > 0
        assert each["cpu"]["usageCoreNanoSeconds"] > 0
        assert [one["name"] for one in each["containers"]] == ["main"]


async def test_resource_metrics_name_every_container(server: NodeServer):
    status, text = await server.get("/metrics/resource")
    assert status == 200
    assert 'container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"}' in text
    assert "resource_scrape_error 0" in text


async def test_a_foreign_engine_runs_commands_over_its_own_streaming_server(server: NodeServer, tmp_path: Path):
    assert server.node is not None
    node, socket = server.node, str(server.node.engine.socket)
    config = with_certificates(replace(node.config, cri_socket=socket), tmp_path)
    registry = PodRegistry(node.pods, node.cri, engine_address=socket, node_ip=config.node_ip)
    async with serving_node(config, registry, tmp_path) as foreign:
        stream = await foreign.exec(exec_path("sh", "-c", "echo out; echo err >&2; exit 4"))
    assert (stream.stdout, stream.stderr) == (b"out\n", b"err\n")
    assert stream.status is not None
    assert stream.status["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]
