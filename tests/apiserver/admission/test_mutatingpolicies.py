"""MutatingAdmissionPolicies against a real server."""

import asyncio
import itertools

import pytest

from tests.support.admission import GROUP, binding, policy, rule
from tests.support.apiserver import serving
from tests.support.http import http_client
from tests.support.webhooks import WebhookServer, configure, hook, patch

MUTATING, MUTATING_BINDINGS = f"{GROUP}/mutatingadmissionpolicies", f"{GROUP}/mutatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
NUMBERS = itertools.count()
MERGE = "application/merge-patch+json"


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


def config_map(name="m", data=None, **metadata):
    return {"metadata": {"name": name, **metadata}, "data": data or {"a": "b"}}


def pod(name="p", **spec):
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}


def apply(expression):
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression):
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def mutating(*mutations, name="p.example.com", spec=None, **more):
    made = policy(name=name, **more)
    made["spec"] |= {"mutations": list(mutations), "reinvocationPolicy": "Never", **(spec or {})}
    del made["spec"]["validations"]
    bound = binding(f"b-{name}", name)
    del bound["spec"]["validationActions"]
    return made, bound


async def store(http, made, bound):
    for path, obj in ((MUTATING, made), (MUTATING_BINDINGS, bound)):
        code, answer = await http("POST", path, obj)
        assert code == 201, answer


async def settled(http):
    """Wait until the server follows all policies stored so far: until it follows one stored now."""
    name = f"a-marker-{next(NUMBERS)}"
    fails = json_patch('[JSONPatch{op: "remove", path: "/nothing"}]')
    await store(http, *mutating(fails, name=name, rules=[rule(resourceNames=[name])]))
    # Policies are asked by their names: this one's fault is the one that is told.
    while f"'{name}'" not in (await http("POST", f"{MAPS}?dryRun=All", config_map(name)))[1].get("message", ""):
        await asyncio.sleep(0.01)
    await http("DELETE", f"{MUTATING_BINDINGS}/b-{name}")
    await http("DELETE", f"{MUTATING}/{name}")


async def enforce(http, *mutations, **more):
    await store(http, *mutating(*mutations, **more))
    await settled(http)


async def test_a_configuration_is_applied(http):
    await enforce(http, apply('Object{metadata: Object.metadata{annotations: {"mutated-by": object.data.a}}}'))
    code, made = await http("POST", MAPS, config_map(annotations={"mine": "1"}))
    assert code == 201, made
    assert made["metadata"]["annotations"] == {"mine": "1", "mutated-by": "b"}
    code, made = await http("PATCH", f"{MAPS}/m", {"data": {"a": "c"}}, content_type=MERGE)
    assert made["metadata"]["annotations"] == {"mine": "1", "mutated-by": "c"}


async def test_items_of_lists_are_merged_by_their_keys(http):
    wish = """Object{spec: Object.spec{containers: object.spec.containers.map(c,
      Object.spec.containers{name: c.name, env: [Object.spec.containers.env{name: "ADDED", value: "1"}]})}}"""
    await enforce(http, apply(wish), rules=[rule("pods")])
    code, made = await http("POST", PODS, pod())
    assert code == 201, made
    (container,) = made["spec"]["containers"]
    assert (container["image"], container["env"]) == ("x", [{"name": "ADDED", "value": "1"}])


async def test_a_json_patch_is_made(http):
    operations = """[
      JSONPatch{op: "test", path: "/data/a", value: "b"},
      JSONPatch{op: "add", path: "/metadata/labels", value: {}},
      JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/x"), value: "y"},
      JSONPatch{op: "move", from: "/data/a", path: "/data/c"}
    ]"""
    await enforce(http, json_patch(operations))
    code, made = await http("POST", MAPS, config_map())
    assert code == 201, made
    assert (made["metadata"]["labels"], made["data"]) == ({"example.com/x": "y"}, {"c": "b"})
    code, made = await http("POST", MAPS, config_map("untouched", data={"a": "x"}))
    assert (code, made["data"]) == (201, {"a": "x"})


async def test_mutations_follow_one_another_and_policies_their_names(http):
    await enforce(
        http, json_patch('[JSONPatch{op: "add", path: "/data/second", value: object.data.first}]'), name="b.example.com"
    )
    first = apply('Object{data: Object.data{first: "1"}}')
    await enforce(http, first, apply("Object{data: Object.data{then: object.data.first}}"), name="a.example.com")
    code, made = await http("POST", MAPS, config_map())
    assert code == 201, made
    assert made["data"] == {"a": "b", "first": "1", "then": "1", "second": "1"}


