"""Custom resources over HTTP: served like built-in ones from the moment that their definition is established."""

import asyncio
import contextlib

import pytest

from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS
from sparsam.store.memory import MemoryStore
from tests.support.apiserver import serving
from tests.support.customresources import OPEN, SCHEMA, definition, version, widget
from tests.support.http import http_client

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD = f"{CRDS}/widgets.example.com"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MERGE, JSON, STRATEGIC = (f"application/{each}-patch+json" for each in ("merge", "json", "strategic-merge"))
APPLY = "application/apply-patch+yaml"
PARTS = {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}


async def until(look, what=""):
    async with asyncio.timeout(30):
        while not (found := await look()):
            await asyncio.sleep(0.02)
        return found


def conditions(crd):
    return {each["type"]: (each["status"], each["reason"]) for each in crd.get("status", {}).get("conditions") or []}


async def define(http, crd):
    code, created = await http("POST", CRDS, crd)
    assert code == 201, created

    async def settled():
        _, found = await http("GET", f"{CRDS}/{crd['metadata']['name']}")
        return found if conditions(found).get("Established", ("False", "Installing"))[1] != "Installing" else None

    return await until(settled)


async def undefine(http, name="widgets.example.com"):
    code, _ = await http("DELETE", f"{CRDS}/{name}")
    assert code == 200

    async def is_gone():
        return (await http("GET", f"{CRDS}/{name}"))[0] == 404

    await until(is_gone)


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        yield client


async def test_names_are_accepted_then_the_definition_is_established_and_served(http):
    assert (await http("GET", WIDGETS))[0] == 404
    crd = await define(http, definition(shortNames=["wd"], categories=["all"]))
    assert conditions(crd) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert crd["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "shortNames": ["wd"],
        "kind": "Widget",
        "listKind": "WidgetList",
        "categories": ["all"],
    }
    assert crd["status"]["storedVersions"] == ["v1"]
    code, listed = await http("GET", WIDGETS)
    assert (code, listed["kind"], listed["apiVersion"], listed["items"]) == (200, "WidgetList", "example.com/v1", [])


async def test_objects_are_defaulted_pruned_and_validated(http):
    await define(http, definition())
    code, made = await http("POST", WIDGETS, widget("w", size=2) | {"surplus": 1})
    assert (code, made["spec"]) == (201, {"size": 2, "color": "red"})
    assert "surplus" not in made
    assert http.headers["warning"] == '299 - "unknown field \\"surplus\\""'
    assert made["metadata"]["generation"] == 1
    code, status = await http("POST", WIDGETS, widget("bad", size=0))
    assert (code, status["message"]) == (
        422,
        'Widget.example.com "bad" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than '
        "or equal to 1",
    )


async def test_unknown_and_repeated_fields_are_an_error_where_validation_is_strict(http):
    await define(http, definition())
    body = (
        b'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","who":1},'
        b'"spec":{"size":1,"size":2,"foo":3}}'
    )
    code, status = await http("POST", f"{WIDGETS}?fieldValidation=Strict", body)
    problems = 'duplicate field "spec.size", unknown field "metadata.who", unknown field "spec.foo"'
    assert (code, status["message"]) == (
        400,
        f'Widget in version "v1" cannot be handled as a Widget: strict decoding error: {problems}',
    )
    assert (await http("POST", f"{WIDGETS}?fieldValidation=Ignore", body))[0] == 201
    assert "warning" not in http.headers


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"kind": "Widget", "metadata": {"name": "w"}}, 400, "Object 'apiVersion' is missing in"),
        ({"apiVersion": "example.com/v1", "metadata": {"name": "w"}}, 400, "Object 'Kind' is missing in"),
        (widget("w") | {"kind": "Gadget"}, 422, 'kind: Invalid value: "Gadget": must be Widget'),
        (
            widget("w") | {"apiVersion": "example.com/v2"},
            400,
            "the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)",
        ),
        (widget("w") | {"metadata": {"name": "w", "labels": 1}}, 400, "metadata: Invalid value"),
        (widget("w") | {"metadata": []}, 400, "metadata: Invalid value"),
        ([], 400, "cannot unmarshal array"),
    ],
    ids=["no version", "no kind", "other kind", "other version", "labels", "metadata", "list"],
)
async def test_bodies_that_are_no_such_object_are_refused(http, body, code, message):
    await define(http, definition())
    answer, status = await http("POST", WIDGETS, body)
    assert answer == code, status
    assert message in status["message"]


