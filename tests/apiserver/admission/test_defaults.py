import pytest

from tests.support.apiserver import serving
from tests.support.http import http_client

PODS = "/api/v1/namespaces/default/pods"
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
LOST_NODES = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


async def test_a_pod_tolerates_lost_nodes_for_a_while_and_keeps_doing_so(http):
    _, pod = await http("POST", PODS, POD)
    assert [each["key"] for each in pod["spec"]["tolerations"]] == LOST_NODES
    pod["spec"]["tolerations"] = [{"key": "own", "operator": "Exists"}]
    code, pod = await http("PUT", f"{PODS}/p", pod)
    assert code == 200
    assert [each["key"] for each in pod["spec"]["tolerations"]] == ["own", *LOST_NODES]


async def test_a_pod_that_tolerates_everything_gets_no_more(http):
    tolerant = POD | {"spec": POD["spec"] | {"tolerations": [{"operator": "Exists"}]}}
    _, pod = await http("POST", PODS, tolerant)
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]


async def test_a_node_is_tainted_until_it_is_ready(http):
    _, node = await http("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    node["spec"] = {}
    _, node = await http("PUT", "/api/v1/nodes/n", node)
    assert "taints" not in node["spec"]
