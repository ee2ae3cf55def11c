import pytest

from tests.support.apiserver import serving
from tests.support.http import http_client

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", ACCOUNTS, {"metadata": {"name": "default"}})
        yield client


def pod(name, **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def create_pod(http, name="p", **metadata):
    code, created = await http("POST", PODS, pod(name, **metadata))
    assert code == 201, created
    return created


def binding(node, **metadata):
    return {"metadata": metadata, "target": {"kind": "Node", "name": node}}


async def test_status_is_written_through_its_own_path_only(http):
    await create_pod(http)
    await http("PATCH", f"{PODS}/p", {"status": {"phase": "Failed"}}, content_type=MERGE)
    assert (await http("GET", f"{PODS}/p"))[1].get("status", {}).get("phase") != "Failed"
    code, written = await http("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE)
    assert (code, written["status"]["phase"]) == (200, "Running")
    code, read = await http("GET", f"{PODS}/p/status")
    assert (code, read) == (200, written)


async def test_a_binding_sets_the_node_and_the_condition(http):
    await create_pod(http)
    code, status = await http("POST", f"{PODS}/p/binding", binding("n1", annotations={"why": "cheap"}))
    assert (code, status["status"]) == (201, "Success")
    _, bound = await http("GET", f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["metadata"]["annotations"]["why"] == "cheap"
    (condition,) = (each for each in bound["status"]["conditions"] if each["type"] == "PodScheduled")
    assert condition["status"] == "True"


async def test_a_pod_is_bound_once(http):
    await create_pod(http)
    await http("POST", f"{PODS}/p/binding", binding("n1"))
    code, status = await http("POST", f"{PODS}/p/binding", binding("n2"))
    assert (code, status["reason"]) == (409, "Conflict")
    assert 'pod p is already assigned to node "n1"' in status["message"]


async def test_the_old_way_to_bind_still_works(http):
    await create_pod(http)
    code, _ = await http("POST", "/api/v1/namespaces/default/bindings", binding("n1", name="p"))
    assert code == 201
    assert (await http("GET", f"{PODS}/p"))[1]["spec"]["nodeName"] == "n1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"target": {"kind": "Node", "name": ""}}, 422),
        ({"target": {"kind": "Pod", "name": "n"}}, 422),
        ({"metadata": {"name": "q"}, "target": {"name": "n"}}, 400),
        ({"metadata": {"uid": "other"}, "target": {"name": "n"}}, 409),
    ],
)
async def test_a_binding_that_cannot_be_meant_is_refused(http, body, code):
    await create_pod(http)
    assert (await http("POST", f"{PODS}/p/binding", body))[0] == code
    assert "nodeName" not in (await http("GET", f"{PODS}/p"))[1]["spec"]


async def test_a_bound_pod_goes_in_two_steps_and_an_unbound_one_at_once(http):
    await create_pod(http)
    await create_pod(http, "q")
    await http("POST", f"{PODS}/p/binding", binding("n1"))
    code, going = await http("DELETE", f"{PODS}/p")
    assert code == 200
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await http("DELETE", f"{PODS}/p?gracePeriodSeconds=0"))[0] == 200
    assert (await http("GET", f"{PODS}/p"))[0] == 404
    assert (await http("DELETE", f"{PODS}/q"))[0] == 200
    assert (await http("GET", f"{PODS}/q"))[0] == 404


