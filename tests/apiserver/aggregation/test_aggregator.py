"""The aggregation layer against a real server, with an extension API server behind it."""

import asyncio

import pytest

from sparsam.apiserver.aggregation import aggregator
from tests.support.apiserver import serving
from tests.support.extensionserver import APISERVICES, FLUNDERS, GROUP, NAME, ROOT, ExtensionServer
from tests.support.http import http_client

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    async with http_client(server) as client:
        yield client


@pytest.fixture
async def extension(server):
    async with ExtensionServer(server.pki_dir / "front-proxy-ca.crt") as running:
        yield running


async def condition(http, name=NAME, **wanted):
    """The condition of an APIService once it says what is wanted."""
    while True:
        _, found = await http("GET", f"{APISERVICES}/{name}")
        for each in (found.get("status") or {}).get("conditions") or ():
            if all(each[key] == value for key, value in wanted.items()):
                return each
        await asyncio.sleep(0.05)


async def install(http, extension, **spec):
    await extension.expose(http, http.server.store)
    code, body = await http("POST", APISERVICES, extension.api_service(**spec))
    assert code == 201, body
    await condition(http, status="True")


def flunder(name):
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "Flunder", "metadata": {"name": name}, "spec": {}}


async def test_built_in_groups_have_apiservices_that_are_always_available(http):
    found = await condition(http, "v1.apps", status="True")
    assert (found["reason"], found["message"]) == ("Local", "Local APIServices are always available")
    _, api = await http("GET", f"{APISERVICES}/v1.apps")
    assert api["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert api["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    names = {each["metadata"]["name"] for each in (await http("GET", APISERVICES))[1]["items"]}
    assert {"v1.", "v2.autoscaling"} < names
    assert "v1beta1.metrics.k8s.io" not in names


async def test_extension_servers_learn_whom_to_believe(http):
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    _, found = await http("GET", path)
    assert found["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert found["data"]["requestheader-client-ca-file"].startswith("-----BEGIN CERTIFICATE-----")
    role = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader"
    assert (await http("GET", role))[0] == 200


async def test_requests_are_passed_on_with_the_name_of_who_asks(http, extension):
    await install(http, extension)
    found = await condition(http, status="True")
    assert (found["reason"], found["message"]) == ("Passed", "all checks passed")
    code, created = await http("POST", FLUNDERS, flunder("a"), x_remote_user="mallory", x_remote_group="system:masters")
    assert (code, created["kind"]) == (201, "Flunder")
    headers = extension.asked[-1]
    assert headers.getall("x-remote-user") == ["kubernetes-admin"]
    assert set(headers.getall("x-remote-group")) == {"system:masters", "system:authenticated"}
    assert "authorization" not in headers
    assert (await http("GET", f"{FLUNDERS}/a"))[1] == created
    assert (await http("GET", f"{FLUNDERS}/none"))[0] == 404
    assert (await http("DELETE", f"{FLUNDERS}/a"))[0] == 200
    assert extension.flunders == {}


async def test_a_watch_is_streamed(http, extension):
    await install(http, extension)
    async with http.watch(f"{FLUNDERS}?watch=1") as events:
        await http("POST", FLUNDERS, flunder("a"))
        assert await events.take(1) == [("ADDED", "a")]


async def test_a_websocket_is_carried(http, extension, server):
    await install(http, extension)
    async with http.session.ws_connect(f"{server.url}{FLUNDERS}/a/talk", protocols=("chat",)) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "kubernetes-admin: hello"


async def test_who_may_not_is_refused_before_anything_is_passed_on(http, extension, server):
    await install(http, extension)
    before = len(extension.asked)
    async with http_client(server, None) as stranger:
        assert (await stranger("GET", FLUNDERS))[0] == 401
    assert not [each for each in extension.asked[before:] if each["x-remote-user"] != "system:kube-aggregator"]


async def test_discovery_tells_of_the_group_in_all_its_forms(http, extension):
    await install(http, extension)
    _, groups = await http("GET", "/apis")
    assert GROUP in {each["name"] for each in groups["groups"]}
    _, group = await http("GET", f"/apis/{GROUP}")
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/v1alpha1", "version": "v1alpha1"}
    _, resources = await http("GET", ROOT)
    assert [each["name"] for each in resources["resources"]] == ["flunders", "flunders/talk"]
    _, whole = await http("GET", "/apis", accept=AGGREGATED)
    (found,) = [each for each in whole["items"] if each["metadata"]["name"] == GROUP]
    (version,) = found["versions"]
    assert (version["version"], version["freshness"]) == ("v1alpha1", "Current")
    (flunders,) = version["resources"]
    assert (flunders["resource"], flunders["scope"]) == ("flunders", "Namespaced")
    assert [each["subresource"] for each in flunders["subresources"]] == ["talk"]


async def test_openapi_of_the_group_is_that_of_its_server(http, extension):
    await install(http, extension)
    _, index = await http("GET", "/openapi/v3")
    url = index["paths"][f"apis/{GROUP}/v1alpha1"]["serverRelativeURL"]
    assert (await http("GET", url))[1]["info"] == {"title": "wardle"}


async def test_a_group_goes_with_its_apiservice(http, extension):
    await install(http, extension)
    assert (await http("DELETE", f"{APISERVICES}/{NAME}"))[0] == 200
    while (await http("GET", f"/apis/{GROUP}"))[0] != 404:
        await asyncio.sleep(0.05)
    assert (await http("GET", FLUNDERS))[0] == 404


async def test_what_is_wrong_stands_in_the_condition(http, extension, server):
    await http("POST", APISERVICES, extension.api_service())
    found = await condition(http, reason="ServiceNotFound")
    assert (found["status"], found["message"]) == ("False", 'service/api in "default" is not present')
    code, text = await http("GET", FLUNDERS)
    assert (code, text) == (503, "service unavailable\n")
    ports = [{"name": "https", "port": 443}]
    await http("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "api"}, "spec": {"ports": ports}})
    found = await condition(http, reason="ServicePortError")
    assert found["message"] == 'service/api in "default" is not listening on port 7443'
    await http("DELETE", "/api/v1/namespaces/default/services/api")
    ports = [{"port": 7443}]
    await http("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "api"}, "spec": {"ports": ports}})
    found = await condition(http, reason="EndpointsNotFound")
    assert found["message"] == 'cannot find endpointslices for service/api in "default"'
    body = {
        "metadata": {"name": "api-x", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4",
        "ports": [{"port": 7443}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}],
    }
    await http("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body)
    found = await condition(http, reason="MissingEndpoints")
    assert found["message"] == 'endpoints for service/api in "default" have no addresses with port name ""'
    _, whole = await http("GET", "/apis", accept=AGGREGATED)
    (group,) = [each for each in whole["items"] if each["metadata"]["name"] == GROUP]
    assert group["versions"] == [{"version": "v1alpha1", "freshness": "Stale"}]


async def test_a_server_that_does_not_answer_well_is_not_available(http, extension):
    extension.status = 500
    await extension.expose(http, http.server.store)
    await http("POST", APISERVICES, extension.api_service())
    found = await condition(http, reason="FailedDiscoveryCheck")
    assert "bad status from https://" in found["message"]
    extension.status = 200
    await condition(http, status="True")


async def test_a_server_that_is_not_trusted_is_not_available(http, extension):
    await extension.expose(http, http.server.store)
    spec = extension.api_service()
    del spec["spec"]["caBundle"]
    await http("POST", APISERVICES, spec)
    found = await condition(http, reason="FailedDiscoveryCheck")
    assert "certificate" in found["message"]
    patch = {"spec": {"insecureSkipTLSVerify": True}}
    await http("PATCH", f"{APISERVICES}/{NAME}", patch, content_type="application/merge-patch+json")
    await condition(http, status="True")


async def test_a_metrics_server_takes_over_the_group_of_metrics(http, server):
    async with ExtensionServer(
        server.pki_dir / "front-proxy-ca.crt", group="metrics.k8s.io", version="v1beta1"
    ) as extension:
        await extension.expose(http, server.store)
        assert (await http("GET", "/apis/metrics.k8s.io/v1beta1"))[1]["resources"][0]["name"] == "nodes"
        await http("POST", APISERVICES, extension.api_service())
        await condition(http, "v1beta1.metrics.k8s.io", status="True")
        _, found = await http("GET", "/apis/metrics.k8s.io/v1beta1")
        assert found["resources"][0]["name"] == "flunders"
        _, whole = await http("GET", "/apis", accept=AGGREGATED)
        (group,) = [each for each in whole["items"] if each["metadata"]["name"] == "metrics.k8s.io"]
        assert [each["resource"] for each in group["versions"][0]["resources"]] == ["flunders"]
        await http("DELETE", f"{APISERVICES}/v1beta1.metrics.k8s.io")
        while (await http("GET", "/apis/metrics.k8s.io/v1beta1"))[1]["resources"][0]["name"] != "nodes":
            await asyncio.sleep(0.05)


async def test_an_apiservice_is_read_patched_replaced_and_deleted_as_a_collection(http, extension):
    """The steps on APIServices of upstream's conformance test of the aggregator."""
    await install(http, extension)
    path = f"{APISERVICES}/{NAME}"
    assert (await http("GET", f"{path}/status"))[0] == 200
    strategic = "application/strategic-merge-patch+json"
    code, found = await http("PATCH", path, {"spec": {"versionPriority": 400}}, content_type=strategic)
    assert (code, found["spec"]["versionPriority"]) == (200, 400)
    _, listed = await http("GET", APISERVICES)
    assert [each for each in listed["items"] if each["spec"]["versionPriority"] == 400]
    await http("PATCH", path, {"metadata": {"labels": {"e2e": "patched"}}}, content_type=strategic)
    _, found = await http("GET", path)
    found["status"]["conditions"].append(
        {"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    )
    code, found = await http("PUT", f"{path}/status", found)
    assert code == 200
    found["metadata"]["labels"]["e2e"] = "updated"
    code, found = await http("PUT", path, found)
    assert (code, found["metadata"]["labels"]["e2e"]) == (200, "updated")
    kinds = {each["type"] for each in found["status"]["conditions"]}
    assert kinds == {"Available", "StatusUpdated"}
    assert (await http("POST", FLUNDERS, flunder("again")))[0] == 201
    assert (await http("DELETE", f"{APISERVICES}?labelSelector=e2e%3Dupdated"))[0] == 200
    assert (await http("GET", path))[0] == 404


async def test_a_server_that_hangs_or_goes_away_holds_nobody_for_long(http, extension, monkeypatch):
    await install(http, extension)
    monkeypatch.setattr(aggregator, "ANSWER_SECONDS", 0.3)
    extension.hangs = True
    code, status = await http("GET", f"{FLUNDERS}/a")
    assert (code, status["reason"]) == (504, "Timeout")
    extension.hangs = False
    await extension.close()
    code, text = await http("GET", f"{FLUNDERS}/a")
    assert (code, text.startswith("error trying to reach service: ")) == (503, True)
    found = await condition(http, status="False")
    assert found["reason"] == "FailedDiscoveryCheck"


async def test_an_extension_server_may_read_whom_to_believe_and_nothing_else_there(http):
    binding = {
        "metadata": {"name": "api"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "api", "namespace": "default"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings"
    assert (await http("POST", path, binding))[0] == 201
    maps = "/api/v1/namespaces/kube-system/configmaps"
    # As Kubernetes' libraries ask: a list and a watch of one name.
    asked = f"{maps}?fieldSelector=metadata.name%3Dextension-apiserver-authentication"
    who = {"impersonate_user": "system:serviceaccount:default:api"}
    while (await http("GET", asked, **who))[0] != 200:
        await asyncio.sleep(0.05)
    _, found = await http("GET", asked, **who)
    assert [each["metadata"]["name"] for each in found["items"]] == ["extension-apiserver-authentication"]
    assert (await http("GET", maps, **who))[0] == 403
