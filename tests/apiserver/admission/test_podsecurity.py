import pytest

from sparsam.apiserver.admission.podsecurity import Standard, policy_of, warnings_for
from tests.support.apiserver import serving
from tests.support.http import http_client

SPACES = "/api/v1/namespaces"
PODS = f"{SPACES}/t/pods"
ENFORCE, WARN = "pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"
MERGE = "application/merge-patch+json"


def pod(name="p", **context):
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": context}]},
    }


def test_labels_that_cannot_be_read_are_strict_for_enforce_only():
    policy, causes = policy_of({ENFORCE: "strict", WARN: "strict", f"{WARN}-version": "1.2"})
    assert (policy["enforce"], policy["warn"]) == (Standard("restricted"), Standard())
    assert [cause.field for cause in causes] == [
        f"metadata.labels[{ENFORCE}]",
        f"metadata.labels[{WARN}]",
        f"metadata.labels[{WARN}-version]",
    ]


def test_pods_with_the_same_faults_are_told_together():
    pods = [pod(name, privileged=True) for name in ("b", "a", "c")] + [pod("d")]
    assert warnings_for("t", Standard("baseline"), pods) == [
        'existing pods in namespace "t" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
    ]


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", SPACES, {"metadata": {"name": "t"}})
        await client("POST", f"{SPACES}/t/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


async def label(http, **labels):
    changed = {name.replace("_", "-"): value for name, value in labels.items()}
    metadata = {"labels": {f"pod-security.kubernetes.io/{name}": value for name, value in changed.items()}}
    return await http("PATCH", f"{SPACES}/t", {"metadata": metadata}, content_type=MERGE)


async def test_what_is_enforced_is_refused_and_what_is_wished_is_warned_of(http):
    await label(http, enforce="baseline", warn="restricted", warn_version="v1.18")
    code, status = await http("POST", PODS, pod(privileged=True))
    assert (code, status["reason"], status["details"]["kind"]) == (403, "Forbidden", "pods")
    assert status["message"] == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": '
        'privileged (container "c" must not set securityContext.privileged=true)'
    )
    code, _ = await http("POST", PODS, pod())
    assert code == 201
    (warning,) = http.headers.getall("warning")
    assert 'would violate PodSecurity \\"restricted:v1.18\\": allowPrivilegeEscalation != false' in warning


async def test_workloads_are_warned_of_but_let_in(http):
    await label(http, enforce="restricted", warn="baseline")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(privileged=True)["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert (await http("POST", "/apis/apps/v1/namespaces/t/deployments", deployment))[0] == 201
    assert "would violate PodSecurity" in http.headers["warning"]


async def test_a_stricter_level_tells_of_pods_that_it_would_not_let_in(http):
    await http("POST", PODS, pod(privileged=True))
    code, _ = await label(http, enforce="baseline")
    assert code == 200
    warnings = http.headers.getall("warning")
    assert "existing pods in namespace" in warnings[0]
    assert "p: privileged" in warnings[1]
    patch = {"metadata": {"labels": {"x": "y"}}}
    assert (await http("PATCH", f"{PODS}/p", patch, content_type=MERGE))[0] == 200


async def test_a_level_that_does_not_exist_is_invalid(http):
    code, status = await label(http, enforce="strict")
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["message"] == (
        f'Namespace "t" is invalid: metadata.labels[{ENFORCE}]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted"
    )