async def test_an_update_needs_a_version_and_raises_the_generation_of_what_is_not_metadata(http):
    await define(http, definition())
    _, made = await http("POST", WIDGETS, widget("w"))
    code, status = await http("PUT", f"{WIDGETS}/w", widget("w", size=3))
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
    made["metadata"]["labels"] = {"a": "b"}
    _, labelled = await http("PUT", f"{WIDGETS}/w", made)
    assert labelled["metadata"]["generation"] == 1
    # Without a status subresource the status is a field like any other.
    code, changed = await http("PATCH", f"{WIDGETS}/w", {"status": {"ok": True}}, content_type=MERGE)
    assert (code, changed["metadata"]["generation"], changed["status"]) == (200, 2, {"ok": True})
    assert (await http("GET", f"{WIDGETS}/w/status"))[0] == 404
    code, status = await http("PUT", f"{WIDGETS}/w", made)
    assert (code, status["reason"]) == (409, "Conflict")


async def test_patches_are_json_merge_and_apply_but_not_strategic(http):
    await define(http, definition())
    await http("POST", WIDGETS, widget("w"))
    patch = [{"op": "add", "path": "/spec/size", "value": 4}]
    assert (await http("PATCH", f"{WIDGETS}/w", patch, content_type=JSON))[1]["spec"]["size"] == 4
    code, status = await http("PATCH", f"{WIDGETS}/w", {"spec": {"size": 5}}, content_type=STRATEGIC)
    assert (code, status["reason"], status["message"]) == (
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )
    code, status = await http("POST", WIDGETS, b"k8s\0", content_type="application/vnd.kubernetes.protobuf")
    assert code == 415
    code, _ = await http("GET", f"{WIDGETS}/w", accept="application/vnd.kubernetes.protobuf")
    assert code == 406


