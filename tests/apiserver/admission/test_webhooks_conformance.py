"""Upstream's conformance tests of webhooks (test/e2e/apimachinery/webhook.go), their steps against a real server."""

import asyncio
import time

import aiohttp
import pytest

from tests.support.apiserver import serving
from tests.support.customresources import OPEN, definition, version
from tests.support.http import http_client
from tests.support.webhooks import CONFIGURATIONS, WebhookServer, allow, configure, deny, hook, patch

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
DATA = {"type": "object", "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}}}
PRUNED = {
    "type": "object",
    "properties": {"data": {"type": "object", "properties": {"mutation-start": {"type": "string"}}}},
}


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    async with http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


@pytest.fixture
async def hooks():
    async with WebhookServer() as running:
        yield running


async def define(http, *versions):
    assert (await http("POST", DEFINITIONS, definition(*versions)))[0] == 201
    while (await http("GET", WIDGETS))[0] != 200:
        await asyncio.sleep(0.05)


def widget(name="w", **fields):
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, **fields}


def by_data(review):
    """Refuse what carries the data that upstream's test server does not like."""
    obj = review["object"] or review["oldObject"]
    bad = (obj.get("data") or {}).get("webhook-e2e-test") == "webhook-disallow"
    if not bad:
        return {"allowed": True}
    return {"allowed": False, "status": {"message": "the custom resource contains unwanted data"}}


CUSTOM = {"groups": ["example.com"], "resources": ("widgets",), "versions": ["v1"]}


async def test_it_should_be_able_to_deny_custom_resource_creation_update_and_deletion(http, hooks):
    await define(http, version("v1", DATA))
    hooks.on("/custom-resource", by_data)
    rule = {**CUSTOM, "operations": ["CREATE", "UPDATE", "DELETE"]}
    await configure(http, "validating", "v", hook(hooks.client("/custom-resource"), **rule))
    bad = {"webhook-e2e-test": "webhook-disallow"}
    code, status = await http("POST", WIDGETS, widget("bad", data=bad))
    assert (code, "the custom resource contains unwanted data" in status["message"]) == (400, True)
    assert (await http("POST", WIDGETS, widget("good", data={"key": "value"})))[0] == 201
    assert (await http("PATCH", f"{WIDGETS}/good", {"data": bad}, content_type=MERGE))[0] == 400
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations/v"
    updates = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["DELETE"]}]
    await http("PATCH", path, updates, content_type=JSON_PATCH)
    while (await http("PATCH", f"{WIDGETS}/good", {"data": bad}, content_type=MERGE))[0] != 200:
        await asyncio.sleep(0.05)
    assert (await http("DELETE", f"{WIDGETS}/good"))[0] == 400
    await http("PATCH", f"{WIDGETS}/good", {"data": {"webhook-e2e-test": "webhook-allow"}}, content_type=MERGE)
    assert (await http("DELETE", f"{WIDGETS}/good"))[0] == 200


