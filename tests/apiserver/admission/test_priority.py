import pytest

from tests.support.apiserver import serving
from tests.support.http import http_client

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


def pod(**spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_the_system_classes_are_there_and_stay(http):
    _, listed = await http("GET", CLASSES)
    values = {each["metadata"]["name"]: each["value"] for each in listed["items"]}
    assert values == {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
    for name in values:
        code, status = await http("DELETE", f"{CLASSES}/{name}")
        assert (code, status["reason"]) == (403, "Forbidden")


async def test_a_pod_gets_the_number_of_its_class(http):
    await http("POST", CLASSES, {"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"})
    _, created = await http("POST", PODS, pod(priorityClassName="high"))
    assert (created["spec"]["priority"], created["spec"]["preemptionPolicy"]) == (7, "Never")


@pytest.mark.parametrize("spec", [{"priorityClassName": "none"}, {"priority": 5}, {"preemptionPolicy": "Never"}])
async def test_what_no_class_gives_is_forbidden(http, spec):
    code, status = await http("POST", PODS, pod(**spec))
    assert (code, status["reason"]) == (403, "Forbidden")
