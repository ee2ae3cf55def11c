"""Server-side apply and managedFields as a client sees them."""

import asyncio

import pytest

from sparsam.objects import fieldsets
from tests.support.apiserver import serving
from tests.support.http import http_client

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
SPEC = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "w", "image": "i"}]}},
}


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        yield client


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(**spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": SPEC | spec}


async def apply(http, path, config, manager="m", query="", **headers):
    return await http("PATCH", f"{path}?fieldManager={manager}{query}", config, content_type=APPLY, **headers)


def owners(obj):
    return {
        "/".join(filter(None, (each["manager"], each["operation"], each.get("subresource")))): [
            fieldsets.format_path(path) for path in fieldsets.paths(each["fieldsV1"])
        ]
        for each in obj["metadata"].get("managedFields", [])
    }


async def test_applying_creates_and_then_changes(http):
    code, created = await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"))
    assert (code, created["data"], owners(created)) == (201, {"a": "1"}, {"m/Apply": [".data.a"]})
    code, same = await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"))
    assert (code, same) == (200, created)
    code, changed = await apply(http, f"{CONFIGMAPS}/c", b"apiVersion: v1\nkind: ConfigMap\ndata: {b: '2'}\n")
    assert (code, changed["data"], owners(changed)) == (200, {"b": "2"}, {"m/Apply": [".data.b"]})


async def test_an_apply_that_changes_nothing_keeps_version_and_times(http):
    _, created = await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"))
    await asyncio.sleep(1.1)
    assert (await apply(http, f"{CONFIGMAPS}/c", config_map(a="1")))[1] == created


async def test_fields_of_others_are_a_conflict_unless_forced(http):
    await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"), "one")
    code, status = await apply(http, f"{CONFIGMAPS}/c", config_map(a="2"), "two")
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    code, forced = await apply(http, f"{CONFIGMAPS}/c", config_map(a="2"), "two", "&force=true")
    assert (code, owners(forced)) == (200, {"two/Apply": [".data.a"]})


async def test_a_dry_run_stores_nothing(http):
    code, made = await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"), query="&dryRun=All")
    assert (code, owners(made)) == (201, {"m/Apply": [".data.a"]})
    assert (await http("GET", f"{CONFIGMAPS}/c"))[0] == 404
    await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"))
    assert (await apply(http, f"{CONFIGMAPS}/c", config_map(a="2"), query="&dryRun=All"))[1]["data"] == {"a": "2"}
    assert (await http("GET", f"{CONFIGMAPS}/c"))[1]["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("query", "content_type", "field"),
    [
        ("", APPLY, "fieldManager"),
        ("?fieldManager=" + "x" * 129, APPLY, "fieldManager"),
        ("?force=true", MERGE, "force"),
        ("?fieldManager=a%0Ab", MERGE, "fieldManager"),
        ("?fieldManager=m&dryRun=x", APPLY, "dryRun"),
    ],
)
async def test_options_are_checked(http, query, content_type, field):
    code, status = await http("PATCH", f"{CONFIGMAPS}/c{query}", config_map(), content_type=content_type)
    assert (code, status["details"]["kind"]) == (422, "PatchOptions")
    assert [cause["field"] for cause in status["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"kind": "Secret"}, 400, "invalid object type"),
        ({"metadata": {"name": "other"}}, 400, "does not match the name on the URL"),
        ({"metadata": {"name": "c", "namespace": "other"}}, 400, "does not match the namespace"),
        ({"metadata": {"name": "c", "managedFields": [{}]}}, 400, "metadata.managedFields must be nil"),
        ({"metadata": {"name": "c", "uid": "u"}}, 409, "uid mismatch: the provided object specified uid u"),
        ({"metadata": {"name": "c", "labels": {"a b": "c"}}}, 422, "metadata.labels"),
        ({"dada": {}}, 400, ".dada: field not declared in schema"),
    ],
)
async def test_configurations_are_checked(http, change, code, message):
    got, status = await apply(http, f"{CONFIGMAPS}/c", config_map() | change)
    assert got == code
    assert message in status["message"]
    assert (await http("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_versions_guard_what_is_there_and_not_what_is_not(http):
    config = config_map(a="1")
    config["metadata"]["resourceVersion"] = "1"
    assert (await apply(http, f"{CONFIGMAPS}/c", config))[0] == 201
    code, status = await apply(http, f"{CONFIGMAPS}/c", config)
    assert (code, status["reason"]) == (409, "Conflict")
    assert "the object has been modified" in status["message"]
    config["metadata"] = {"name": "c", "uid": "other"}
    assert (await apply(http, f"{CONFIGMAPS}/c", config))[0] == 409


async def test_keys_that_stand_twice_are_refused_or_told(http):
    raw = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: '1'\n  a: '2'\n"
    code, status = await apply(http, f"{CONFIGMAPS}/c", raw, query="&fieldValidation=Strict")
    assert (code, status["reason"]) == (400, "BadRequest")
    assert 'line 6: key "a" already set in map' in status["message"]
    assert (await apply(http, f"{CONFIGMAPS}/c", raw))[0] == 201
    assert 'key \\"a\\" already set in map' in http.headers["warning"]
    assert (await apply(http, f"{CONFIGMAPS}/c", raw, query="&fieldValidation=Ignore"))[0] == 200
    assert "warning" not in http.headers


async def test_who_may_not_create_may_not_create_by_applying(http):
    role = {"metadata": {"name": "r"}, "rules": [{"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]}]}
    await http("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role)
    subject = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "r"}, "subjects": [subject], "roleRef": reference}
    await http("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding)
    await apply(http, f"{CONFIGMAPS}/there", config_map("there", a="1"))
    async with asyncio.timeout(20):
        while (await apply(http, f"{CONFIGMAPS}/there", config_map("there"), impersonate_user="jane"))[0] != 200:
            await asyncio.sleep(0.1)
    code, status = await apply(http, f"{CONFIGMAPS}/c", config_map(), impersonate_user="jane")
    assert code == 403
    assert 'configmaps "c" is forbidden: User "jane" cannot create resource "configmaps"' in status["message"]


async def test_status_is_applied_through_its_own_path(http):
    assert (await apply(http, f"{DEPLOYMENTS}/d/status", deployment()))[0] == 404
    await apply(http, f"{DEPLOYMENTS}/d", deployment(replicas=1))
    wish = deployment(replicas=7) | {"status": {"replicas": 3}}
    code, changed = await apply(http, f"{DEPLOYMENTS}/d/status", wish, "controller")
    assert (code, changed["spec"]["replicas"], changed["status"]) == (200, 1, {"replicas": 3})
    assert owners(changed)["controller/Apply/status"] == [".status.replicas"]


async def test_a_scale_is_applied_to_the_replicas(http):
    await apply(http, f"{DEPLOYMENTS}/d", deployment(replicas=1), "owner")
    wish = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 4}}
    code, status = await apply(http, f"{DEPLOYMENTS}/d/scale", wish, "hpa")
    assert (code, status["message"]) == (409, 'Apply failed with 1 conflict: conflict with "owner": .spec.replicas')
    code, scaled = await apply(http, f"{DEPLOYMENTS}/d/scale", wish, "hpa", "&force=true")
    assert (code, scaled["kind"], scaled["spec"]) == (200, "Scale", {"replicas": 4})
    _, read = await http("GET", f"{DEPLOYMENTS}/d")
    assert owners(read)["hpa/Apply/scale"] == [".spec.replicas"]
    assert ".spec.replicas" not in owners(read)["owner/Apply"]
    await http("PUT", f"{DEPLOYMENTS}/d/scale", wish | {"spec": {"replicas": 5}}, user_agent="kubectl/1")
    _, read = await http("GET", f"{DEPLOYMENTS}/d")
    assert owners(read)["kubectl/Update/scale"] == [".spec.replicas"]


async def test_plain_writes_are_remembered_by_program_or_manager(http):
    _, made = await http("POST", CONFIGMAPS, config_map(a="1"), user_agent="maker/1.2 (linux)")
    assert owners(made) == {"maker/Update": [".data", ".data.a"]}
    wish = config_map(a="1", b="2")
    _, changed = await http("PUT", f"{CONFIGMAPS}/c?fieldManager=putter", wish, user_agent="maker/1.2")
    assert owners(changed) == {"maker/Update": [".data", ".data.a"], "putter/Update": [".data.b"]}
    patch = {"data": {"a": "3"}}
    _, patched = await http("PATCH", f"{CONFIGMAPS}/c?fieldManager=patcher", patch, content_type=MERGE)
    assert owners(patched) == {"maker/Update": [".data"], "putter/Update": [".data.b"], "patcher/Update": [".data.a"]}


async def test_defaults_are_owned_and_what_admission_adds_is_not(http):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "w", "image": "i"}]}}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    _, made = await http("POST", "/api/v1/namespaces/default/pods", pod, user_agent="maker/1")
    paths = owners(made)["maker/Update"]
    assert ".spec.restartPolicy" in paths
    assert '.spec.containers[name="w"].imagePullPolicy' in paths
    assert not any("volumes" in path or "priority" in path or "tolerations" in path for path in paths)