async def test_it_should_mutate_custom_resource_with_pruning(http, hooks):
    await define(http, version("v1", PRUNED))
    hooks.on("/one", patch({"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}))
    await configure(http, "mutating", "m", hook(hooks.client("/one"), **CUSTOM))
    code, found = await http("POST", WIDGETS, widget(data={"mutation-start": "yes"}))
    assert (code, found["data"]) == (201, {"mutation-start": "yes"})


async def test_it_should_mutate_custom_resource_with_different_stored_version(http, hooks):
    await define(http, version("v1", OPEN), version("v2", OPEN))
    hooks.on("/one", patch({"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}))
    rule = {**CUSTOM, "operations": ["CREATE", "UPDATE"]}
    await configure(http, "mutating", "m", hook(hooks.client("/one"), **rule))
    assert (await http("POST", WIDGETS, widget(data={"mutation-start": "yes"})))[0] == 201
    storage = [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ]
    assert (await http("PATCH", f"{DEFINITIONS}/widgets.example.com", storage, content_type=JSON_PATCH))[0] == 200
    code, found = await http("PATCH", f"{WIDGETS}/w", {"dummy": "test"}, content_type=MERGE)
    assert (code, found["data"]["mutation-stage-1"], found["dummy"]) == (200, "yes", "test")
    # A rule for v1 is about requests on v2 too, and the webhook sees v1.
    other = widget("x", data={"mutation-start": "yes"}) | {"apiVersion": "example.com/v2"}
    code, found = await http("POST", WIDGETS.replace("/v1/", "/v2/"), other)
    assert (code, found["apiVersion"], found["data"]["mutation-stage-1"]) == (201, "example.com/v2", "yes")
    assert hooks.asked[-1]["object"]["apiVersion"] == "example.com/v1"


async def test_it_should_deny_crd_creation(http, hooks):
    hooks.on("/crd", lambda review: deny(review) if "unwanted" in review["object"]["metadata"]["labels"] else allow(0))
    rule = {"groups": ["apiextensions.k8s.io"], "resources": ("customresourcedefinitions",)}
    await configure(http, "validating", "v", hook(hooks.client("/crd"), **rule))
    labelled = definition(version())
    labelled["metadata"]["labels"] = {"unwanted": "yes"}
    assert (await http("POST", DEFINITIONS, labelled))[0] == 403


async def test_it_should_be_able_to_deny_attaching_pod(http, hooks, server):
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}}
    assert (await http("POST", PODS, pod))[0] == 201

    def attaching(review):
        name, container = review["name"], review["object"]["container"]
        return {"allowed": False, "status": {"message": f"attaching to pod '{name}' ({container}) is not allowed"}}

    hooks.on("/attach", attaching)
    rule = {"resources": ("pods/attach",), "operations": ["CONNECT"]}
    await configure(http, "validating", "v", hook(hooks.client("/attach"), **rule))
    query = "container=c&stdin=true&stdout=true"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.session.ws_connect(f"{server.url}{PODS}/p/attach?{query}", protocols=("v5.channel.k8s.io",))
    assert refused.value.status == 400
    # Clients fall back to the older way to stream and show what comes of that.
    code, status = await http("POST", f"{PODS}/p/attach?{query}")
    assert (code, "attaching to pod 'p' (c) is not allowed" in status["message"]) == (400, True)
    assert hooks.asked[-1]["object"] == {
        "kind": "PodAttachOptions",
        "apiVersion": "v1",
        "stdin": True,
        "stdout": True,
        "container": "c",
    }


async def test_it_should_honor_timeout(http, hooks):
    async def slow(_review):
        await asyncio.sleep(2)
        return {"allowed": True}

    hooks.on("/always-allow-delay", slow)
    client = hooks.client("/always-allow-delay")
    await configure(http, "validating", "v", hook(client, timeoutSeconds=1))
    started = time.monotonic()
    code, status = await http("POST", MAPS, {"metadata": {"name": "m"}})
    assert time.monotonic() - started >= 1
    assert (code, "/always-allow-delay?timeout=1s" in status["message"]) == (500, True)
    assert "context deadline exceeded" in status["message"]
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations/v"
    await http(
        "PATCH", path, [{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}], content_type=JSON_PATCH
    )
    while (await http("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "m"}}))[0] != 201:
        await asyncio.sleep(0.05)
    await http("DELETE", path)
    await configure(http, "validating", "w", hook(client, timeoutSeconds=30))
    assert (await http("POST", MAPS, {"metadata": {"name": "m"}}))[0] == 201


async def test_listing_and_deleting_webhooks_as_a_collection_should_work(http, hooks):
    hooks.on("/one", patch({"op": "add", "path": "/data", "value": {"mutation-stage-1": "yes"}}))
    path = f"{CONFIGURATIONS}/mutatingwebhookconfigurations"
    for name in ("a", "b"):
        await configure(http, "mutating", name, hook(hooks.client("/one")))
        await http("PATCH", f"{path}/{name}", {"metadata": {"labels": {"list": "me"}}}, content_type=MERGE)
    _, listed = await http("GET", f"{path}?labelSelector=list%3Dme")
    assert len(listed["items"]) == 2
    assert (await http("POST", MAPS, {"metadata": {"name": "m"}}))[1]["data"] == {"mutation-stage-1": "yes"}
    assert (await http("DELETE", f"{path}?labelSelector=list%3Dme"))[0] == 200
    while (await http("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "n"}}))[1].get("data"):
        await asyncio.sleep(0.05)
