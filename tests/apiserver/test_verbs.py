"""The verbs as a client sees them, over TLS."""

import asyncio

import pytest

from tests.support.apiserver import serving
from tests.support.http import http_client

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    async with http_client(server) as client:
        yield client


def config_map(name, **fields):
    return {"metadata": {"name": name}, **fields}


async def test_an_object_lives_from_create_to_delete(http):
    code, created = await http("POST", CONFIGMAPS, config_map("a", data={"k": "v"}))
    assert code == 201
    assert created["kind"] == "ConfigMap"
    assert created["metadata"]["namespace"] == "default"
    code, read = await http("GET", f"{CONFIGMAPS}/a")
    assert (code, read) == (200, created)
    read["data"]["k"] = "w"
    code, updated = await http("PUT", f"{CONFIGMAPS}/a", read)
    assert code == 200
    assert int(updated["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    code, status = await http("DELETE", f"{CONFIGMAPS}/a")
    assert (code, status["status"]) == (200, "Success")
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    code, status = await http("GET", f"{CONFIGMAPS}/a")
    assert (code, status["reason"]) == (404, "NotFound")


async def test_an_update_of_an_old_version_is_a_conflict_and_changes_nothing(http):
    await http("POST", CONFIGMAPS, config_map("a", data={"k": "v"}))
    _, old = await http("GET", f"{CONFIGMAPS}/a")
    await http("PUT", f"{CONFIGMAPS}/a", config_map("a", data={"k": "new"}))
    code, status = await http("PUT", f"{CONFIGMAPS}/a", old)
    assert (code, status["reason"]) == (409, "Conflict")
    assert (await http("GET", f"{CONFIGMAPS}/a"))[1]["data"] == {"k": "new"}


@pytest.mark.parametrize("version", [None, "", "0"])
async def test_an_update_without_a_version_takes_any(http, version):
    await http("POST", CONFIGMAPS, config_map("a", data={"k": "v"}))
    wished = config_map("a", data={"k": "new"})
    wished["metadata"]["resourceVersion"] = version
    code, updated = await http("PUT", f"{CONFIGMAPS}/a", wished)
    assert (code, updated["data"]) == (200, {"k": "new"})


async def test_an_update_that_changes_nothing_makes_no_new_version(http):
    _, created = await http("POST", CONFIGMAPS, config_map("a", data={"k": "v"}))
    _, updated = await http("PUT", f"{CONFIGMAPS}/a", created)
    assert updated["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_concurrent_patches_all_arrive(http):
    await http("POST", CONFIGMAPS, config_map("a"))
    headers = {"content-type": "application/merge-patch+json"}
    patches = [http("PATCH", f"{CONFIGMAPS}/a", {"data": {f"k{n}": "v"}}, **headers) for n in range(12)]
    assert {code for code, _ in await asyncio.gather(*patches)} == {200}
    assert len((await http("GET", f"{CONFIGMAPS}/a"))[1]["data"]) == 12


async def test_a_dry_run_stores_nothing(http):
    code, answer = await http("POST", f"{CONFIGMAPS}?dryRun=All", config_map("a"))
    assert code == 201
    assert "resourceVersion" not in answer["metadata"]
    assert (await http("GET", f"{CONFIGMAPS}/a"))[0] == 404
    await http("POST", CONFIGMAPS, config_map("a"))
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=All", config_map("a")))[0] == 409
    assert (await http("DELETE", f"{CONFIGMAPS}/a?dryRun=All"))[0] == 200
    assert (await http("GET", f"{CONFIGMAPS}/a"))[0] == 200


async def test_generated_names_differ(http):
    names = {
        (await http("POST", CONFIGMAPS, {"metadata": {"generateName": "g-"}}))[1]["metadata"]["name"] for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("g-") for name in names)


async def test_pages_follow_one_another_without_gaps(http):
    for number in range(5):
        await http("POST", CONFIGMAPS, config_map(f"c{number}"))
    code, first = await http("GET", f"{CONFIGMAPS}?limit=2")
    assert code == 200
    assert first["metadata"]["remainingItemCount"] == 3
    await http("DELETE", f"{CONFIGMAPS}/c3")
    names, token = [item["metadata"]["name"] for item in first["items"]], first["metadata"]["continue"]
    while token:
        _, page = await http("GET", f"{CONFIGMAPS}?limit=2&continue={token}")
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert names == ["c0", "c1", "c2", "c3", "c4"]


async def test_a_list_whose_version_is_gone_can_go_on_with_what_is_there_now(server, http):
    for number in range(5):
        await http("POST", CONFIGMAPS, config_map(f"c{number}"))
    _, first = await http("GET", f"{CONFIGMAPS}?limit=2")
    await http("DELETE", f"{CONFIGMAPS}/c3")
    await server.store.compact(server.store.revision)
    code, status = await http("GET", f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    assert "inconsistent list" in status["message"]
    code, second = await http("GET", f"{CONFIGMAPS}?limit=1&continue={status['metadata']['continue']}")
    assert (code, [item["metadata"]["name"] for item in second["items"]]) == (200, ["c2"])
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 1
    _, third = await http("GET", f"{CONFIGMAPS}?limit=2&continue={second['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in third["items"]] == ["c4"]
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("limit=x", 400, "BadRequest"),
        ("resourceVersion=abc", 400, "BadRequest"),
        ("resourceVersion=999999", 504, "Timeout"),
        ("continue=zzz", 400, "BadRequest"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=1&resourceVersionMatch=Bogus", 422, "Invalid"),
        ("labelSelector=%3D%3D", 400, "BadRequest"),
        ("fieldSelector=data.a%3Db", 400, "BadRequest"),
        ("sendInitialEvents=true", 422, "Invalid"),
    ],
)
async def test_bad_list_options_are_refused(http, query, code, reason):
    status_code, status = await http("GET", f"{CONFIGMAPS}?{query}")
    assert (status_code, status["reason"]) == (code, reason)


async def test_selectors_choose(http):
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await http("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": {"app": app}}})

    async def names(query):
        _, listed = await http("GET", f"{CONFIGMAPS}?{query}")
        return [item["metadata"]["name"] for item in listed["items"]]

    assert await names("labelSelector=app%3Dx") == ["a", "c"]
    assert await names("labelSelector=app%20notin%20(x)") == ["b"]
    assert await names("fieldSelector=metadata.name%3Db") == ["b"]
    assert await names("fieldSelector=metadata.name!%3Db") == ["a", "c"]
    assert await names("labelSelector=app%3Dx&limit=1") == ["a"]


async def test_a_finalizer_holds_an_object_until_it_is_removed(http):
    await http("POST", CONFIGMAPS, {"metadata": {"name": "f", "finalizers": ["example.com/f"]}})
    code, held = await http("DELETE", f"{CONFIGMAPS}/f")
    assert code == 200
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    patch = {"metadata": {"finalizers": None}}
    assert (await http("PATCH", f"{CONFIGMAPS}/f", patch, content_type="application/merge-patch+json"))[0] == 200
    assert (await http("GET", f"{CONFIGMAPS}/f"))[0] == 404


async def test_a_whole_selection_is_deleted(http):
    for name, app in (("a", "x"), ("b", "y")):
        await http("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": {"app": app}}})
    code, deleted = await http("DELETE", f"{CONFIGMAPS}?labelSelector=app%3Dx")
    assert (code, [item["metadata"]["name"] for item in deleted["items"]]) == (200, ["a"])
    assert [item["metadata"]["name"] for item in (await http("GET", CONFIGMAPS))[1]["items"]] == ["b"]