async def test_scale_shows_and_sets_replicas(http):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    assert (await http("POST", DEPLOYMENTS, {"metadata": {"name": "w"}, "spec": spec}))[0] == 201
    code, scale = await http("GET", f"{DEPLOYMENTS}/w/scale")
    assert (code, scale["spec"]["replicas"], scale["status"]["selector"]) == (200, 2, "a=b")
    scale["spec"]["replicas"] = 3
    assert (await http("PUT", f"{DEPLOYMENTS}/w/scale", scale))[0] == 200
    code, scale = await http("PATCH", f"{DEPLOYMENTS}/w/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    assert (code, scale["spec"]["replicas"]) == (200, 5)
    assert (await http("GET", f"{DEPLOYMENTS}/w"))[1]["spec"]["replicas"] == 5
    code, status = await http("PATCH", f"{DEPLOYMENTS}/w/scale", {"spec": {"replicas": -1}}, content_type=MERGE)
    assert (code, status["details"]["causes"][0]["field"]) == (422, "spec.replicas")


async def test_an_eviction_deletes_the_pod(http):
    await create_pod(http)
    code, status = await http("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert (code, status["status"]) == (201, "Success")
    assert (await http("GET", f"{PODS}/p"))[0] == 404


async def test_an_eviction_respects_a_spent_budget(http):
    await create_pod(http, labels={"app": "x"})
    await http("POST", f"{PODS}/p/binding", binding("n1"))
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await http("PATCH", f"{PODS}/p/status", ready, content_type="application/strategic-merge-patch+json")
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    code, budget = await http("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    assert code == 201, budget
    counts = {
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
        "observedGeneration": 1,
    }
    await http("PATCH", f"{budgets}/b/status", {"status": counts}, content_type=MERGE)
    code, status = await http("POST", f"{PODS}/p/eviction", {})
    assert (code, status["reason"]) == (429, "TooManyRequests")
    assert (
        status["details"]["causes"][0]["message"] == "The disruption budget b needs 1 healthy pods and has 1 currently"
    )
    await http("PATCH", f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}}, content_type=MERGE)
    assert (await http("POST", f"{PODS}/p/eviction", {}))[0] == 201
    assert (await http("GET", f"{budgets}/b"))[1]["status"]["disruptionsAllowed"] == 0


async def test_a_namespace_goes_when_it_is_finalized(http):
    await http("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}})
    _, going = await http("DELETE", "/api/v1/namespaces/n")
    assert going["status"]["phase"] == "Terminating"
    assert (await http("GET", "/api/v1/namespaces/n"))[0] == 200
    going["spec"]["finalizers"] = []
    assert (await http("PUT", "/api/v1/namespaces/n/finalize", going))[0] == 200
    assert (await http("GET", "/api/v1/namespaces/n"))[0] == 404


async def test_a_token_must_hold_for_ten_minutes(http):
    code, status = await http(
        "POST", f"{ACCOUNTS}/default/token", {"spec": {"audiences": ["a"], "expirationSeconds": 10}}
    )
    assert (code, status["reason"]) == (422, "Invalid")


async def test_a_token_may_be_bound_to_a_pod_and_dies_with_it(http):
    created = await create_pod(http)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": created["metadata"]["uid"]}
    spec = {"audiences": ["vault"], "boundObjectRef": reference}
    code, issued = await http("POST", f"{ACCOUNTS}/default/token", {"spec": spec})
    assert (code, issued["spec"]["expirationSeconds"]) == (201, 3600)
    review = {"spec": {"token": issued["status"]["token"], "audiences": ["vault"]}}
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert (await http("POST", reviews, review))[1]["status"]["authenticated"] is True
    await http("DELETE", f"{PODS}/p")
    assert "authenticated" not in (await http("POST", reviews, review))[1]["status"]
    reference["uid"] = "other"
    assert (await http("POST", f"{ACCOUNTS}/default/token", {"spec": spec}))[0] in (404, 409)


async def test_access_reviews_answer_what_the_authorizer_would(http):
    group = "/apis/authorization.k8s.io/v1"
    question = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}
    _, mine = await http("POST", f"{group}/selfsubjectaccessreviews", {"spec": question})
    assert mine["status"]["allowed"] is True
    _, theirs = await http("POST", f"{group}/subjectaccessreviews", {"spec": {**question, "user": "jane"}})
    assert theirs["status"]["allowed"] is False
    local = f"{group}/namespaces/default/localsubjectaccessreviews"
    assert (await http("POST", local, {"spec": {**question, "user": "jane"}}))[0] == 201
    assert (await http("POST", f"{group}/subjectaccessreviews", {"spec": {"user": "jane"}}))[0] == 422
    _, rules = await http("POST", f"{group}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    assert rules["status"]["resourceRules"][0]["verbs"] == ["*"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", f"{PODS}/p/status", 405),
        ("GET", f"{PODS}/p/binding", 405),
        ("GET", f"{PODS}/p/nope", 404),
        ("GET", f"{PODS}/p/status/more", 404),
        ("POST", f"{PODS}/none/binding", 404),
    ],
)
async def test_subresources_that_are_not_there_have_upstream_codes(http, method, path, code):
    assert (await http(method, path, binding("n") if method == "POST" else None))[0] == code
