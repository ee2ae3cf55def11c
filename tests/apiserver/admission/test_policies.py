"""ValidatingAdmissionPolicies against a real server."""

import asyncio

import aiohttp
import pytest

from sparsam.store.memory import MemoryStore
from tests.support.admission import BINDINGS, POLICIES, binding, enforce, policy, rule, settled
from tests.support.apiserver import serving
from tests.support.http import http_client

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def server(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    async with http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


def config_map(name="m", data=None, **metadata):
    return {"metadata": {"name": name, **metadata}, "data": data or {"a": "b"}}


async def test_a_policy_refuses_in_upstreams_words(http):
    await enforce(http, policy({"expression": "object.data.a == 'x'", "message": "a must be x"}))
    code, status = await http("POST", MAPS, config_map())
    message = (
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p.example.com' with binding 'b.example.com' denied "
        "request: a must be x"
    )
    assert (code, status["reason"], status["message"]) == (422, "Invalid", message)
    assert status["details"] == {
        "name": "m",
        "kind": "configmaps",
        "causes": [{"message": message.partition(": ")[2]}],
    }
    assert (await http("GET", f"{MAPS}/m"))[0] == 404
    assert (await http("POST", MAPS, config_map(data={"a": "x"})))[0] == 201
    code, status = await http("PATCH", f"{MAPS}/m", {"data": {"a": "y"}}, content_type=MERGE)
    assert (code, status["message"]) == (422, message)


@pytest.mark.parametrize(
    ("validation", "code", "told"),
    [
        ({"reason": "Forbidden"}, 403, "failed expression: object.data.a == 'x'"),
        ({"reason": "Unauthorized"}, 401, "failed expression: object.data.a == 'x'"),
        ({"reason": "RequestEntityTooLarge"}, 413, "failed expression: object.data.a == 'x'"),
        ({"messageExpression": "'got ' + object.data.a", "message": "no"}, 422, "got b"),
        ({"messageExpression": "string(object.data.nothing)", "message": " no "}, 422, "no"),
        ({"messageExpression": "'two\\nlines'"}, 422, "failed expression: object.data.a == 'x'"),
        ({"messageExpression": "' '"}, 422, "failed expression: object.data.a == 'x'"),
    ],
)
async def test_the_validation_says_why_and_with_which_code(http, validation, code, told):
    await enforce(http, policy({"expression": "object.data.a == 'x'", **validation}))
    got, status = await http("POST", MAPS, config_map())
    assert got == code
    assert status["message"].endswith(f"denied request: {told}")


async def test_a_policy_takes_effect_changes_and_goes(http):
    assert (await http("POST", POLICIES, policy("false")))[0] == 201
    assert (await http("POST", MAPS, config_map("unbound")))[0] == 201
    assert (await http("POST", BINDINGS, binding()))[0] == 201
    await settled(http)
    assert (await http("POST", MAPS, config_map()))[0] == 422
    change = {"spec": {"validations": [{"expression": "true"}]}}
    assert (await http("PATCH", f"{POLICIES}/p.example.com", change, content_type=MERGE))[0] == 200
    await settled(http)
    assert (await http("POST", MAPS, config_map()))[0] == 201
    assert (await http("DELETE", f"{BINDINGS}/b.example.com"))[0] == 200


async def test_policies_are_known_after_a_restart_before_the_first_request(tmp_path):
    store = await MemoryStore.open()
    async with serving(tmp_path / "first", store=store) as server, http_client(server) as http:
        await enforce(http, policy("false"))
    async with serving(tmp_path / "second", store=store) as server, http_client(server) as http:
        assert (await http("POST", MAPS, config_map()))[0] == 422
    await store.close()


async def test_variables_are_computed_when_needed_and_build_on_each_other(http):
    variables = [
        {"name": "wanted", "expression": "['x', 'y']"},
        {"name": "ok", "expression": "object.data.a in variables.wanted"},
        {"name": "broken", "expression": "object.data.nothing == 'x'"},
    ]
    await enforce(http, policy("variables.ok", "variables.ok || variables.broken", variables=variables))
    assert (await http("POST", MAPS, config_map(data={"a": "x"})))[0] == 201
    code, status = await http("POST", MAPS, config_map("n"))
    assert code == 422
    assert status["message"].endswith("denied request: failed expression: variables.ok")


async def test_an_error_refuses_unless_the_policy_may_fail(http):
    await enforce(http, policy("object.data.nothing == 'x'"))
    code, status = await http("POST", MAPS, config_map())
    assert code == 422
    why = "expression 'object.data.nothing == 'x'' resulted in error: no such key: nothing"
    assert status["message"].endswith(f"denied request: {why}")
    change = {"spec": {"failurePolicy": "Ignore"}}
    assert (await http("PATCH", f"{POLICIES}/p.example.com", change, content_type=MERGE))[0] == 200
    await settled(http)
    assert (await http("POST", MAPS, config_map()))[0] == 201


async def test_warn_lets_pass_and_tells(http):
    await enforce(http, policy({"expression": "false", "message": "hm"}), binding(actions=["Warn", "Audit"]))
    assert (await http("POST", MAPS, config_map()))[0] == 201
    text = "Validation failed for ValidatingAdmissionPolicy 'p.example.com' with binding 'b.example.com': hm"
    assert http.headers["Warning"] == f'299 - "{text}"'


async def test_audit_alone_lets_pass(http):
    await enforce(http, policy("false"), binding(actions=["Audit"]))
    assert (await http("POST", MAPS, config_map()))[0] == 201


async def test_audit_annotations_that_fail_refuse(http):
    annotations = [{"key": "k", "valueExpression": "string(object.data.nothing)"}]
    await enforce(http, policy(auditAnnotations=annotations))
    code, status = await http("POST", MAPS, config_map())
    assert code == 422
    assert "resulted in error: no such key: nothing" in status["message"]


async def test_match_conditions_leave_requests_out(http):
    conditions = [
        {"name": "not-free", "expression": "!has(object.metadata.labels) || !('free' in object.metadata.labels)"}
    ]
    await enforce(http, policy("false", matchConditions=conditions))
    assert (await http("POST", MAPS, config_map("free", labels={"free": "1"})))[0] == 201
    assert (await http("POST", MAPS, config_map()))[0] == 422


async def test_selectors_rules_and_names_say_what_a_policy_is_about(http):
    constraints = {
        "resourceRules": [rule(), rule("deployments", "apps", resourceNames=["d"])],
        "excludeResourceRules": [rule(resourceNames=["excluded"])],
        "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        "namespaceSelector": {"matchLabels": {"policed": "yes"}},
    }
    await enforce(http, policy("false", matchConstraints=constraints))
    labels = {"metadata": {"labels": {"policed": "yes"}}}
    assert (await http("POST", MAPS, config_map("early")))[0] == 201
    assert (await http("PATCH", "/api/v1/namespaces/default", labels, content_type=MERGE))[0] == 200
    assert (await http("POST", MAPS, config_map("excluded")))[0] == 201
    assert (await http("POST", MAPS, config_map("skipped", labels={"skip": "1"})))[0] == 201
    assert (await http("POST", MAPS, config_map()))[0] == 422


async def test_a_binding_narrows_the_policy(http):
    await enforce(http, policy("false"), binding(matchResources={"objectSelector": {"matchLabels": {"a": "b"}}}))
    assert (await http("POST", MAPS, config_map()))[0] == 201
    assert (await http("POST", MAPS, config_map("n", labels={"a": "b"})))[0] == 422


async def test_deletion_is_seen_with_the_old_object_only(http):
    expression = "object == null && oldObject.data.a == 'free' && request.operation == 'DELETE'"
    await enforce(http, policy(expression, rules=[rule(operations=["DELETE"])]))
    await http("POST", MAPS, config_map("kept"))
    await http("POST", MAPS, config_map("free", data={"a": "free"}))
    assert (await http("DELETE", f"{MAPS}/kept"))[0] == 422
    assert (await http("DELETE", f"{MAPS}/free"))[0] == 200


async def test_the_request_the_namespace_and_the_authorizer_are_known(http):
    expressions = [
        "request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps' && request.name == 'm'",
        "request.namespace == 'default' && request.userInfo.username == 'kubernetes-admin' && !request.dryRun",
        "'system:masters' in request.userInfo.groups && request.operation == 'CREATE' && oldObject == null",
        "request.options.fieldManager == 'me'",
        "namespaceObject.metadata.name == 'default' && namespaceObject.status.phase == 'Active'",
        "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
        "!authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('create').allowed()",
        "authorizer.path('/healthz').check('get').allowed() && authorizer.requestResource.check('delete').allowed()",
    ]
    await enforce(http, policy(*expressions))
    code, answer = await http("POST", f"{MAPS}?fieldManager=me", config_map())
    assert code == 201, answer["message"]


async def test_parameters_come_by_name_or_by_selector(http):
    spec = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
    made = policy("object.data.a.size() <= int(params.data.most)", **spec)
    made["spec"]["matchConditions"] = [{"name": "no-params", "expression": "!object.metadata.name.startsWith('param')"}]
    reference = {"name": "param", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await enforce(http, made, binding(paramRef=reference))
    code, status = await http("POST", MAPS, config_map(data={"a": "12"}))
    assert code == 422
    assert status["message"].endswith(
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await http("DELETE", f"{BINDINGS}/b.example.com")
    await settled(http)
    assert (await http("POST", MAPS, config_map("param", {"most": "2"}, labels={"p": "1"})))[0] == 201
    assert (await http("POST", MAPS, config_map("param2", {"most": "1"}, labels={"p": "1"})))[0] == 201
    selected = {"selector": {"matchLabels": {"p": "1"}}, "parameterNotFoundAction": "Allow"}
    assert (await http("POST", BINDINGS, binding(paramRef=selected)))[0] == 201
    await settled(http)
    assert (await http("POST", MAPS, config_map(data={"a": "12"})))[0] == 422
    assert (await http("POST", MAPS, config_map(data={"a": "1"})))[0] == 201


async def test_parameters_that_are_allowed_to_be_missing_leave_the_request_alone(http):
    spec = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
    reference = {"name": "param", "namespace": "default", "parameterNotFoundAction": "Allow"}
    await enforce(http, policy("false", **spec), binding(paramRef=reference))
    assert (await http("POST", MAPS, config_map()))[0] == 201


async def test_a_kind_of_parameters_that_is_not_served_refuses(http):
    spec = {"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}}
    reference = {"name": "param", "parameterNotFoundAction": "Allow"}
    await enforce(http, policy("false", **spec), binding(paramRef=reference))
    code, status = await http("POST", MAPS, config_map())
    assert code == 422
    shown = "&ParamKind{APIVersion:example.com/v1,Kind:Limit,}"
    assert status["message"].endswith(f"failed to configure binding: paramKind kind `{shown}` not known")


async def test_policies_are_not_asked_about_policies(http):
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}
    await enforce(http, policy("false", matchConstraints={"resourceRules": [everything]}))
    assert (await http("POST", MAPS, config_map()))[0] == 422
    assert (await http("DELETE", f"{POLICIES}/p.example.com"))[0] == 200
    await settled(http)
    assert (await http("POST", MAPS, config_map()))[0] == 201


async def test_the_scale_subresource_shows_a_scale(http):
    await enforce(http, policy("object.spec.replicas <= 3", rules=[rule("deployments/scale", "apps")]))
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": 9, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    assert (await http("POST", path, {"metadata": {"name": "d"}, "spec": spec}))[0] == 201
    more = {"spec": {"replicas": 4}}
    assert (await http("PATCH", f"{path}/d/scale", more, content_type=MERGE))[0] == 422
    more["spec"]["replicas"] = 2
    assert (await http("PATCH", f"{path}/d/scale", more, content_type=MERGE))[0] == 200


async def test_connections_are_policed(http):
    connect = rule("pods/exec", operations=["CONNECT"])
    told = {"expression": "object.command[0] != 'rm'", "messageExpression": "'no ' + object.command.join(' ')"}
    await enforce(http, policy(told, "request.kind.kind == 'PodExecOptions'", rules=[connect]))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    path = "/api/v1/namespaces/default/pods/p/exec?command=rm&command=-r&stdout=true"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.session.ws_connect(http.server.url + path, protocols=["v5.channel.k8s.io"])
    assert refusal.value.status == 422


async def test_a_collection_is_deleted_one_by_one(http):
    await enforce(http, policy("oldObject.data.a != 'kept'", rules=[rule(operations=["DELETE"])]))
    for name, value in (("a", "x"), ("b", "kept")):
        await http("POST", MAPS, config_map(name, data={"a": value}))
    assert (await http("DELETE", MAPS))[0] == 422
    names = [each["metadata"]["name"] for each in (await http("GET", MAPS))[1]["items"]]
    assert "b" in names


async def test_a_dry_run_is_policed_and_told_apart(http):
    await enforce(http, policy("!request.dryRun"))
    assert (await http("POST", MAPS, config_map()))[0] == 201
    assert (await http("POST", f"{MAPS}?dryRun=All", config_map("n")))[0] == 422


async def test_other_versions_of_a_kind_are_policed_unless_the_policy_is_exact(http):
    scalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    scaler = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}}
    about = {**rule("horizontalpodautoscalers", "autoscaling"), "apiVersions": ["v2"]}
    checks = "object.apiVersion == 'autoscaling/v2' && request.kind.version == 'v2' && request.requestKind.version == 'v1' && "
    await enforce(http, policy(checks + "object.spec.maxReplicas < 5", rules=[about]))
    code, status = await http("POST", scalers, scaler)
    assert code == 422
    scaler["spec"]["maxReplicas"] = 4
    code, status = await http("POST", scalers, scaler)
    assert code == 201, status
    exact = {"matchConstraints": {"resourceRules": [about], "matchPolicy": "Exact"}}
    assert (await http("PATCH", f"{POLICIES}/p.example.com", {"spec": exact}, content_type=MERGE))[0] == 200
    await settled(http)
    scaler["spec"]["maxReplicas"], scaler["metadata"]["name"] = 9, "i"
    assert (await http("POST", scalers, scaler))[0] == 201


async def test_parameters_may_be_custom_resources(http):
    fields = {"type": "object", "properties": {"most": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": fields}}
    definition = {
        "metadata": {"name": "limits.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "limits", "singular": "limit", "kind": "Limit", "listKind": "LimitList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    code, answer = await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert code == 201, answer
    limit = {"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "l"}, "spec": {"most": 1}}
    while (await http("POST", "/apis/example.com/v1/limits", limit))[0] != 201:
        await asyncio.sleep(0.02)
    spec = {"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}}
    reference = {"name": "l", "parameterNotFoundAction": "Deny"}
    await enforce(http, policy("object.data.a.size() <= params.spec.most", **spec), binding(paramRef=reference))
    assert (await http("POST", MAPS, config_map(data={"a": "1"})))[0] == 201
    assert (await http("POST", MAPS, config_map("n", data={"a": "12"})))[0] == 422


async def test_an_expression_that_never_ends_is_broken_off_and_holds_nobody_up(http):
    nested = "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, a + b + c + d != ''))))"
    await enforce(http, policy(nested))
    slow = asyncio.create_task(http("POST", MAPS, config_map(data={f"k{place}": "v" for place in range(60)})))
    await asyncio.sleep(0.05)
    assert (await http("GET", "/api/v1/namespaces/default"))[0] == 200
    assert not slow.done()
    code, status = await slow
    assert code == 422
    assert "operation cancelled: actual cost limit exceeded" in status["message"]


async def test_what_does_not_compile_is_refused_field_by_field(http):
    made = policy(
        {"expression": "object.spec.replicas > ", "messageExpression": "1"},
        "params.x == 1",
        "1",
        variables=[{"name": "a", "expression": "nothing"}, {"name": "if", "expression": "1"}],
        matchConditions=[{"name": "c", "expression": "variables.a"}],
        auditAnnotations=[{"key": "k", "valueExpression": "1"}],
    )
    code, status = await http("POST", POLICIES, made)
    assert code == 422
    causes = {each["field"]: each["message"] for each in status["details"]["causes"]}
    assert list(causes) == [
        "spec.matchConditions[0].expression",
        "spec.variables[0].expression",
        "spec.variables[1].name",
        "spec.validations[0].expression",
        "spec.validations[0].messageExpression",
        "spec.validations[1].expression",
        "spec.validations[2].expression",
        "spec.auditAnnotations[0].valueExpression",
    ]
    assert "undeclared reference to 'variables'" in causes["spec.matchConditions[0].expression"]
    assert causes["spec.validations[2].expression"] == 'Invalid value: "1": must evaluate to bool but got int'
    told = causes["spec.auditAnnotations[0].valueExpression"]
    assert told == 'Invalid value: "1": must evaluate to one of [string null_type] but got int'
    assert causes["spec.validations[0].expression"].startswith(
        'Invalid value: "object.spec.replicas > ": compilation failed: ERROR: <input>:1:24: Syntax error: mismatched'
    )
    assert "undeclared reference to 'params'" in causes["spec.validations[1].expression"]


async def test_webhooks_with_conditions_that_do_not_compile_are_refused(http):
    hook = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://x.example/"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchConditions": [{"name": "c", "expression": "... [] bad expression"}],
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    code, status = await http("POST", path, {"metadata": {"name": "w"}, "webhooks": [hook]})
    assert code == 422
    assert "compilation failed" in status["message"]
    assert status["details"]["causes"][0]["field"] == "webhooks[0].matchConditions[0].expression"