async def test_nothing_is_created_in_a_namespace_that_is_missing_or_going(http):
    code, status = await http("POST", "/api/v1/namespaces/none/configmaps", config_map("a"))
    assert (code, status["message"]) == (404, 'namespaces "none" not found')
    await http("POST", "/api/v1/namespaces", config_map("going", spec={"finalizers": ["kubernetes"]}))
    await http("DELETE", "/api/v1/namespaces/going")
    code, status = await http("POST", "/api/v1/namespaces/going/configmaps", config_map("a"))
    assert code == 403
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_default_namespaces_stay(http):
    assert (await http("DELETE", "/api/v1/namespaces/default"))[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", f"{CONFIGMAPS}/x", 405),
        ("PUT", CONFIGMAPS, 405),
        ("PATCH", CONFIGMAPS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("GET", "/api/v1/nope", 404),
        ("GET", f"{CONFIGMAPS}/x/status", 404),
        ("GET", "/apis/apps/v2/deployments", 404),
        ("GET", "/api/v2", 404),
        ("OPTIONS", CONFIGMAPS, 405),
    ],
)
async def test_what_is_not_served_has_upstream_codes(http, method, path, code):
    status_code, status = await http(method, path, {} if method in ("POST", "PUT") else None)
    assert status_code == code
    assert status["details"] == {}


