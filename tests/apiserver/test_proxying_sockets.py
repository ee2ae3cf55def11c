"""WebSockets through the proxy to Services and pods, with a server behind it that echoes."""

import asyncio

import pytest
from aiohttp import web

from sparsam.apiserver import routes
from sparsam.apiserver.agents import AgentLink
from sparsam.apiserver.proxying import Proxying
from sparsam.errors import NotFound, ServiceUnavailable
from sparsam.objects.catalog import BUILT_IN
from sparsam.objects.kinds import SERVICES
from tests.support.apiserver import free_port

SERVICE = "/api/v1/namespaces/default/services/s/proxy"


class Objects:
    """One Service, with what a test says of its endpoints."""

    def __init__(self, *slices):
        self._slices = slices

    async def find(self, resource, name, namespace=""):
        found = resource is SERVICES and (name, namespace) == ("s", "default")
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}} if found else None

    async def items(self, _resource, _namespace):
        labels = {"kubernetes.io/service-name": "s"}
        return [{"metadata": {"labels": labels}, "addressType": "IPv4", **each} for each in self._slices]


class Client:
    """The client's end: what it sends in turn, and what it got."""

    def __init__(self, *texts):
        self._left, self.got = list(texts), []
        self._answered = asyncio.Event()

    async def receive(self):
        if self._left:
            return {"type": "websocket.receive", "text": self._left.pop(0)}
        await self._answered.wait()
        return {"type": "websocket.disconnect"}

    async def send(self, message):
        self.got.append(message)
        if message["type"] == "websocket.send":
            self._answered.set()


async def echo(request):
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.path_qs} {request.headers.get('cookie')} {message.data}")
    return socket


async def agree(_call, _operation, asked):
    return asked, []


@pytest.fixture
async def port():
    app, port = web.Application(), free_port()
    app.router.add_get("/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


async def connect(tmp_path, objects, client, path, *, query=b""):
    link = AgentLink(tmp_path)
    headers = [
        (b"cookie", b"a=b"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-version", b"13"),
    ]
    scope = {
        "path": path,
        "headers": headers,
        "query_string": query,
        "subprotocols": ["chat", "base64url.bearer.authorization.k8s.io.c2VjcmV0"],
    }
    proxying = Proxying(objects, link, admit=agree, max_body_bytes=1)
    try:
        async with asyncio.timeout(20):
            await proxying.websocket(routes.parse(path, BUILT_IN), scope, client.receive, client.send)
    finally:
        await link.close()


def endpoints(port, *addresses):
    return {"ports": [{"port": port}], "endpoints": [{"addresses": [each]} for each in addresses]}


async def test_messages_reach_the_server_of_a_service(tmp_path, port):
    client = Client("hello")
    await connect(tmp_path, Objects(endpoints(port, "127.0.0.1")), client, f"{SERVICE}/live/", query=b"x=1")
    assert client.got[0] == {"type": "websocket.accept", "subprotocol": "chat"}
    assert client.got[1]["text"] == "/live/?x=1 a=b hello"


async def test_endpoints_that_are_names_are_nobodys_address(tmp_path, port):
    named = {**endpoints(port, "host.example.com"), "addressType": "FQDN"}
    with pytest.raises(ServiceUnavailable):
        await connect(tmp_path, Objects(named), Client(), f"{SERVICE}/")


async def test_nodes_are_not_reached_so(tmp_path):
    with pytest.raises(NotFound):
        await connect(tmp_path, Objects(), Client(), "/api/v1/nodes/n1/proxy/exec/default/p/c")
