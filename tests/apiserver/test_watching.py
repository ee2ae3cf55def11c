import asyncio
import itertools

import pytest

from sparsam.apiserver.selection import EVERYTHING, parse_selection
from sparsam.apiserver.watching import event_line
from sparsam.objects.kinds import CONFIGMAPS
from sparsam.store.interface import Entry, Event, EventType
from tests.support.apiserver import serving
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


async def create(http, name, **labels):
    return await http("POST", CONFIGMAPS_PATH, {"metadata": {"name": name, "labels": labels}})


async def label(http, name, **labels):
    patch = {"metadata": {"labels": labels}}
    return await http("PATCH", f"{CONFIGMAPS_PATH}/{name}", patch, content_type="application/merge-patch+json")


async def test_a_watch_shows_what_is_there_and_then_each_change(http):
    await create(http, "a")
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1") as events:
        assert await events.take(1) == [("ADDED", "a")]
        await create(http, "b")
        await label(http, "b", x="y")
        await http("DELETE", f"{CONFIGMAPS_PATH}/a")
        assert await events.take(3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]


async def test_a_watch_from_a_version_misses_nothing_after_it(http):
    _, created = await create(http, "a")
    await create(http, "b")
    version = created["metadata"]["resourceVersion"]
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=true&resourceVersion={version}") as events:
        event = await events.next()
    assert event["type"] == "ADDED"
    assert event["object"]["kind"] == "ConfigMap"
    assert event["object"]["metadata"]["name"] == "b"


async def test_an_object_that_leaves_the_selection_is_deleted_and_one_that_enters_is_added(http):
    await create(http, "a", app="x")
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1&labelSelector=app%3Dx") as events:
        await events.take(1)
        await label(http, "a", app="y")
        await label(http, "a", app="x")
        await create(http, "other", app="y")
        await http("DELETE", f"{CONFIGMAPS_PATH}/a")
        assert await events.take(3) == [("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]


async def test_one_name_is_watched_alone(http):
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1&fieldSelector=metadata.name%3Dl1") as events:
        await create(http, "l10")
        await create(http, "l1")
        assert await events.take(1) == [("ADDED", "l1")]


async def test_a_watch_list_ends_its_first_part_with_a_bookmark(http):
    await create(http, "a")
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with http.watch(f"{CONFIGMAPS_PATH}?{query}") as events:
        assert await events.take(1) == [("ADDED", "a")]
        mark = await events.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await create(http, "b")
        assert await events.take(1) == [("ADDED", "b")]


async def test_a_watch_ends_in_order_when_its_time_is_up(http):
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1&timeoutSeconds=1") as events:
        async with asyncio.timeout(10):
            assert await events.next() == {}


async def test_a_watch_from_a_forgotten_version_is_told_to_start_again(http, server):
    await create(http, "a")
    await create(http, "b")
    await server.store.compact(server.store.revision)
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1&resourceVersion=2") as events:
        event = await events.next()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_from_the_future_times_out(http):
    async with http.watch(f"{CONFIGMAPS_PATH}?watch=1&resourceVersion=99999") as events:
        assert (await events.next())["object"]["code"] == 504


@pytest.mark.parametrize(
    "query",
    [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersionMatch=Exact&sendInitialEvents=true",
    ],
)
async def test_contradictory_options_are_invalid(http, query):
    code, status = await http("GET", f"{CONFIGMAPS_PATH}?watch=1&{query}")
    assert (code, status["reason"]) == (422, "Invalid")


async def test_all_watchers_end_at_shutdown(tmp_path):
    running = serving(tmp_path)
    server = await running.__aenter__()
    async with http_client(server) as client, client.watch(f"{CONFIGMAPS_PATH}?watch=1") as events:
        await create(client, "a")
        assert await events.take(1) == [("ADDED", "a")]
        await running.__aexit__(None, None, None)
        async with asyncio.timeout(10):
            assert await events.next() == {}


async def test_a_watcher_that_does_not_read_is_cut_off_and_holds_nothing_up(tmp_path, caplog):
    async with serving(tmp_path, watch_send_seconds=0.2) as server, http_client(server) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.tls(), limit=1024)
        writer.write(f"GET {CONFIGMAPS_PATH}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(20):
            for number in itertools.count():
                body = {"metadata": {"name": f"big{number}"}, "data": {"k": "x" * 900_000}}
                assert (await client("POST", CONFIGMAPS_PATH, body))[0] == 201
                if "client stopped reading and was cut off" in caplog.text:
                    break
        writer.transport.abort()


async def test_tables_can_be_watched(http):
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
    async with http.session.get(f"{http.server.url}{CONFIGMAPS_PATH}?watch=1", headers={"accept": accept}) as answer:
        await create(http, "a")
        first = await answer.content.readline()
        await create(http, "b")
        second = await answer.content.readline()
    assert b'"kind":"Table"' in first
    assert b'"columnDefinitions":[]' not in first
    assert b'"columnDefinitions":[]' in second


def test_an_event_without_a_selector_is_spliced_from_the_stored_bytes():
    entry = Entry("/core/configmaps/d/a", b'{"metadata":{"name":"a"}}', 7, 7)
    line = event_line(Event(EventType.ADDED, entry), EVERYTHING, lambda each: each.value)
    assert line == b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'


def test_what_never_matched_is_not_told():
    selection = parse_selection(CONFIGMAPS, {"labelSelector": "app=x"})
    entry = Entry("/core/configmaps/d/a", b'{"metadata":{"name":"a"}}', 8, 7)
    for kind in EventType:
        assert event_line(Event(kind, entry, entry), selection, lambda each: each.value) == b""
