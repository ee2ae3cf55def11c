"""Admission webhooks against a real server, with webhooks over TLS on loopback."""

import asyncio
import base64

import pytest
from aiohttp import web

from sparsam.store.memory import MemoryStore
from tests.support.apiserver import serving
from tests.support.http import http_client
from tests.support.webhooks import CONFIGURATIONS, WebhookServer, allow, configure, deny, hook, patch

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


@pytest.fixture
async def hooks():
    async with WebhookServer() as server:
        yield server


def config_map(name="m", data=None, **metadata):
    return {"metadata": {"name": name, **metadata}, "data": data or {"a": "b"}}


def pod(name="p", **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "c", "image": "x"}]}}


async def test_a_validating_webhook_refuses_in_its_own_words(http, hooks):
    hooks.on("/deny", deny)
    await configure(http, "validating", "v", hook(hooks.client("/deny")))
    code, status = await http("POST", MAPS, config_map())
    assert code == 403
    assert status["message"] == 'admission webhook "hook.example.com" denied the request: the webhook says no'
    assert status["reason"] == "Forbidden"
    assert (await http("GET", f"{MAPS}/m"))[0] == 404


async def test_a_refusal_without_a_word_is_a_bad_request(http, hooks):
    hooks.on("/deny", lambda _review: {"allowed": False})
    await configure(http, "validating", "v", hook(hooks.client("/deny")))
    code, status = await http("POST", MAPS, config_map())
    assert code == 400
    assert status["message"] == 'admission webhook "hook.example.com" denied the request without explanation'


async def test_a_webhook_is_told_who_does_what_to_what(http, hooks):
    hooks.on("/allow", allow)
    await configure(http, "validating", "v", hook(hooks.client("/allow"), operations=["CREATE", "UPDATE", "DELETE"]))
    query = "?fieldManager=me&fieldValidation=Strict"
    assert (await http("POST", MAPS + query, config_map(data={"a": "1"})))[0] == 201
    assert (await http("PATCH", f"{MAPS}/m", {"data": {"a": "2"}}, content_type=MERGE))[0] == 200
    assert (await http("DELETE", f"{MAPS}/m", {"propagationPolicy": "Background"}))[0] == 200
    create, update, delete = [asked for asked in hooks.asked if asked["name"] == "m"]
    assert create["kind"] == create["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert create["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (create["namespace"], create["operation"], create["dryRun"]) == ("default", "CREATE", False)
    assert create["userInfo"]["username"] == "kubernetes-admin"
    assert "system:masters" in create["userInfo"]["groups"]
    assert create["options"] == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "fieldManager": "me",
        "fieldValidation": "Strict",
    }
    assert create["oldObject"] is None
    assert create["object"]["metadata"]["uid"]
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"a": "1"}, {"a": "2"})
    assert update["options"]["kind"] == "PatchOptions"
    assert (delete["object"], delete["oldObject"]["data"]) == (None, {"a": "2"})
    assert delete["options"]["propagationPolicy"] == "Background"


