"""Conversion by webhooks against a real server: the steps of upstream's tests, and answers that are none."""

import asyncio

import pytest
from aiohttp import web

from tests.support.apiserver import serving
from tests.support.customresources import definition, version
from tests.support.http import http_client
from tests.support.webhooks import WebhookServer

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = (f"/apis/example.com/{name}/namespaces/default/widgets" for name in ("v1", "v2"))
JSON_PATCH = "application/json-patch+json"
HOST_PORT = {"type": "object", "properties": {"hostPort": {"type": "string"}}}
HOST_AND_PORT = {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "string"}}}


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        yield client


@pytest.fixture
async def hooks():
    async with WebhookServer() as server:
        server.on("/convert", answer(convert))
        yield server


def convert(obj, desired):
    """v1 has host and port in one field, v2 in two."""
    if desired.endswith("/v2"):
        host, _, port = obj.pop("hostPort", "").partition(":")
        obj |= {"host": host, "port": port}
    else:
        obj["hostPort"] = f"{obj.pop('host', '')}:{obj.pop('port', '')}"
    return obj | {"apiVersion": desired}


def answer(change, **response):
    def serve(request):
        desired = request["desiredAPIVersion"]
        found = [change(obj, desired) for obj in request["objects"]]
        told = {"uid": request["uid"], "convertedObjects": found, "result": {"status": "Success"}, **response}
        return web.json_response(
            {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": told}
        )

    return serve


async def define(http, hooks):
    both = definition(version("v1", HOST_PORT), version("v2", HOST_AND_PORT))
    webhook = {"clientConfig": hooks.client("/convert"), "conversionReviewVersions": ["v1", "v1beta1"]}
    both["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    code, body = await http("POST", DEFINITIONS, both)
    assert code == 201, body
    while (await http("GET", V2))[0] != 200:
        await asyncio.sleep(0.05)


def widget(name, served="v1", **fields):
    return {"apiVersion": f"example.com/{served}", "kind": "Widget", "metadata": {"name": name}, **fields}


async def test_an_object_is_shown_in_the_version_that_is_asked_for(http, hooks):
    await define(http, hooks)
    assert (await http("POST", V1, widget("a", hostPort="localhost:8080")))[0] == 201
    code, found = await http("GET", f"{V2}/a")
    assert (code, found["apiVersion"], found["host"], found["port"]) == (200, "example.com/v2", "localhost", "8080")
    patched = {"port": "9090"}
    assert (await http("PATCH", f"{V2}/a", patched, content_type="application/merge-patch+json"))[0] == 200
    assert (await http("GET", f"{V1}/a"))[1]["hostPort"] == "localhost:9090"


async def test_a_list_of_objects_stored_in_two_versions_is_of_one(http, hooks):
    await define(http, hooks)
    await http("POST", V1, widget("a", hostPort="localhost:8080"))
    storage = [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ]
    assert (await http("PATCH", f"{DEFINITIONS}/widgets.example.com", storage, content_type=JSON_PATCH))[0] == 200
    await until_stored_in_v2(http)
    for path, wanted in ((V1, ["localhost:8080", "h:1"]), (V2, ["8080", "1"])):
        code, found = await http("GET", path)
        assert code == 200
        shown = [item.get("hostPort") or item["port"] for item in found["items"]]
        assert shown == wanted
    assert {item["apiVersion"] for item in found["items"]} == {"example.com/v2"}


async def until_stored_in_v2(http):
    while True:
        assert (await http("POST", V2, widget("b", "v2", host="h", port="1")))[0] == 201
        entry = await http.server.store.get("/example.com/widgets/default/b")
        if b'"example.com/v2"' in entry.value.partition(b'"managedFields"')[0] or b'"host"' in entry.value:
            return
        await http("DELETE", f"{V2}/b")
        await asyncio.sleep(0.05)


def renamed(obj, desired):
    changed = convert(obj, desired)
    return changed | {"metadata": changed["metadata"] | {"name": "other"}}


def labelled(obj, desired):
    changed = convert(obj, desired)
    return changed | {"metadata": changed["metadata"] | {"labels": {"x": "y"}, "finalizers": ["example.com/f"]}}


FAILED = "conversion webhook for example.com/v1, Kind=Widget failed: "
RETURNED = "conversion webhook for example.com/v1, Kind=Widget returned "


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (answer(renamed), f"{RETURNED}invalid converted object at index 0: must have the same name: a != other"),
        (answer(lambda obj, _desired: obj), f"{RETURNED}invalid converted object at index 0: invalid groupVersion"),
        (answer(convert, convertedObjects=[]), f"{RETURNED}0 objects, expected 1"),
        (answer(convert, uid="other"), f'{FAILED}expected response.uid="'),
        (answer(convert, result={"status": "Failure", "message": "I will not"}), f"{FAILED}I will not"),
        (answer(convert, result={}), f"{FAILED}response.result.status was '', not 'Success'"),
        (lambda _request: web.Response(text="hello"), f"{FAILED}couldn't get version/kind; json parse error"),
        (lambda _request: web.Response(status=404), f"{FAILED}the server could not find the requested resource"),
    ],
    ids=["name", "version", "count", "uid", "failure", "no status", "text", "404"],
)
async def test_bad_conversions_fail_in_upstreams_words(http, hooks, serve, words):
    await define(http, hooks)
    await http("POST", V1, widget("a", hostPort="localhost:8080"))
    hooks.on("/convert", serve)
    code, status = await http("GET", f"{V2}/a")
    assert code == 500
    assert status["message"].startswith(words), status
    assert (await http("GET", f"{V1}/a"))[0] == 200


async def test_a_conversion_may_change_labels_and_no_other_metadata(http, hooks):
    await define(http, hooks)
    await http("POST", V1, widget("a", hostPort="localhost:8080"))
    hooks.on("/convert", answer(labelled))
    _, found = await http("GET", f"{V2}/a")
    assert found["metadata"]["labels"] == {"x": "y"}
    assert "finalizers" not in found["metadata"]


async def test_a_definition_goes_though_its_webhook_is_broken(http, hooks):
    await define(http, hooks)
    await http("POST", V1, widget("a", hostPort="localhost:8080"))
    hooks.on("/convert", lambda _request: web.Response(status=500))
    assert (await http("DELETE", f"{DEFINITIONS}/widgets.example.com"))[0] == 200
    while (await http("GET", f"{DEFINITIONS}/widgets.example.com"))[0] != 404:
        await asyncio.sleep(0.05)


async def test_a_watch_shows_objects_in_its_version_and_ends_with_an_error_when_that_fails(http, hooks):
    await define(http, hooks)
    async with http.watch(f"{V2}?watch=1") as events:
        await http("POST", V1, widget("a", hostPort="localhost:8080"))
        shown = await events.next()
        assert (shown["type"], shown["object"]["port"]) == ("ADDED", "8080")
        hooks.on("/convert", lambda _request: web.Response(status=500, text="broken"))
        await http("POST", V1, widget("b", hostPort="localhost:8080"))
        failed = await events.next()
        assert (failed["type"], failed["object"]["code"]) == ("ERROR", 500)
        assert failed["object"]["message"].startswith(FAILED)