async def test_paths_of_unknown_groups_are_plain_text(http):
    assert await http("GET", "/apis/nope/v1") == (404, "404 page not found\n")


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"{}", 415),
        ("application/cbor", b"\xa0", 415),
        ("application/json", b'{"a":', 400),
        ("application/json", b"[]", 400),
        ("application/json", b"", 400),
        ("application/yaml", b"a: [", 400),
        ("application/vnd.kubernetes.protobuf", b"k8s\x00zap", 400),
    ],
)
async def test_bodies_that_cannot_be_read_are_refused(http, content_type, body, code):
    assert (await http("POST", CONFIGMAPS, body, content_type=content_type))[0] == code


async def test_a_body_may_not_be_too_large(http):
    code, status = await http("POST", CONFIGMAPS, config_map("big", data={"k": "x" * 5_000_000}))
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


async def test_yaml_goes_in_and_out(http):
    assert (await http("POST", CONFIGMAPS, b"metadata:\n  name: y\n", content_type="application/yaml"))[0] == 201
    code, text = await http("GET", f"{CONFIGMAPS}/y", accept="application/yaml")
    assert code == 200
    assert "name: y" in text


async def test_partial_metadata_has_no_data(http):
    await http("POST", CONFIGMAPS, config_map("a", data={"k": "v"}))
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    _, partial = await http("GET", f"{CONFIGMAPS}/a", accept=accept)
    assert partial["kind"] == "PartialObjectMetadata"
    assert set(partial) == {"kind", "apiVersion", "metadata"}


async def test_tables_have_a_row_for_each_object(http):
    await http("POST", CONFIGMAPS, config_map("a"))
    _, table = await http("GET", CONFIGMAPS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert table["kind"] == "Table"
    assert [row["cells"][0] for row in table["rows"]] == ["a"]


async def test_pretty_answers_have_lines(http):
    assert (await http("GET", f"{CONFIGMAPS}?pretty=true"))[0] == 200


async def test_services_get_addresses_and_give_them_back(http):
    path = "/api/v1/namespaces/default/services"
    body = config_map("s", spec={"ports": [{"port": 80}], "clusterIP": "10.96.50.50"})
    assert (await http("POST", path, body))[0] == 201
    body["metadata"]["name"] = "other"
    code, status = await http("POST", path, body)
    assert (code, status["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs")
    await http("DELETE", f"{path}/s")
    assert (await http("POST", path, body))[0] == 201


async def test_the_kubernetes_service_leads_to_the_advertised_address(tmp_path):
    async with serving(tmp_path, advertise=("192.0.2.1", 7443)) as server, http_client(server) as http:
        _, service = await http("GET", "/api/v1/namespaces/default/services/kubernetes")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        _, endpoints = await http("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        assert endpoints["subsets"][0]["ports"][0]["port"] == 7443
        _, slice_ = await http("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        assert slice_["endpoints"][0]["addresses"] == ["192.0.2.1"]


async def test_unknown_tokens_are_unauthorized_and_strangers_too(server):
    async with http_client(server, None) as stranger:
        assert (await stranger("GET", CONFIGMAPS))[0] == 401
        assert (await stranger("GET", "/version", authorization="Bearer nonsense"))[0] == 401
        assert (await stranger("GET", "/healthz")) == (200, "ok")
        assert (await stranger("GET", "/version"))[1]["gitVersion"] == "v1.37.0+sparsam"


async def test_service_accounts_are_known_but_not_allowed(http, server):
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", config_map("robot"))
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    code, review = await http("POST", path, {"spec": {"expirationSeconds": 600}})
    assert code == 201
    bearer = f"Bearer {review['status']['token']}"
    async with http_client(server, None) as robot:
        code, status = await robot("GET", CONFIGMAPS, authorization=bearer)
        assert code == 403
        assert status["message"] == (
            'configmaps is forbidden: User "system:serviceaccount:default:robot" cannot list resource "configmaps" '
            'in API group "" in the namespace "default"'
        )
        who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        code, answer = await robot("POST", who, {}, authorization=bearer)
        assert (code, answer["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:robot")


async def test_events_are_one_thing_in_two_groups(http):
    event = config_map(
        "e", involvedObject={"kind": "Pod", "name": "p", "namespace": "default"}, reason="R", message="m", type="Normal"
    )
    assert (await http("POST", "/api/v1/namespaces/default/events", event))[0] == 201
    code, other = await http("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert code == 200
    assert (other["apiVersion"], other["note"], other["regarding"]["name"]) == ("events.k8s.io/v1", "m", "p")
    _, listed = await http("GET", "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp")
    assert [item["note"] for item in listed["items"]] == ["m"]