async def test_mutating_webhooks_see_what_the_ones_before_them_changed(http, hooks):
    hooks.on("/first", patch({"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}))

    def second(review):
        seen = review["object"]["data"].get("mutation-stage-1", "no")
        return patch({"op": "add", "path": "/data/mutation-stage-2", "value": seen})(review)

    hooks.on("/second", second)
    await configure(http, "mutating", "b", hook(hooks.client("/second")))
    await configure(http, "mutating", "a", hook(hooks.client("/first")))
    code, found = await http("POST", MAPS, config_map(data={"mutation-start": "yes"}))
    assert code == 201
    assert found["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}


async def test_a_changed_object_is_defaulted_and_validated(http, hooks):
    container = {"name": "webhook-added-init-container", "image": "y"}
    hooks.on("/add", patch({"op": "add", "path": "/spec/initContainers", "value": [container]}))
    await configure(http, "mutating", "m", hook(hooks.client("/add"), resources=("pods",)))
    code, found = await http("POST", PODS, pod())
    assert code == 201, str(found)
    assert found["spec"]["initContainers"][0]["terminationMessagePolicy"] == "File"
    hooks.on("/add", patch({"op": "add", "path": "/spec/initContainers", "value": [{"name": "NO", "image": "y"}]}))
    code, status = await http("POST", PODS, pod("q"))
    assert (code, status["details"]["causes"][0]["field"]) == (422, "spec.initContainers[0].name")


async def test_a_webhook_that_asks_for_it_sees_what_came_after_it(http, hooks):
    def count(review):
        seen = review["object"]["data"].get("late", "")
        return patch({"op": "add", "path": "/data/seen", "value": seen})(review)

    hooks.on("/early", count)
    hooks.on("/late", patch({"op": "add", "path": "/data/late", "value": "yes"}))
    early = hook(hooks.client("/early"), name="early.example.com", reinvocationPolicy="IfNeeded")
    await configure(http, "mutating", "m", early, hook(hooks.client("/late"), name="late.example.com"))
    _, found = await http("POST", MAPS, config_map())
    assert found["data"] == {"a": "b", "late": "yes", "seen": "yes"}
    assert len([asked for asked in hooks.asked if asked["name"] == "m"]) == 3


async def test_deletes_are_refused_too_one_by_one_and_in_a_collection(http, hooks):
    hooks.on("/deny", deny)
    assert (await http("POST", MAPS, config_map(labels={"x": "y"})))[0] == 201
    await configure(http, "validating", "v", hook(hooks.client("/deny"), operations=["DELETE"]))
    code, status = await http("DELETE", f"{MAPS}/m")
    assert (code, "the webhook says no" in status["message"]) == (403, True)
    assert (await http("DELETE", f"{MAPS}?labelSelector=x"))[0] == 403
    assert (await http("GET", f"{MAPS}/m"))[0] == 200


async def test_selectors_and_scopes_leave_requests_alone(http, hooks):
    hooks.on("/deny", deny)
    await http("POST", "/api/v1/namespaces", {"metadata": {"name": "free", "labels": {"skip": "yes"}}})
    bad_namespaces = {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}
    await configure(
        http,
        "validating",
        "v",
        hook(hooks.client("/deny"), namespaceSelector=bad_namespaces, name="a.example.com"),
        hook(hooks.client("/deny"), objectSelector={"matchLabels": {"bad": "yes"}}, name="b.example.com"),
        hook(hooks.client("/deny"), scope="Cluster", resources=("*",), name="c.example.com"),
    )
    assert (await http("POST", MAPS, config_map()))[0] == 403
    assert (await http("POST", MAPS.replace("default", "free"), config_map()))[0] == 201
    code, status = await http("POST", MAPS.replace("default", "free"), config_map("n", labels={"bad": "yes"}))
    assert (code, "b.example.com" in status["message"]) == (403, True)
    code, status = await http("POST", "/api/v1/namespaces", {"metadata": {"name": "no"}})
    assert (code, "c.example.com" in status["message"]) == (403, True)


async def test_an_equivalent_version_counts_unless_the_rule_is_exact(http, hooks):
    def told(review):
        target = review["object"]["spec"].get("targetCPUUtilizationPercentage")
        text = f"{review['kind']['version']} of {review['requestKind']['version']} {target}"
        return {"allowed": False, "status": {"message": text}}

    hooks.on("/told", told)
    rule = {"resources": ("horizontalpodautoscalers",), "groups": ["autoscaling"], "versions": ["v1"]}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    await configure(http, "validating", "v", hook(hooks.client("/told"), matchPolicy="Exact", **dict(rule)))
    assert (await http("POST", path, {"metadata": {"name": "h"}, "spec": spec}))[0] == 201
    await configure(http, "validating", "w", hook(hooks.client("/told"), **dict(rule)))
    _, status = await http("POST", path, {"metadata": {"name": "i"}, "spec": spec})
    assert status["message"].endswith("denied the request: v1 of v2 70")


async def test_dry_runs_call_only_webhooks_without_side_effects(http, hooks):
    hooks.on("/allow", allow)
    await configure(http, "validating", "v", hook(hooks.client("/allow"), sideEffects="NoneOnDryRun"))
    assert (await http("POST", f"{MAPS}?dryRun=All", config_map()))[0] == 201
    assert hooks.asked[-1]["dryRun"] is True


async def test_warnings_reach_the_client(http, hooks):
    hooks.on("/warn", lambda _review: {"allowed": True, "warnings": ["mind the gap"]})
    await configure(http, "validating", "v", hook(hooks.client("/warn"), operations=["CREATE", "DELETE"]))
    await http("POST", MAPS, config_map())
    assert http.headers["warning"] == '299 - "mind the gap"'
    await http("DELETE", f"{MAPS}/m")
    assert http.headers["warning"] == '299 - "mind the gap"'
    hooks.on("/warn", lambda review: {**deny(review), "warnings": ["told you so"]})
    assert (await http("POST", MAPS, config_map()))[0] == 403
    assert http.headers["warning"] == '299 - "told you so"'


async def test_parts_of_objects_are_reviewed_as_what_they_are(http, hooks):
    def told(review):
        text = f"{review['object']['kind']} of {review['resource']['resource']}/{review['subResource']}"
        return {"allowed": False, "status": {"message": f"{text} in {review['operation']}"}}

    await http("POST", PODS, pod())
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod(labels={"a": "b"})},
    }
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    assert (await http("POST", deployments, deployment))[0] == 201
    hooks.on("/told", told)
    parts = ("pods/eviction", "pods/binding", "pods/status", "pods/proxy", "deployments/scale")
    every = hook(hooks.client("/told"), resources=parts, groups=["*"], operations=["*"])
    await configure(http, "validating", "v", every)
    said = [
        await http("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}}),
        await http("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
        await http("PATCH", f"{PODS}/p/status", {"status": {"message": "x"}}, content_type=MERGE),
        await http("PATCH", f"{deployments}/d/scale", {"spec": {"replicas": 3}}, content_type=MERGE),
        await http("GET", f"{PODS}/p/proxy/x"),
    ]
    assert [status["message"].partition("denied the request: ")[2] for _, status in said] == [
        "Eviction of pods/eviction in CREATE",
        "Binding of pods/binding in CREATE",
        "Pod of pods/status in UPDATE",
        "Scale of deployments/scale in UPDATE",
        "PodProxyOptions of pods/proxy in CONNECT",
    ]
    code, told = await http("DELETE", f"{PODS}/p")
    assert code == 200, told


async def test_a_scale_may_be_changed(http, hooks):
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod(labels={"a": "b"})},
    }
    await http("POST", deployments, deployment)
    hooks.on("/five", patch({"op": "replace", "path": "/spec/replicas", "value": 5}))
    rule = {"resources": ("deployments/scale",), "groups": ["apps"], "operations": ["UPDATE"]}
    await configure(http, "mutating", "m", hook(hooks.client("/five"), **rule))
    _, found = await http("PATCH", f"{deployments}/d/scale", {"spec": {"replicas": 3}}, content_type=MERGE)
    assert found["spec"]["replicas"] == 5
    assert (await http("GET", f"{deployments}/d"))[1]["spec"]["replicas"] == 5


async def test_configurations_themselves_are_never_reviewed(http, hooks):
    hooks.on("/deny", deny)
    hooks.on("/patch", patch({"op": "add", "path": "/metadata/labels", "value": {"changed": "yes"}}))
    everything = {"groups": ["admissionregistration.k8s.io"], "resources": ("*",), "operations": ["*"]}
    await configure(http, "validating", "v", hook(hooks.client("/deny"), **dict(everything)))
    await configure(http, "mutating", "m", hook(hooks.client("/patch"), **dict(everything)))
    body = {"metadata": {"name": "x"}, "webhooks": []}
    code, found = await http("POST", f"{CONFIGURATIONS}/validatingwebhookconfigurations", body)
    assert (code, found["metadata"].get("labels")) == (201, None)
    assert (await http("DELETE", f"{CONFIGURATIONS}/validatingwebhookconfigurations/x"))[0] == 200


async def test_a_webhook_behind_a_service_is_reached_at_its_endpoints(http, hooks):
    hooks.on("/deny", deny)
    service = {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 8443, "targetPort": hooks.port}]}}
    assert (await http("POST", "/api/v1/namespaces/default/services", service))[0] == 201
    endpoints = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"port": hooks.port}],
        "endpoints": [],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    await configure(http, "validating", "v", hook(hooks.service_client("/deny", port=8443)))
    head = 'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: Post '
    url = '"https://hook.default.svc:8443/deny?timeout=10s": '
    _, status = await http("POST", MAPS, config_map())
    assert status["message"] == f'{head}{url}no endpoints available for service "hook"'
    # The validation of slices keeps loopback out; what is stored is followed all the same.
    await put_slice(http.server.store, {**endpoints, "endpoints": [{"addresses": ["127.0.0.1"]}]})
    code, status = await http("POST", MAPS, config_map())
    assert (code, "the webhook says no" in status["message"]) == (403, True), status
    assert (await http("GET", slices))[0] == 200