async def test_fields_belong_to_who_applied_them(http):
    await define(http, definition())
    path = f"{WIDGETS}/w?fieldManager=one"
    code, made = await http("PATCH", path, widget("w", size=1), content_type=APPLY)
    assert code == 201, made
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["operation"], entry["fieldsV1"]) == ("Apply", {"f:spec": {"f:size": {}}})
    code, status = await http("PATCH", f"{WIDGETS}/w?fieldManager=two", widget("w", size=2), content_type=APPLY)
    assert (code, status["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "one": .spec.size',
    )
    code, forced = await http(
        "PATCH", f"{WIDGETS}/w?fieldManager=two&force=true", widget("w", size=2), content_type=APPLY
    )
    assert (code, forced["spec"]["size"]) == (200, 2)
    code, status = await http("PATCH", path, widget("w", foo=1), content_type=APPLY)
    assert code in (400, 500)
    assert ".spec.foo: field not declared in schema" in status["message"]


async def test_the_status_subresource_changes_nothing_but_the_status(http):
    await define(http, definition(version(subresources=PARTS)))
    _, made = await http("POST", WIDGETS, widget("w", size=1) | {"status": {"phase": "lost"}})
    assert "status" not in made
    body = made | {"status": {"phase": "kept"}, "spec": {"size": 9}}
    body["metadata"] = made["metadata"] | {"labels": {"a": "b"}}
    code, written = await http("PUT", f"{WIDGETS}/w/status", body)
    assert code == 200, written
    assert written["status"] == {"phase": "kept"}
    assert written["spec"]["size"] == 1
    assert "labels" not in written["metadata"]
    assert written["metadata"]["generation"] == 1
    code, written = await http(
        "PATCH", f"{WIDGETS}/w", {"status": {"phase": "no"}, "spec": {"size": 2}}, content_type=MERGE
    )
    assert (written["status"], written["metadata"]["generation"]) == ({"phase": "kept"}, 2)


async def test_the_scale_is_where_the_definition_says(http):
    await define(http, definition(version(subresources=PARTS)))
    await http("POST", WIDGETS, widget("w"))
    code, status = await http("GET", f"{WIDGETS}/w/scale")
    assert (code, status["message"]) == (
        500,
        'Internal error occurred: the spec replicas field ".spec.replicas" does not exist',
    )
    code, _ = await http("PATCH", f"{WIDGETS}/w", {"spec": {"replicas": 2}}, content_type=MERGE)
    await http("PATCH", f"{WIDGETS}/w/status", {"status": {"replicas": 1}}, content_type=MERGE)
    _, scale = await http("GET", f"{WIDGETS}/w/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 2}, {"replicas": 1})
    scale["spec"]["replicas"] = 5
    code, written = await http("PUT", f"{WIDGETS}/w/scale", scale)
    assert (code, written["spec"]["replicas"]) == (200, 5)
    assert (await http("GET", f"{WIDGETS}/w"))[1]["spec"]["replicas"] == 5
    code, status = await http("PATCH", f"{WIDGETS}/w/scale", {"spec": {"replicas": -1}}, content_type=MERGE)
    assert code == 422


async def test_selectors_by_label_name_and_selectable_fields(http):
    await define(http, definition(version(selectableFields=[{"jsonPath": ".spec.color"}])))
    await http("POST", WIDGETS, widget("a", color="blue"))
    await http("POST", WIDGETS, widget("b"))

    async def names(selector):
        return [each["metadata"]["name"] for each in (await http("GET", f"{WIDGETS}?{selector}"))[1]["items"]]

    assert await names("fieldSelector=spec.color=blue") == ["a"]
    assert await names("fieldSelector=metadata.name=b") == ["b"]
    assert await names("labelSelector=x") == []
    code, status = await http("GET", f"{WIDGETS}?fieldSelector=spec.size=1")
    assert (code, status["message"]) == (400, "field label not supported: spec.size")
    async with http.watch(f"{WIDGETS}?watch=1&fieldSelector=spec.color=blue&resourceVersion=0") as events:
        assert await events.take(1) == [("ADDED", "a")]
        await http("PATCH", f"{WIDGETS}/b", {"spec": {"color": "blue"}}, content_type=MERGE)
        await http("PATCH", f"{WIDGETS}/a", {"spec": {"color": "red"}}, content_type=MERGE)
        assert await events.take(2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_generated_names_dry_runs_finalizers_and_collections(http):
    await define(http, definition())
    generated = widget("") | {"metadata": {"generateName": "w-"}}
    _, made = await http("POST", WIDGETS, generated)
    assert made["metadata"]["name"].startswith("w-")
    assert (await http("POST", f"{WIDGETS}?dryRun=All", widget("dry")))[0] == 201
    assert (await http("GET", f"{WIDGETS}/dry"))[0] == 404
    held = widget("held")
    held["metadata"]["finalizers"] = ["plain"]
    assert (await http("POST", WIDGETS, held))[0] == 201
    code, _ = await http("DELETE", WIDGETS)
    assert code == 200
    _, listed = await http("GET", WIDGETS)
    assert [each["metadata"]["name"] for each in listed["items"]] == ["held"]
    await http("PATCH", f"{WIDGETS}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)
    assert (await http("GET", f"{WIDGETS}/held"))[0] == 404


async def test_a_table_has_the_columns_of_the_definition_or_the_age(http):
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "how large"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Other", "type": "boolean", "jsonPath": ".spec.size", "priority": 1},
    ]
    plain = version("v2", storage=False)
    await define(http, definition(version(additionalPrinterColumns=columns), plain))
    status = {"conditions": [{"type": "Old", "status": "x"}, {"type": "Ready", "status": "True"}]}
    await http("POST", WIDGETS, widget("w", size=7) | {"status": status})
    asked = "application/json;as=Table;g=meta.k8s.io;v=v1"
    _, table = await http("GET", WIDGETS, accept=asked)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size", "Ready", "Other"]
    assert table["rows"][0]["cells"] == ["w", 7, "True", None]
    _, table = await http("GET", WIDGETS.replace("v1", "v2"), accept=asked)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Age"]


async def test_versions_differ_in_name_and_schema_and_unserved_ones_are_not_there(http):
    loose = version("v1beta1", OPEN, storage=False, deprecated=True)
    hidden = version("v1alpha1", OPEN, storage=False, served=False)
    await define(http, definition(version(), loose, hidden))
    await http("POST", WIDGETS, widget("w", size=1))
    code, shown = await http("GET", f"{WIDGETS.replace('v1', 'v1beta1')}/w")
    assert (code, shown["apiVersion"], shown["spec"]) == (200, "example.com/v1beta1", {"size": 1, "color": "red"})
    assert http.headers["warning"] == '299 - "example.com/v1beta1 Widget is deprecated"'
    assert (await http("GET", WIDGETS.replace("v1", "v1alpha1")))[0] == 404
    _, group = await http("GET", "/apis/example.com")
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1"]
    # Another schema applies to what was stored before, from the next request on.
    _, crd = await http("GET", CRD)
    properties = {"spec": {"type": "object", "properties": {"weight": {"type": "integer", "default": 3}}}}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "object", "properties": properties}
    assert (await http("PUT", CRD, crd))[0] == 200

    async def has_new_schema():
        return (await http("GET", f"{WIDGETS}/w"))[1]["spec"] == {"weight": 3}

    await until(has_new_schema)


async def test_discovery_and_openapi_follow(http):
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    await http("GET", "/apis", accept=aggregated)
    before = http.headers["etag"]
    _, index = await http("GET", "/openapi/v3")
    assert "apis/example.com/v1" not in index["paths"]
    await define(http, definition(version(subresources=PARTS), shortNames=["wd"]))
    _, listed = await http("GET", "/apis/example.com/v1")
    assert [each["name"] for each in listed["resources"]] == ["widgets", "widgets/status", "widgets/scale"]
    assert listed["resources"][0]["shortNames"] == ["wd"]
    _, groups = await http("GET", "/apis", accept=aggregated)
    assert http.headers["etag"] != before
    (entry,) = (each for each in groups["items"] if each["metadata"]["name"] == "example.com")
    (resource,) = entry["versions"][0]["resources"]
    assert (resource["resource"], resource["scope"]) == ("widgets", "Namespaced")
    assert resource["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}
    kinds = {each["subresource"]: each["responseKind"] for each in resource["subresources"]}
    assert kinds == {
        "status": resource["responseKind"],
        "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    }
    _, index = await http("GET", "/openapi/v3")
    url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
    _, document = await http("GET", url)
    schema = document["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["properties"]["spec"]["properties"]["size"] == {"type": "integer", "minimum": 1}
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in document["components"]["schemas"]
    _, whole = await http("GET", "/openapi/v2")
    assert "com.example.v1.WidgetList" in whole["definitions"]
    assert f"{WIDGETS.replace('default', '{namespace}')}/{{name}}/status" in whole["paths"]
    await undefine(http)
    assert (await http("GET", "/apis/example.com"))[0] == 404
    assert (await http("GET", "/apis", accept=aggregated))[0] == 200
    assert http.headers["etag"] == before


async def test_names_of_another_definition_are_not_accepted_until_they_are_free(http):
    await define(http, definition(shortNames=["wd"]))
    crd = await define(http, definition(kind="Wondrous", plural="wonders", shortNames=["wd"]))
    assert conditions(crd) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    (condition,) = (each for each in crd["status"]["conditions"] if each["type"] == "NamesAccepted")
    assert condition["message"] == '"wd" is already in use'
    assert (await http("GET", "/apis/example.com/v1/namespaces/default/wonders"))[0] == 404
    await undefine(http)

    async def is_established():
        _, found = await http("GET", f"{CRDS}/wonders.example.com")
        return conditions(found)["Established"][0] == "True"

    await until(is_established)
    assert (await http("GET", "/apis/example.com/v1/namespaces/default/wonders"))[0] == 200


async def test_a_definition_goes_after_its_objects_and_watches_end(http):
    await define(http, definition())
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/wait"]
    await http("POST", WIDGETS, held)
    await http("POST", WIDGETS, widget("free"))
    async with http.watch(f"{WIDGETS}?watch=1") as events:
        assert sorted(await events.take(2)) == [("ADDED", "free"), ("ADDED", "held")]
        _, crd = await http("DELETE", CRD)
        assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]

        async def is_emptied():
            code, _ = await http("GET", f"{WIDGETS}/free")
            return code == 404

        await until(is_emptied)
        assert conditions((await http("GET", CRD))[1])["Terminating"] == ("True", "InstanceDeletionInProgress")
        code, status = await http("POST", WIDGETS, widget("late"))
        assert (code, status["message"]) == (
            405,
            "create not allowed while custom resource definition is terminating",
        )
        await http("PATCH", f"{WIDGETS}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)

        async def is_gone():
            return (await http("GET", CRD))[0] == 404

        await until(is_gone)
        told = []
        async with asyncio.timeout(30):
            while event := await events.next():
                told.append((event["type"], event["object"]["metadata"]["name"]))
    assert [each for each in told if each[0] == "DELETED"] == [("DELETED", "free"), ("DELETED", "held")]
    assert (await http("GET", WIDGETS))[0] == 404


async def test_objects_of_a_definition_that_serves_nothing_go_with_it_and_another_one_is_served_meanwhile(http):
    await define(http, definition())
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/wait"]
    await http("POST", WIDGETS, held)
    patch = [{"op": "replace", "path": "/spec/versions/0/served", "value": False}]
    await http("PATCH", CRD, patch, content_type=JSON)
    await http("DELETE", CRD)

    async def is_emptied():
        return conditions((await http("GET", CRD))[1])["Terminating"] == ("True", "InstanceDeletionInProgress")

    await until(is_emptied)
    await define(http, definition(kind="Gadget"))
    assert (await http("GET", WIDGETS))[0] == 404
    served = [{"op": "replace", "path": "/spec/versions/0/served", "value": True}]
    await http("PATCH", CRD, served, content_type=JSON)

    async def is_there_again():
        code, found = await http("GET", f"{WIDGETS}/held")
        return code == 200 and "deletionTimestamp" in found["metadata"]

    await until(is_there_again)
    await http("PATCH", f"{WIDGETS}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)

    async def is_gone():
        return (await http("GET", CRD))[0] == 404

    await until(is_gone)


async def test_what_was_served_is_served_at_once_after_a_restart_and_by_other_servers(tmp_path):
    store = await MemoryStore.open()
    try:
        async with serving(tmp_path / "a", store=store) as first, http_client(first) as one:
            await define(one, definition())
            assert (await one("POST", WIDGETS, widget("w")))[0] == 201
            async with serving(tmp_path / "b", store=store) as second, http_client(second) as other:
                assert (await other("GET", f"{WIDGETS}/w"))[0] == 200
                await define(other, definition(kind="Gadget"))

                async def is_served():
                    return (await one("GET", WIDGETS.replace("widgets", "gadgets")))[0] == 200

                await until(is_served)
        async with serving(tmp_path / "c", store=store) as third, http_client(third) as again:
            assert (await again("GET", f"{WIDGETS}/w"))[1]["spec"] == {"color": "red"}
    finally:
        await store.close()


async def test_a_definition_cannot_take_the_place_of_what_is_built_in(http):
    policy = {"kind": "PowerPolicy", "metadata": {"name": "kept"}, "spec": {}}
    assert (await http("POST", "/apis/power.sparsam.dev/v1alpha1/powerpolicies", policy))[0] == 201
    wanted = definition(version("v1alpha1", storage=True), kind="PowerPolicy", plural="powerpolicies")
    wanted["spec"]["group"] = "power.sparsam.dev"
    wanted["spec"]["scope"] = "Cluster"
    wanted["metadata"]["name"] = "powerpolicies.power.sparsam.dev"
    crd = await define(http, wanted)
    assert conditions(crd)["Established"] == ("False", "NotAccepted")
    await undefine(http, "powerpolicies.power.sparsam.dev")
    assert (await http("GET", "/apis/power.sparsam.dev/v1alpha1/powerpolicies/kept"))[0] == 200


async def test_cluster_scoped_objects_have_no_namespace(http):
    await define(http, definition(scope="Cluster"))
    path = "/apis/example.com/v1/widgets"
    body = widget("w")
    del body["metadata"]["namespace"]
    assert (await http("POST", path, body))[0] == 201
    assert (await http("GET", f"{path}/w"))[0] == 200
    assert (await http("GET", f"{WIDGETS}/w"))[0] == 404
    assert (await http("GET", "/apis/example.com/v3/widgets"))[0] == 404


@pytest.mark.parametrize("spec", [b'{"group":"g"}', b"{}", b"null", b'{"group":"g","names":{},"versions":[]}'])
async def test_a_stored_definition_that_makes_no_sense_harms_no_other(tmp_path, spec):
    store = await MemoryStore.open()
    try:
        told = b'"conditions":[{"type":"NamesAccepted","status":"True"}],"acceptedNames":{}'
        broken = b'{"metadata":{"name":"broken.example.com","uid":"u"},"spec":%b,"status":{%b}}' % (spec, told)
        await store.create(CUSTOMRESOURCEDEFINITIONS.key("broken.example.com"), broken)
        async with serving(tmp_path, store=store) as server, http_client(server) as http:
            await define(http, definition(version(schema=SCHEMA)))
            assert (await http("GET", WIDGETS))[0] == 200
    finally:
        with contextlib.suppress(Exception):
            await store.close()
