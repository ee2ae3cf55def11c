"""Types of policies' expressions against a real server: the steps of upstream's test of type checking."""

import pytest

from tests.support.admission import POLICIES, policy, rule
from tests.support.apiserver import serving
from tests.support.controllers import eventually
from tests.support.http import http_client


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        yield client


async def checked(http, name="p.example.com"):
    async def look():
        status = (await http("GET", f"{POLICIES}/{name}"))[1].get("status") or {}
        return status if "typeChecking" in status else None

    return await eventually(look)


DEPLOYMENTS = [rule("deployments", "apps")]


async def test_right_types_give_no_warning(http):
    made = policy("object.spec.replicas > 1 && object.metadata.labels['a'] == 'b'", rules=DEPLOYMENTS)
    code, answer = await http("POST", POLICIES, made)
    assert (code, answer["status"]) == (201, {})
    assert await checked(http) == {"observedGeneration": 1, "typeChecking": {}}


async def test_confused_types_are_told_field_by_field(http):
    made = policy(
        {
            "expression": "object.spec.replicas > '1'",
            "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
        },
        "object.spec.nothing == variables.two",
        rules=[*DEPLOYMENTS, rule("pods")],
        variables=[{"name": "two", "expression": "2"}],
    )
    assert (await http("POST", POLICIES, made))[0] == 201
    told = (await checked(http))["typeChecking"]["expressionWarnings"]
    assert [each["fieldRef"] for each in told] == [
        "spec.validations[0].expression",
        "spec.validations[0].messageExpression",
        "spec.validations[1].expression",
    ]
    first = (
        "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'"
    )
    assert told[0]["warning"].splitlines()[4].startswith(first) or first in told[0]["warning"]
    assert "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'" in told[0]["warning"]
    assert "found no matching overload for '_+_' applied to '(string, int)'" in told[1]["warning"]
    assert "undefined field 'nothing'" in told[2]["warning"]


async def test_a_new_generation_is_looked_at_again(http):
    assert (await http("POST", POLICIES, policy("object.spec.nothing == 1", rules=DEPLOYMENTS)))[0] == 201
    assert "expressionWarnings" in (await checked(http))["typeChecking"]
    change = {"spec": {"validations": [{"expression": "object.spec.replicas == 1"}]}}
    merge = "application/merge-patch+json"
    assert (await http("PATCH", f"{POLICIES}/p.example.com", change, content_type=merge))[0] == 200

    async def look():
        return (await http("GET", f"{POLICIES}/p.example.com"))[1]["status"] == {
            "observedGeneration": 2,
            "typeChecking": {},
        }

    await eventually(look)


async def test_custom_resources_are_known_by_their_schemas(http):
    fields = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": fields}}
    definition = {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    code, answer = await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert code == 201, answer

    async def served():
        return (await http("GET", "/apis/example.com/v1/things"))[0] == 200

    await eventually(served)
    made = policy("object.spec.size == 'x'", "object.spec.size == 1", rules=[rule("things", "example.com")])
    assert (await http("POST", POLICIES, made))[0] == 201
    (told,) = (await checked(http))["typeChecking"]["expressionWarnings"]
    assert told["fieldRef"] == "spec.validations[0].expression"
    assert "example.com/v1, Kind=Thing: ERROR: <input>:1:18: found no matching overload for '_==_'" in told["warning"]