async def put_slice(store, endpoint_slice):
    from sparsam.objects import codec
    from sparsam.objects.kinds import ENDPOINTSLICES

    await store.create(ENDPOINTSLICES.key("hook-1", "default"), codec.encode(endpoint_slice))


FAILING = 'Internal error occurred: failed calling webhook "hook.example.com": '


async def hang(_review):
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _r: web.Response(text="hello"), "failed to call webhook: couldn't get version/kind; json parse error"),
        (lambda _r: web.Response(status=404), "failed to call webhook: the server could not find the requested resource"),
        (
            lambda _r: web.Response(status=500, text="oops"),
            'failed to call webhook: an error on the server ("oops") has prevented the request from succeeding',
        ),
        (lambda _r: web.HTTPFound("https://example.com/"), "failed to call webhook: the server responded with the status"),
        (lambda _r: web.json_response({"kind": "AdmissionReview"}), "received invalid webhook response: webhook response was absent"),
        (lambda _r: {"allowed": True, "uid": "other"}, 'received invalid webhook response: expected response.uid="'),
        (lambda _r: {"allowed": True, "patch": "W10="}, "received invalid webhook response: webhook returned response.patch but not response.patchType"),
        (lambda _r: {"allowed": True, "patchType": "JSONPatch"}, "received invalid webhook response: webhook returned response.patchType but not response.patch"),
        (lambda _r: web.Response(body=b"x" * (17 * 1024 * 1024)), "failed to call webhook: the answer is longer than"),
        (hang, 'failed to call webhook: Post "https://127.0.0.1:'),
    ],
    ids=["text", "404", "500", "redirect", "empty", "uid", "no type", "no patch", "giant", "hanging"],
)  # fmt: skip
async def test_bad_answers_fail_in_upstreams_words_and_harm_nobody_else(http, hooks, answer, words):
    hooks.on("/bad", answer)
    bad = hook(hooks.client("/bad"), timeoutSeconds=1)
    await configure(http, "mutating", "m", bad)
    refused, other = await asyncio.gather(http("POST", MAPS, config_map()), http("POST", PODS, pod()))
    assert (refused[0], refused[1]["reason"], other[0]) == (500, "InternalError", 201)
    assert refused[1]["message"].startswith(f"{FAILING}{words}"), refused[1]
    if answer is hang:
        assert refused[1]["message"].endswith('/bad?timeout=1s": context deadline exceeded')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            patch({"op": "add", "path": "/data/x", "value": "y"}, {"op": "remove", "path": "/nothing/there"}),
            'Internal error occurred: remove operation does not apply: doc is missing path: "/nothing/there": missing',
        ),
        (
            patch({"op": "test", "path": "/data/a", "value": "z"}),
            "Internal error occurred: testing value /data/a failed",
        ),
        (patch({"op": "burn", "path": "/data"}), "Internal error occurred: Unexpected kind: burn"),
        (patch({"op": "replace", "path": "", "value": 7}), "Internal error occurred: the patched object is no object"),
        (patch({"op": "add", "path": "/metadata", "value": 7}), "Internal error occurred: "),
        (lambda _r: {"allowed": True, "patchType": "JSONPatch", "patch": "!"}, "Internal error occurred: the patch"),
    ],
    ids=["missing", "test", "unknown", "no object", "type", "base64"],
)
async def test_patches_that_do_not_apply_are_internal_errors(http, hooks, answer, words):
    hooks.on("/bad", answer)
    await configure(http, "mutating", "m", hook(hooks.client("/bad")))
    code, status = await http("POST", MAPS, config_map())
    assert (code, status["message"].startswith(words)) == (500, True), status


