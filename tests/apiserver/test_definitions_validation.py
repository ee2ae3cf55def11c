"""Validation of custom resources over HTTP: the steps of Kubernetes' tests of rules and of ratcheting."""

import asyncio
import json

import pytest

from tests.support.apiserver import serving
from tests.support.customresources import definition, version
from tests.support.http import http_client

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD = f"{CRDS}/widgets.example.com"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
APPLY = "application/apply-patch+yaml"
SENTINEL = "sentinel"
TEXT = {"type": "string"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PLACES = ("field", "struct.field", "list[0].field", "list[1].field")


def everywhere(**field):
    field = TEXT | field
    struct = {"type": "object", "properties": {"field": field, "key": TEXT}, "required": []}
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]}
    return {
        "field": field,
        "struct": struct,
        "list": {"type": "array", "items": struct | {"required": ["key"]}} | keyed,
        "map": {"type": "object", "additionalProperties": struct},
    }


def instance(text, **more):
    return {
        "field": text,
        "struct": {"field": text},
        "list": [{"key": "foo", "field": text}, {"key": "bar", "field": text}],
        "map": {"foo": {"field": text}, "bar": {"field": text}},
    } | more


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        yield client


async def until(look):
    async with asyncio.timeout(30):
        while not (found := await look()):
            await asyncio.sleep(0.02)
        return found


async def define(http, schema=OPEN):
    code, created = await http("POST", CRDS, definition(version("v1", schema)))
    assert code == 201, created

    async def is_served():
        return (await http("GET", WIDGETS))[0] == 200

    await until(is_served)


async def redefine(http, properties):
    """Change the schema, and wait until it is what objects are held to."""
    _, crd = await http("GET", CRD)
    sentinel = crd["metadata"]["resourceVersion"]
    properties = properties | {SENTINEL: {"type": "string", "enum": [f"is-{sentinel}"]}}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "object", "properties": properties}
    code, answer = await http("PUT", CRD, crd)
    assert code == 200, answer

    async def is_in_force():
        _, refused = await apply(http, "sentinel", {SENTINEL: "x"})
        return f"is-{sentinel}" in refused.get("message", "")

    await until(is_in_force)


async def apply(http, name, fields, labels=None):
    obj = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "labels": labels or {}},
    } | fields
    path = f"{WIDGETS}/{name}?fieldManager=manager"
    return await http("PATCH", path, obj, content_type=APPLY)


async def walk(http, before, properties, after, labels=None):
    """Apply an object, change the schema, apply another: the answer."""
    await define(http)
    code, answer = await apply(http, "w", before)
    assert code == 201, answer
    await redefine(http, properties)
    return await apply(http, "w", after, labels or {"foo": "bar"})


async def test_an_update_is_forgiven_what_it_leaves_alone(http):
    code, answer = await walk(http, instance("foo"), everywhere(enum=["notfoo"]), instance("foo"))
    assert code == 200, answer


async def test_an_update_is_not_forgiven_what_it_changes(http):
    code, answer = await walk(http, instance("foo"), everywhere(enum=["foo"]), instance("notfoo"))
    assert code == 422
    assert all(place in answer["message"] for place in (*PLACES, "map.foo.field", "map.bar.field"))


async def test_items_without_a_history_are_not_forgiven(http):
    items = {"type": "array", "items": TEXT | {"enum": ["good"]}}
    lists = {"atomicArray": items, "setArray": items | {"x-kubernetes-list-type": "set"}}
    before = {"atomicArray": ["a", "b"], "setArray": ["a", "b"]}
    after = {"atomicArray": ["a", "b", "good"], "setArray": ["a", "b", "good"]}
    code, answer = await walk(http, before, lists, after)
    assert code == 422
    assert "atomicArray[0]" in answer["message"] and "setArray[0]" in answer["message"]


async def test_rules_are_not_held_against_what_stays(http):
    rule = {"x-kubernetes-validations": [{"rule": "self == 'foo'"}]}
    code, answer = await walk(http, instance("notfoo"), everywhere(**rule), instance("notfoo"))
    assert code == 200, answer


async def test_transition_rules_are_never_forgiven(http):
    rule = {"maxLength": 5, "x-kubernetes-validations": [{"rule": "self != oldSelf"}]}
    code, answer = await walk(http, instance("foo"), everywhere(**rule), instance("foo"))
    assert code == 422
    assert all(place in answer["message"] for place in (*PLACES, "map[foo].field", "map[bar].field"))


async def test_an_optional_old_value_is_asked_for_on_creation_too(http):
    rule = {"rule": "!oldSelf.hasValue() || self != oldSelf.value()", "optionalOldSelf": True}
    await define(http)
    await redefine(http, everywhere(**{"maxLength": 5, "x-kubernetes-validations": [rule]}))
    assert (await apply(http, "w", instance("foo")))[0] == 201
    code, answer = await apply(http, "w", instance("foo"), {"foo": "bar"})
    assert code == 422
    assert all(place in answer["message"] for place in (*PLACES, "map[foo].field", "map[bar].field"))
    assert (await apply(http, "w", instance("new")))[0] == 200


SUM = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "self.x + self.y > 0"}],
            "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
        }
    },
}


@pytest.mark.parametrize(("x", "code"), [(1, 201), (0, 422)])
async def test_rules_are_asked_on_creation(http, x, code):
    await define(http, SUM)
    found, answer = await apply(http, "w", {"spec": {"x": x, "y": 0}})
    assert found == code
    assert code == 201 or "failed rule: self.x + self.y > 0" in answer["message"]


async def test_a_definition_whose_rule_names_an_unknown_field_is_refused(http):
    schema = json.loads(json.dumps(SUM).replace("self.x + self.y > 0", "self.z == 100"))
    code, answer = await http("POST", CRDS, definition(version("v1", schema)))
    assert code == 422
    assert "undefined field 'z'" in answer["message"]


def pairs_of(items, limits):
    """A list whose rule compares each item with each other."""
    rule = {"rule": "self.all(x, self.all(y, x == y))"}
    large = {"type": "array", "items": items, "x-kubernetes-validations": [rule]} | limits
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": {"large": large}}}}


async def test_a_definition_whose_rule_may_cost_too_much_is_refused(http):
    code, answer = await http("POST", CRDS, definition(version("v1", pairs_of(TEXT, {}))))
    assert code == 422
    assert "estimated rule cost exceeds budget by factor of more than 100x" in answer["message"]


async def test_an_object_whose_rule_costs_too_much_is_refused(http):
    await define(http, pairs_of({"type": "integer"}, {"maxItems": 725}))
    code, answer = await apply(http, "w", {"spec": {"large": [1] * 725}})
    assert code == 422
    assert "call cost exceeds limit" in answer["message"]
    assert (await apply(http, "w", {"spec": {"large": [1] * 70}}))[0] == 201
