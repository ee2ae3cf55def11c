import asyncio

import pytest

from tests.support.apiserver import serving
from tests.support.http import http_client

BASE = "/api/v1/namespaces/default"
PODS, QUOTAS, MAPS, SERVICES = (f"{BASE}/{name}" for name in ("pods", "resourcequotas", "configmaps", "services"))
MERGE = "application/merge-patch+json"


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


def pod(name="p", cpu="100m", **spec):
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def counted_quota(http, hard, *, name="q", used=None, **spec):
    await http("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    status = {"hard": hard, "used": used or dict.fromkeys(hard, "0")}
    code, quota = await http("PATCH", f"{QUOTAS}/{name}/status", {"status": status}, content_type=MERGE)
    assert code == 200, quota


async def used(http, name="q"):
    return (await http("GET", f"{QUOTAS}/{name}"))[1]["status"]["used"]


async def test_what_is_created_is_charged_until_the_quota_is_spent(http):
    await counted_quota(http, {"pods": "2", "memory": "1Gi"})
    code, status = await http("POST", PODS, pod())
    assert code == 403
    assert status["message"] == 'pods "p" is forbidden: failed quota: q: must specify memory for: c'
    await http("DELETE", f"{QUOTAS}/q")
    await counted_quota(http, {"pods": "9", "requests.cpu": "250m"})
    assert (await http("POST", PODS, pod()))[0] == 201
    assert (await http("POST", PODS, pod("o")))[0] == 201
    assert await used(http) == {"pods": "2", "requests.cpu": "200m"}
    code, status = await http("POST", PODS, pod("n"))
    assert (code, status["reason"], status["details"]["name"]) == (403, "Forbidden", "n")
    assert status["message"] == (
        'pods "n" is forbidden: exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=200m, '
        "limited: requests.cpu=250m"
    )
    assert await used(http) == {"pods": "2", "requests.cpu": "200m"}


async def test_a_dry_run_and_a_refused_object_cost_nothing(http):
    await counted_quota(http, {"configmaps": "1"})
    assert (await http("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "a"}}))[0] == 201
    assert (await http("POST", MAPS, {"metadata": {"name": "A-"}}))[0] == 422
    assert await used(http) == {"configmaps": "0"}
    assert (await http("POST", MAPS, {"metadata": {"name": "a"}}))[0] == 201
    assert (await http("POST", MAPS, {"metadata": {"name": "b"}}))[0] == 403


async def test_a_quota_that_is_not_counted_yet_refuses(http):
    await http("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "1"}}})
    assert (await http("POST", MAPS, {"metadata": {"name": "a"}}))[0] == 201
    hard = {"status": {"hard": {"configmaps": "1"}}}
    await http("PATCH", f"{QUOTAS}/q/status", hard, content_type=MERGE)
    code, status = await http("POST", MAPS, {"metadata": {"name": "b"}})
    assert code == 403
    assert status["message"] == 'configmaps "b" is forbidden: status unknown for quota: q, resources: configmaps'


async def test_scopes_choose_what_is_charged(http):
    await counted_quota(http, {"pods": "1"}, scopes=["BestEffort"])
    for name in ("a", "b"):
        assert (await http("POST", PODS, pod(name)))[0] == 201
    assert await used(http) == {"pods": "0"}
    assert (await http("POST", PODS, pod("c", cpu=None)))[0] == 201
    assert (await http("POST", PODS, pod("d", cpu=None)))[0] == 403


async def test_a_changed_service_is_charged_for_the_difference(http):
    await counted_quota(http, {"services": "5", "services.nodeports": "1"})
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    await http("POST", SERVICES, service)
    assert await used(http) == {"services": "1", "services.nodeports": "0"}
    patch = {"spec": {"type": "NodePort"}}
    code, status = await http("PATCH", f"{SERVICES}/s", patch, content_type=MERGE)
    assert code == 403
    assert "exceeded quota: q, requested: services.nodeports=2" in status["message"]


async def test_many_at_once_never_exceed_a_quota(http):
    await counted_quota(http, {"configmaps": "5"})
    answers = await asyncio.gather(*(http("POST", MAPS, {"metadata": {"name": f"m{n}"}}) for n in range(20)))
    assert sorted(code for code, _ in answers) == [201] * 5 + [403] * 15
    assert await used(http) == {"configmaps": "5"}
