"""Who may see what of a node, by the API server's word and upstream's subresources."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sparsam.agent.config import AgentConfig
from sparsam.agent.server.access import STATE_CALLER, Access, subresources_of
from sparsam.agent.server.identity import Caller
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import Forbidden, InternalError, Unauthorized
from sparsam.objects.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, SERVICEACCOUNTS, Resource
from tests.support.agent import container, pod
from tests.support.apiserver import serving
from tests.support.nodeserver import FakeRegistry, serving_node, tls, with_certificates

Obj = dict[str, Any]
TOKEN = [(b"authorization", b"Bearer abc")]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/metricsx", ("proxy",)),
        ("/pods", ("pods", "proxy")),
        ("/runningpods", ("pods", "proxy")),
        ("/healthz", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/logs/x", ("log",)),
        ("/containerLogs/d/p/c", ("proxy",)),
        ("/exec/d/p/c", ("proxy",)),
        ("/power", ("proxy",)),
        ("/", ("proxy",)),
    ],
)
def test_paths_map_to_upstreams_subresources(path: str, parts: tuple[str, ...]):
    assert subresources_of(path) == parts


@dataclass
class FakeClient:
    """Answers reviews and counts them."""

    allowed: frozenset[str] = frozenset()
    known: bool = True
    fault: Exception | None = None
    asked: list[Obj] = field(default_factory=list)

    async def create(self, resource: Resource, review: Obj) -> Obj:
        self.asked.append(review)
        if self.fault:
            raise self.fault
        if resource.kind == "TokenReview":
            user = {"username": "system:serviceaccount:d:prom", "groups": ["system:authenticated"], "uid": "u"}
            return {"status": {"authenticated": True, "user": {**user, "extra": {"k": ["v"]}}} if self.known else {}}
        return {"status": {"allowed": review["spec"]["resourceAttributes"]["subresource"] in self.allowed}}


def scope(headers: Any = TOKEN, caller: Caller | None = None, method: str = "GET") -> Obj:
    return {"headers": headers, "state": {STATE_CALLER: caller}, "method": method}


async def test_a_token_is_reviewed_once_and_asked_about_with_everything_that_is_known():
    client, now = FakeClient(allowed=frozenset({"metrics"})), [0.0]
    access = Access("n1", client, lambda: now[0])
    for _ in range(3):
        await access.admit(scope(), "/metrics")
    token, access_review = client.asked
    assert token["spec"] == {"token": "abc"}
    assert access_review["spec"] == {
        "resourceAttributes": {
            "verb": "get",
            "version": "v1",
            "resource": "nodes",
            "subresource": "metrics",
            "name": "n1",
        },
        "user": "system:serviceaccount:d:prom",
        "groups": ["system:authenticated"],
        "uid": "u",
        "extra": {"k": ["v"]},
    }
    now[0] = 121.0
    await access.admit(scope(), "/metrics")
    assert [each["kind"] for each in client.asked[2:]] == ["TokenReview"]
    now[0] = 301.0
    await access.admit(scope(), "/metrics")
    assert [each["kind"] for each in client.asked[3:]] == ["TokenReview", "SubjectAccessReview"]


async def test_a_denial_is_remembered_for_half_a_minute_and_says_what_is_missing():
    client, now = FakeClient(), [0.0]
    access = Access("n1", client, lambda: now[0])
    for _ in range(2):
        with pytest.raises(Forbidden, match=r"verb=get, resource=nodes, subresource\(s\)=\[pods proxy\]"):
            await access.admit(scope(), "/pods")
    assert len(client.asked) == 3
    now[0] = 31.0
    client.allowed = frozenset({"proxy"})
    await access.admit(scope(), "/pods")


async def test_unknown_tokens_and_strangers_are_nobody():
    access = Access("n1", FakeClient(known=False))
    for headers in (TOKEN, [], [(b"authorization", b"Basic abc")], [(b"authorization", b"Bearer ")]):
        with pytest.raises(Unauthorized):
            await access.admit(scope(headers), "/metrics")


async def test_streams_are_created_whatever_the_handshake():
    client = FakeClient()
    with contextlib.suppress(Forbidden):
        await Access("n1", client).admit({"headers": TOKEN, "state": {}}, "/exec/d/p/c")
    assert client.asked[-1]["spec"]["resourceAttributes"]["verb"] == "create"


async def test_administrators_and_the_api_server_are_not_asked_about_and_others_wait_for_an_answer():
    client = FakeClient(fault=OSError("away"))
    access = Access("n1", client)
    for mighty in (Caller("root", ("system:masters",)), Caller("kube-apiserver-kubelet-client")):
        await access.admit(scope([], mighty), "/exec/d/p/c")
    assert client.asked == []
    with pytest.raises(InternalError, match="Authorization error"):
        await access.admit(scope([], Caller("somebody")), "/pods")
    with pytest.raises(Unauthorized):
        await access.admit(scope(), "/pods")


@contextlib.asynccontextmanager
async def node_of_a_cluster(tmp_path: Path) -> AsyncIterator[tuple[Any, Any, ApiClient]]:
    async with serving(tmp_path, nodes=("n1",)) as api, ApiClient(load_kubeconfig(api.kubeconfig)) as admin:
        config = AgentConfig(
            node_name="n1",
            node_ips=("127.0.0.1",),
            data_dir=tmp_path,
            run_dir=tmp_path / "run",
            pod_cidrs=("10.0.0.0/24",),
            cluster_dns="10.96.0.10",
            client=load_kubeconfig(api.kubeconfig_for("node-n1")),
        )
        config = with_certificates(config, api.pki_dir)
        registry = FakeRegistry([pod(container(), name="web")])
        async with (
            ApiClient(config.client) as own,
            serving_node(config, registry, api.pki_dir, client=own) as server,
        ):
            yield server, api, admin


async def test_a_service_account_sees_what_its_role_lets_it_see(tmp_path: Path):
    async with node_of_a_cluster(tmp_path) as (server, api, admin):
        await admin.create(NAMESPACES, {"metadata": {"name": "d"}})
        await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "prom"}}, "d")
        rules = [{"apiGroups": [""], "resources": ["nodes/metrics", "nodes/pods"], "verbs": ["get"]}]
        await admin.create(CLUSTERROLES, {"metadata": {"name": "metrics"}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "metrics"}
        subjects = [{"kind": "ServiceAccount", "name": "prom", "namespace": "d"}]
        await admin.create(CLUSTERROLEBINDINGS, {"metadata": {"name": "prom"}, "roleRef": role, "subjects": subjects})
        token = await admin.create(SERVICEACCOUNTS, {"spec": {}}, "d", name="prom", subresource="token")
        headers = {"Authorization": f"Bearer {token['status']['token']}"}
        connector = aiohttp.TCPConnector(ssl=tls(api.pki_dir, None))
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def status(path: str) -> int:
                async with session.get(f"{server.url}{path}") as answer:
                    return answer.status

            assert await status("/metrics/probes") == 200
            assert await status("/pods") == 200
            for path in ("/stats/summary", "/healthz", "/configz", "/containerLogs/default/web/main", "/power"):
                assert await status(path) == 403, path
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(
                    f"{server.url}/exec/default/web/main?command=ls", protocols=["v5.channel.k8s.io"]
                )
            assert caught.value.status == 403
        stranger = aiohttp.TCPConnector(ssl=tls(api.pki_dir, None))
        async with (
            aiohttp.ClientSession(connector=stranger, headers={"Authorization": "Bearer x.y.z"}) as session,
            session.get(f"{server.url}/metrics/probes") as answer,
        ):
            assert answer.status == 401