async def test_entries_can_be_forgotten(http):
    await http("POST", CONFIGMAPS, config_map(a="1"))
    for number, entries in enumerate(([{}], [])):
        patch = {"data": {"n": str(number)}, "metadata": {"managedFields": entries}}
        assert owners((await http("PATCH", f"{CONFIGMAPS}/c", patch, content_type=MERGE))[1]) == {}
        _, applied = await apply(http, f"{CONFIGMAPS}/c", config_map(a="1"))
        assert set(owners(applied)) == {"before-first-apply/Update", "m/Apply"}


async def test_many_appliers_at_once_all_have_their_way(http):
    names = [f"m{number}" for number in range(12)]
    answers = await asyncio.gather(*(apply(http, f"{CONFIGMAPS}/c", config_map(**{name: "1"}), name) for name in names))
    assert sorted(code for code, _ in answers) == [200] * 11 + [201]
    _, read = await http("GET", f"{CONFIGMAPS}/c")
    assert owners(read) == {f"{name}/Apply": [f".data.{name}"] for name in names}


async def test_entries_of_one_version_follow_changes_in_the_other(http):
    group = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}
    scaler = {"metadata": {"name": "h"}, "spec": spec}
    _, made = await http("POST", group.format("v1"), scaler, user_agent="old/1")
    assert ".spec.targetCPUUtilizationPercentage" in owners(made)["old/Update"]
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    patch = {"spec": {"metrics": [{"type": "Resource", "resource": cpu}]}}
    path = group.format("v2") + "/h"
    _, changed = await http("PATCH", path, patch, content_type=MERGE, user_agent="new/1")
    assert owners(changed)["new/Update"] == [".spec.metrics"]
    assert ".spec.targetCPUUtilizationPercentage" not in owners(changed)["old/Update"]
    assert ".spec.maxReplicas" in owners(changed)["old/Update"]
