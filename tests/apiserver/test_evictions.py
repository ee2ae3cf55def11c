import pytest

from sparsam.apiserver.evictions import costs_nothing, may_become_ready, needs_budget, spend
from sparsam.errors import Forbidden, TooManyRequests
from tests.support.apiserver import serving
from tests.support.http import http_client

NOW = "2026-01-01T00:00:00Z"
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def pod(phase="Running", ready=True, **metadata):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": "p", **metadata}, "status": {"phase": phase, "conditions": conditions}}


def budget(policy=None, **status):
    spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    return {"metadata": {"name": "b", "generation": 1}, "spec": spec, "status": {"observedGeneration": 1, **status}}


@pytest.mark.parametrize(
    ("phase", "guarded", "held"),
    [
        ("Running", True, True),
        ("Unknown", True, True),
        ("Pending", False, True),
        ("Succeeded", False, False),
        ("Failed", False, False),
    ],
)
def test_only_pods_that_run_are_disrupted(phase, guarded, held):
    assert (needs_budget(pod(phase)), may_become_ready(pod(phase))) == (guarded, held)


def test_a_pod_that_goes_already_is_not_disrupted():
    assert not needs_budget(pod(deletionTimestamp=NOW))
    assert not may_become_ready(pod("Pending", deletionTimestamp=NOW))


@pytest.mark.parametrize(
    ("ready", "policy", "healthy", "desired", "expected"),
    [
        (True, "AlwaysAllow", 3, 1, False),
        (False, "AlwaysAllow", 0, 1, True),
        (False, None, 1, 1, True),
        (False, "IfHealthyBudget", 2, 1, True),
        (False, "IfHealthyBudget", 0, 1, False),
        (False, None, 0, 0, False),
    ],
)
def test_unhealthy_pods_go_as_the_policy_says(ready, policy, healthy, desired, expected):
    counted = budget(policy, currentHealthy=healthy, desiredHealthy=desired)
    assert costs_nothing(pod(ready=ready), counted) is expected


def test_the_last_disruption_changes_the_condition_too():
    counted = budget(disruptionsAllowed=2)
    spend(counted, "p", NOW)
    assert (counted["status"]["disruptionsAllowed"], counted["status"]["disruptedPods"]) == (1, {"p": NOW})
    assert "conditions" not in counted["status"]
    spend(counted, "q", NOW)
    assert set(counted["status"]["disruptedPods"]) == {"p", "q"}
    (condition,) = counted["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")
    with pytest.raises(TooManyRequests) as refused:
        spend(counted, "r", NOW)
    assert refused.value.details == {
        "causes": [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget b needs 0 healthy pods and has 0 currently",
            }
        ]
    }


def test_a_budget_that_is_not_counted_yet_asks_for_patience():
    fresh = budget(disruptionsAllowed=1)
    fresh["metadata"]["generation"] = 2
    with pytest.raises(TooManyRequests) as refused:
        spend(fresh, "p", NOW)
    assert refused.value.details["retryAfterSeconds"] == 10


def test_evictions_that_nobody_notices_are_bounded():
    crowded = budget(disruptionsAllowed=1, disruptedPods={f"p{number}": NOW for number in range(2001)})
    with pytest.raises(Forbidden, match="too many evictions not confirmed by PDB controller"):
        spend(crowded, "p", NOW)


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


async def running_pod(http, *, ready=True, **metadata):
    """A pod on a node that no agent serves, so that it lingers when it is deleted."""
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}
    await http("POST", PODS, {"metadata": {"name": "p", "labels": {"app": "x"}, **metadata}, "spec": spec})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    await http("PATCH", f"{PODS}/p/status", {"status": status}, content_type=STRATEGIC)


async def counted_budget(http, *, name="b", spec=None, **counts):
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}, **(spec or {})}
    await http("POST", BUDGETS, {"metadata": {"name": name}, "spec": spec})
    status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, **counts}
    await http("PATCH", f"{BUDGETS}/{name}/status", {"status": status | {"observedGeneration": 1}}, content_type=MERGE)


async def condition_of_pod(http):
    _, found = await http("GET", f"{PODS}/p")
    return [each for each in found["status"]["conditions"] if each["type"] == "DisruptionTarget"]


async def test_an_evicted_pod_says_why_it_goes(http):
    await running_pod(http)
    assert (await http("POST", f"{PODS}/p/eviction", {}))[0] == 201
    (condition,) = await condition_of_pod(http)
    assert (condition["status"], condition["reason"]) == ("True", "EvictionByEvictionAPI")


async def test_a_spent_budget_refuses_and_nothing_changes(http):
    await running_pod(http)
    await counted_budget(http)
    code, status = await http("POST", f"{PODS}/p/eviction", {})
    assert (code, status["reason"]) == (429, "TooManyRequests")
    assert not await condition_of_pod(http)


async def test_a_dry_run_spends_and_deletes_nothing(http):
    await running_pod(http)
    await counted_budget(http, disruptionsAllowed=1)
    assert (await http("POST", f"{PODS}/p/eviction", {"deleteOptions": {"dryRun": ["All"]}}))[0] == 201
    assert (await http("POST", f"{PODS}/p/eviction?dryRun=All", {}))[0] == 201
    _, found = await http("GET", f"{BUDGETS}/b")
    assert found["status"]["disruptionsAllowed"] == 1
    assert "deletionTimestamp" not in (await http("GET", f"{PODS}/p"))[1]["metadata"]


async def test_an_unhealthy_pod_of_a_broken_budget_goes_only_with_the_policy(http):
    await running_pod(http, ready=False)
    await counted_budget(http, currentHealthy=0)
    assert (await http("POST", f"{PODS}/p/eviction", {}))[0] == 429
    policy = {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}
    await http("PATCH", f"{BUDGETS}/b", policy, content_type=MERGE)
    assert (await http("POST", f"{PODS}/p/eviction", {}))[0] == 201


async def test_two_budgets_for_one_pod_are_an_error(http):
    await running_pod(http)
    await counted_budget(http, disruptionsAllowed=1)
    await counted_budget(http, name="c", disruptionsAllowed=1)
    code, status = await http("POST", f"{PODS}/p/eviction", {})
    assert (code, "more than one PodDisruptionBudget" in status["message"]) == (500, True)


async def test_a_version_that_is_outdated_is_a_conflict(http):
    await running_pod(http)
    code, _ = await http("POST", f"{PODS}/p/eviction", {"deleteOptions": {"preconditions": {"resourceVersion": "1"}}})
    assert code == 409
