"""A scripted agent stands behind the real server; `kubectl top` on real nodes is tested end to end."""

import itertools
import ssl
import time

import pytest
from aiohttp import web

from sparsam.apiserver.pki import ensure_pki, node_serving_identity
from tests.support.apiserver import SANS, free_port, serving
from tests.support.http import http_client

BASE = "/apis/metrics.k8s.io/v1beta1"


@pytest.fixture
async def api(tmp_path):
    """A client of a server with the nodes n1 (whose agent uses half a core) and n2 (whose agent is not there)."""
    seconds = itertools.count(0.0)

    async def resource_metrics(_request):
        moment, cpu = time.time_ns() // 1_000_000, next(seconds)
        where = 'container="c",namespace="default",pod="web"'
        return web.Response(
            text=f"node_cpu_usage_seconds_total {cpu} {moment}\nnode_memory_working_set_bytes 1048576 {moment}\n"
            f"container_cpu_usage_seconds_total{{{where}}} {cpu} {moment}\n"
            f"container_memory_working_set_bytes{{{where}}} 8192 {moment}\n"
        )

    async with serving(tmp_path) as server:
        ensure_pki(server.pki_dir, sans=SANS, identities=[node_serving_identity("n1", "127.0.0.1")])
        agent = web.Application()
        agent.router.add_get("/metrics/resource", resource_metrics)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server.pki_dir / "node-n1-serving.crt", server.pki_dir / "node-n1-serving.key")
        runner, port = web.AppRunner(agent), free_port()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        async with http_client(server) as client:
            for name, reached in (("n1", port), ("n2", free_port())):
                await create_node(client, name, reached)
            yield client
        await runner.cleanup()


async def create_node(client, name, port):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"rack": name}}}
    await client("POST", "/api/v1/nodes", node)
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    patch = "application/merge-patch+json"
    await client("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, content_type=patch)


async def test_only_nodes_that_answer_are_listed(api):
    _, body = await api("GET", f"{BASE}/nodes")
    [metrics] = body["items"]
    assert body["kind"] == "NodeMetricsList"
    assert metrics["metadata"]["name"] == "n1"
    assert metrics["metadata"]["labels"] == {"rack": "n1"}
    # One CPU second in the 1.2 s or more between the looks.
    assert 0 < int(metrics["usage"]["cpu"].removesuffix("n")) <= 1e9 / 1.2
    assert metrics["usage"]["memory"] == "1024Ki"


async def test_a_label_selector_chooses_nodes(api):
    _, body = await api("GET", f"{BASE}/nodes?labelSelector=rack=n9")
    assert body["items"] == []


async def test_a_node_without_metrics_is_not_found(api):
    status, body = await api("GET", f"{BASE}/nodes/n2")
    assert (status, body["reason"]) == (404, "NotFound")
    assert body["message"] == 'nodes.metrics.k8s.io "n2" not found'


async def test_metrics_are_read_only(api):
    status, body = await api("POST", f"{BASE}/nodes", {})
    assert (status, body["reason"]) == (405, "MethodNotAllowed")


async def test_pods_that_do_not_run_have_no_metrics(api):
    _, body = await api("GET", f"{BASE}/namespaces/default/pods")
    assert body["items"] == []


async def test_the_group_is_discovered(api):
    _, body = await api("GET", BASE)
    assert [(each["name"], each["kind"], each["verbs"]) for each in body["resources"]] == [
        ("nodes", "NodeMetrics", ["get", "list"]),
        ("pods", "PodMetrics", ["get", "list"]),
    ]