async def test_a_webhook_may_not_move_an_object(http, hooks):
    hooks.on("/move", patch({"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}))
    await configure(http, "mutating", "m", hook(hooks.client("/move")))
    code, status = await http("POST", MAPS, config_map())
    assert (code, "does not match the namespace" in status["message"]) == (400, True)


async def test_who_may_fail_is_gone_without(http, hooks):
    nowhere = {"url": "https://127.0.0.1:1/x"}
    await configure(http, "validating", "v", hook(nowhere, failurePolicy="Ignore"))
    assert (await http("POST", MAPS, config_map()))[0] == 201
    await configure(http, "validating", "w", hook(nowhere, name="fail.example.com"))
    code, status = await http("POST", MAPS, config_map("n"))
    assert code == 500
    assert status["message"].endswith("dial tcp 127.0.0.1:1: connect: connection refused")
    assert status["details"]["causes"][0]["message"].startswith('failed calling webhook "fail.example.com"')


async def test_certificates_are_checked(http, hooks):
    hooks.on("/allow", allow)
    client = hooks.client("/allow")
    await configure(http, "validating", "v", hook({"url": client["url"]}))
    _, status = await http("POST", MAPS, config_map())
    assert status["message"].endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    other = {**client, "url": client["url"].replace("127.0.0.1", "localhost")}
    await configure(http, "validating", "u", hook(other))
    _, status = await http("POST", MAPS, config_map())
    assert status["message"].endswith("not valid for any names, but wanted to match localhost"), status
    bundle = base64.b64encode(b"no certificate").decode()
    await configure(http, "validating", "t", hook({**client, "caBundle": bundle}))
    _, status = await http("POST", MAPS, config_map())
    assert "could not get REST client: unable to load root certificates" in status["message"]


async def test_the_older_review_is_spoken_where_it_is_preferred(http, hooks):
    hooks.on("/old", lambda review: {**patch({"op": "add", "path": "/data/x", "value": "y"})(review), "uid": "any"})
    await configure(http, "mutating", "m", hook(hooks.client("/old"), admissionReviewVersions=["v1beta1", "v1"]))
    _, found = await http("POST", MAPS, config_map())
    assert found["data"] == {"a": "b", "x": "y"}
    assert hooks.versions[-1] == "admission.k8s.io/v1beta1"


async def test_changed_and_deleted_configurations_are_followed(http, hooks):
    hooks.on("/deny", deny)
    await configure(http, "validating", "v", hook(hooks.client("/deny")))
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations/v"
    operations = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["UPDATE"]}]
    assert (await http("PATCH", path, operations, content_type="application/json-patch+json"))[0] == 200
    await eventually(http, 201)
    await http("DELETE", path)
    assert (await http("POST", MAPS, config_map("last")))[0] == 201


async def eventually(http, wanted):
    for _ in range(200):
        if (await http("POST", f"{MAPS}?dryRun=All", config_map("probe")))[0] == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(wanted)


async def test_conditions_decide_whether_a_webhook_is_called(http, hooks):
    hooks.on("/deny", deny)
    conditions = [
        {"name": "not-skip-me", "expression": "object.metadata.name != 'skip-me'"},
        {"name": "not-nodes", "expression": "!('system:nodes' in request.userInfo.groups)"},
    ]
    await configure(http, "validating", "v", hook(hooks.client("/deny"), matchConditions=conditions))
    assert (await http("POST", MAPS, config_map("skip-me")))[0] == 201
    assert (await http("POST", MAPS, config_map("m")))[0] == 403


@pytest.mark.parametrize(("policy", "code"), [("Fail", 403), ("Ignore", 201)])
async def test_conditions_that_cannot_tell_do_as_the_failure_policy_says(http, hooks, policy, code):
    hooks.on("/deny", deny)
    conditions = [{"name": "broken", "expression": "object.data.missing == 'x'"}]
    failing = hook(hooks.client("/deny"), matchConditions=conditions, failurePolicy=policy)
    await configure(http, "mutating", "m", failing)
    found, status = await http("POST", MAPS, config_map())
    assert found == code
    if policy == "Fail":
        assert status["message"].startswith('configmaps "m" is forbidden: expression ')
        assert "no such key" in status["message"]


async def test_the_end_of_a_namespace_can_be_refused(http, hooks):
    hooks.on("/deny", deny)
    await http("POST", "/api/v1/namespaces", {"metadata": {"name": "held"}})
    rule = {"resources": ("namespaces/finalize",), "operations": ["UPDATE"]}
    await configure(http, "validating", "v", hook(hooks.client("/deny"), **rule))
    body = {"metadata": {"name": "held"}, "spec": {"finalizers": []}}
    code, status = await http("PUT", "/api/v1/namespaces/held/finalize", body)
    assert (code, "the webhook says no" in status["message"]) == (403, True)
    asked = hooks.asked[-1]
    assert (asked["object"]["spec"], asked["oldObject"]["spec"]) == ({}, {"finalizers": ["kubernetes"]})


async def test_reviews_of_tokens_are_requests_too(http, hooks):
    hooks.on("/deny", deny)
    rule = {"groups": ["authentication.k8s.io"], "resources": ("tokenreviews",)}
    await configure(http, "validating", "v", hook(hooks.client("/deny"), **rule))
    code, _ = await http("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}})
    assert code == 403


async def test_servers_over_one_store_call_the_same_webhooks(tmp_path, hooks):
    hooks.on("/deny", deny)
    store = await MemoryStore.open()
    async with (
        serving(tmp_path / "a", store=store) as one,
        serving(tmp_path / "b", store=store) as two,
        http_client(one) as first,
        http_client(two) as second,
    ):
        await configure(first, "validating", "v", hook(hooks.client("/deny")))
        await eventually(second, 403)
    async with serving(tmp_path / "c", store=store) as three, http_client(three) as third:
        # From its very first request on.
        assert (await third("POST", MAPS, config_map()))[0] == 403
    await store.close()