async def test_an_earlier_policy_that_wants_to_sees_what_a_later_one_changed(http):
    seen = "Object{metadata: Object.metadata{annotations: {'seen': string(has(object.data.later))}}}"
    await enforce(http, apply(seen), name="a.example.com", spec={"reinvocationPolicy": "IfNeeded"})
    await enforce(http, apply("Object{data: Object.data{later: '1'}}"), name="b.example.com")
    _, made = await http("POST", MAPS, config_map())
    assert made["metadata"]["annotations"] == {"seen": "true"}


async def test_a_policy_that_wants_to_sees_what_a_webhook_changed(http):
    async with WebhookServer() as hooks:
        hooks.on("/add", patch({"op": "add", "path": "/data/hooked", "value": "yes"}))
        await configure(http, "mutating", "w", hook(hooks.client("/add")))
        seen = "Object{metadata: Object.metadata{annotations: {'seen': string(has(object.data.hooked))}}}"
        await enforce(http, apply(seen), spec={"reinvocationPolicy": "IfNeeded"})
        _, made = await http("POST", MAPS, config_map())
        assert (made["data"]["hooked"], made["metadata"]["annotations"]) == ("yes", {"seen": "true"})


@pytest.mark.parametrize(
    ("mutation", "why"),
    [
        (apply("Object{data: Object.wrong{a: '1'}}"), 'unexpected type name "Object.wrong", expected "Object.data"'),
        (apply("Object{nothing: 1}"), ".nothing: field not declared in schema"),
        (json_patch('[JSONPatch{op: "remove", path: "/nothing"}]'), "JSONPath: "),
        (apply("Object{data: Object.data{a: object.data.nothing}}"), "resulted in error: no such key: nothing"),
    ],
)
async def test_what_fails_refuses_the_request_unless_it_may_fail(http, mutation, why):
    await enforce(http, mutation)
    code, status = await http("POST", MAPS, config_map())
    assert (code, status["reason"]) == (403, "Invalid")
    assert status["message"].startswith("policy 'p.example.com' with binding 'b-p.example.com' denied request: ")
    assert why in status["message"]
    change = {"spec": {"failurePolicy": "Ignore"}}
    assert (await http("PATCH", f"{MUTATING}/p.example.com", change, content_type=MERGE))[0] == 200
    await settled(http)
    assert (await http("POST", MAPS, config_map()))[0] == 201


async def test_lists_that_are_one_field_are_not_applied(http):
    wish = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', command: ['x']}]}}"
    await enforce(http, apply(wish), rules=[rule("pods")])
    code, status = await http("POST", PODS, pod())
    assert code == 403
    why = "may not mutate atomic arrays, maps or structs: .spec.containers[0].command"
    assert status["message"].endswith(f"error applying patch: invalid ApplyConfiguration: {why}")


async def test_conditions_and_variables_are_heard(http):
    spec = {
        "matchConditions": [{"name": "wanted", "expression": "object.metadata.name.startsWith('w')"}],
        "variables": [{"name": "value", "expression": "object.data.a + '!'"}],
    }
    await enforce(http, apply("Object{data: Object.data{a: variables.value}}"), spec=spec)
    assert (await http("POST", MAPS, config_map("w")))[1]["data"] == {"a": "b!"}
    assert (await http("POST", MAPS, config_map("other")))[1]["data"] == {"a": "b"}


async def test_what_a_policy_makes_is_validated(http):
    await enforce(
        http,
        json_patch('[JSONPatch{op: "replace", path: "/spec/containers/0/name", value: "Not A Name"}]'),
        rules=[rule("pods")],
    )
    code, status = await http("POST", PODS, pod())
    assert code == 422
    assert "spec.containers[0].name" in status["message"]


async def test_what_does_not_compile_is_refused(http):
    made = policy()
    del made["spec"]["validations"]
    made["spec"] |= {
        "reinvocationPolicy": "Never",
        "mutations": [
            apply("JSONPatch{op: 'add'}"),
            json_patch("[Object{}]"),
            json_patch("[JSONPatch{nothing: 1}]"),
            apply("Obj{}"),
        ],
    }
    code, status = await http("POST", MUTATING, made)
    assert code == 422
    causes = {each["field"]: each["message"] for each in status["details"]["causes"]}
    path = "spec.mutations[{}].{}.expression"
    assert causes[path.format(0, "applyConfiguration")].endswith("must evaluate to Object but got JSONPatch")
    assert causes[path.format(1, "jsonPatch")].endswith("must evaluate to list(JSONPatch) but got list(Object)")
    assert "undefined field 'nothing'" in causes[path.format(2, "jsonPatch")]
    assert "undeclared reference to 'Obj'" in causes[path.format(3, "applyConfiguration")]
