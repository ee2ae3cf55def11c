"""Who may enter, and what answers without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from sparsam.agent.config import AgentConfig
from sparsam.agent.runtime import ContainerState
from sparsam.agent.server.identity import caller_of, may_enter
from tests.support.agent import container, pod
from tests.support.nodeserver import FakeRegistry, NodeServer, run_of, serving_node, tls, with_certificates


@pytest_asyncio.fixture
async def registry(tmp_path: Path) -> FakeRegistry:
    log = tmp_path / "0.log"
    log.write_text("2026-01-01T00:00:00Z stdout F hello\n")
    return FakeRegistry([pod(container(), name="web")], (run_of(log_path=str(log)),))


@pytest_asyncio.fixture
async def server(tmp_path: Path, registry: FakeRegistry) -> AsyncIterator[NodeServer]:
    config = AgentConfig(
        node_name="n1",
        node_ips=("127.0.0.1",),
        data_dir=tmp_path,
        run_dir=tmp_path / "run",
        pod_cidrs=("10.0.0.0/24",),
        cluster_dns="10.96.0.10",
        client=None,
    )
    async with serving_node(with_certificates(config, tmp_path / "pki"), registry, tmp_path / "pki") as server:
        yield server


async def status_as(server: NodeServer, identity: str | None) -> int:
    connector = aiohttp.TCPConnector(ssl=tls(server.pki_dir, identity))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"{server.url}/pods") as answer:
        return answer.status


async def test_administrators_and_the_api_server_may_enter_and_nodes_may_not(server: NodeServer):
    assert await status_as(server, "kubelet-client") == 200
    assert await status_as(server, "admin") == 200
    assert await status_as(server, "node-n1") == 403
    assert await status_as(server, "control") == 403


async def test_without_certificate_and_token_nobody_is_known(server: NodeServer):
    assert await status_as(server, None) == 401


async def test_a_websocket_of_a_stranger_is_refused(server: NodeServer):
    connector = aiohttp.TCPConnector(ssl=tls(server.pki_dir, "node-n1"))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{server.url}/exec/default/web/main?command=ls", protocols=["v5.channel.k8s.io"])
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        (((("organizationName", "system:masters"),), (("commonName", "root"),)), True),
        (((("commonName", "kube-apiserver-kubelet-client"),),), True),
        (((("organizationName", "kube-apiserver-kubelet-client"),), (("commonName", "system:masters"),)), False),
        ((), False),
        (None, False),
    ],
)
def test_the_subject_decides(subject: object, allowed: bool):
    assert may_enter(caller_of(subject)) is allowed


async def test_paths_answer_as_a_kubelet_does(server: NodeServer):
    assert await server.get("/healthz") == (200, "ok")
    assert await server.get("/nothing") == (404, "404 page not found\n")
    assert (await server.get("/metrics/other"))[0] == 404
    assert (await server.get("/exec/default/web/main"))[0] == 400
    status, text = await server.get("/pods")
    assert status == 200
    assert '"kind":"PodList"' in text


async def test_a_log_is_streamed_and_errors_are_plain_text(server: NodeServer):
    assert await server.get("/containerLogs/default/web/main") == (200, "hello\n")
    assert await server.get("/containerLogs/default/web/other") == (404, 'container "other" not found in pod "web"\n')
    assert (await server.get("/containerLogs/default/web/main?tailLines=x"))[0] == 400


async def test_a_followed_log_ends_with_its_container(server: NodeServer, registry: FakeRegistry):
    path = Path(registry.runs[0].log_path)
    async with server.session.get(f"{server.url}/containerLogs/default/web/main?follow=true") as answer:
        assert await answer.content.readline() == b"hello\n"
        with path.open("a") as file:
            file.write("2026-01-01T00:00:01Z stdout F bye\n")
        assert await answer.content.readline() == b"bye\n"
        registry.runs = (run_of(state=ContainerState.EXITED, log_path=str(path)),)
        assert await asyncio.wait_for(answer.content.read(), 10) == b""


async def test_a_server_that_stops_lets_go_of_followed_logs(tmp_path: Path, server: NodeServer):
    answer = await server.session.get(f"{server.url}/containerLogs/default/web/main?follow=true")
    assert await answer.content.readline() == b"hello\n"
    # Leaving the fixture would hang here if it did not.


@pytest.mark.parametrize("path", ["exec", "attach"])
async def test_a_container_that_does_not_run_is_told_on_the_error_channel(server: NodeServer, path: str):
    stream = await server.exec(f"/{path}/default/web/other?command=ls&output=1")
    assert stream.status is not None
    assert 'container not found ("other")' in stream.status["message"]


@pytest.mark.parametrize("path", ["exec/default/none/main?command=ls", "portForward/default/none", "nothing"])
async def test_a_websocket_to_nowhere_is_refused(server: NodeServer, path: str):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await server.session.ws_connect(f"{server.url}/{path}", protocols=["v5.channel.k8s.io"])
    assert caught.value.status == 404


async def test_the_oldest_protocol_ends_with_a_sentence(server: NodeServer):
    path = f"{server.url}/exec/default/web/other?command=ls&output=1"
    async with server.session.ws_connect(path, protocols=["channel.k8s.io"]) as socket:
        last = await socket.receive_bytes()
    assert last == b'\x03Internal error occurred: unable to upgrade connection: container not found ("other")'


async def test_protocols_that_are_not_spoken_are_refused(server: NodeServer):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await server.session.ws_connect(
            f"{server.url}/exec/default/web/main?command=ls", protocols=["base64.channel.k8s.io"]
        )
    assert caught.value.status == 400
