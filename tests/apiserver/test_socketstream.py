"""Watches as Java's Kubernetes client begins them: as a WebSocket."""

import asyncio

import aiohttp
import pytest

from tests.support.apiserver import serving
from tests.support.customresources import definition
from tests.support.http import http_client

CONFIGMAPS_PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    async with http_client(server) as client:
        yield client


async def next_event(socket):
    message = await socket.receive(timeout=20)
    assert message.type is aiohttp.WSMsgType.TEXT
    event = message.json()
    return event["type"], event["object"]["metadata"]["name"]


async def test_each_event_is_one_message(server, http):
    for name in ("a", "b"):
        await http("POST", CONFIGMAPS_PATH, {"metadata": {"name": name}})
    async with http.session.ws_connect(f"{server.url}{CONFIGMAPS_PATH}?watch=true") as socket:
        assert [await next_event(socket), await next_event(socket)] == [("ADDED", "a"), ("ADDED", "b")]
        await http("DELETE", f"{CONFIGMAPS_PATH}/a")
        assert await next_event(socket) == ("DELETED", "a")


async def test_a_watch_ends_when_its_time_is_up(server, http):
    async with http.session.ws_connect(f"{server.url}{CONFIGMAPS_PATH}?watch=1&timeoutSeconds=1") as socket:
        message = await socket.receive(timeout=20)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000


@pytest.mark.parametrize("query", ["", "?watch=0", "?watch=true&resourceVersion=x"])
async def test_what_is_no_watch_or_a_wrong_one_is_refused_in_the_handshake(server, http, query):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.session.ws_connect(f"{server.url}{CONFIGMAPS_PATH}{query}")
    assert 400 <= caught.value.status < 500


async def test_a_watch_ends_when_its_resource_is_not_served_any_more(server, http):
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    await http("POST", definitions, definition())
    async with asyncio.timeout(30):
        while (await http("GET", widgets))[0] != 200:
            await asyncio.sleep(0.02)
    async with http.session.ws_connect(f"{server.url}{widgets}?watch=true") as socket:
        await http("DELETE", f"{definitions}/widgets.example.com")
        message = await socket.receive(timeout=20)
        assert message.type is aiohttp.WSMsgType.CLOSE
