"""A node's certificates: when they are replaced, and that whoever shows them heeds it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sparsam.agent.config import AgentConfig
from sparsam.agent.server import main as node_server
from sparsam.cli.certificates import (
    CLIENT_SIGNER,
    LONGEST_PAUSE_SECONDS,
    SERVING_SIGNER,
    JoinError,
    Papers,
    has_expired,
    obtain,
    rotate,
    rotate_now,
    rotation_moment,
)
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.controllers.csr import CertificateController, load_signer
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS, NODES
from tests.support.apiserver import RunningServer, serving
from tests.support.controllers import running
from tests.support.nodeserver import FakeRegistry, serving_node, with_certificates

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def certificate(begin: datetime, end: datetime, serial: int = 1) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(begin).not_valid_after(end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("serial", range(1, 20))
def test_rotation_comes_at_70_to_90_percent_of_the_life_and_always_at_the_same_moment(serial: int):
    life = timedelta(days=100)
    pem = certificate(NOW, NOW + life, serial)
    moment = rotation_moment(pem)
    assert 0.7 <= (moment - NOW) / life <= 0.9
    assert rotation_moment(pem) == moment
    assert not has_expired(pem, NOW)
    assert has_expired(pem, NOW + life)


@contextlib.asynccontextmanager
async def node_of_a_cluster(tmp_path: Path) -> AsyncIterator[tuple[RunningServer, ApiClient, Papers]]:
    """A node with certificates of its own, as `sparsam up` makes them, and a cluster that signs."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "cluster", nodes=("n1",)))
        admin = await stack.enter_async_context(ApiClient(load_kubeconfig(server.kubeconfig)))
        signer = load_signer(server.ca, server.pki_dir / "ca.key")
        await stack.enter_async_context(running(admin, partial(CertificateController, signer=signer)))
        node = await admin.create(NODES, {"metadata": {"name": "n1"}})
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        await admin.patch(NODES, node["metadata"]["name"], {"status": {"addresses": addresses}}, subresource="status")
        kubeconfig = tmp_path / "node-n1.kubeconfig"

        def data(name: str) -> str:
            return base64.b64encode((server.pki_dir / name).read_bytes()).decode()

        user = {"client-certificate-data": data("node-n1.crt"), "client-key-data": data("node-n1.key")}
        cluster = {"server": server.url, "certificate-authority-data": data("ca.crt")}
        kubeconfig.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": user}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        yield server, admin, Papers(server.pki_dir, "n1", ("127.0.0.1",), kubeconfig)


async def test_what_is_due_is_rotated_with_new_keys_and_the_rest_is_left(tmp_path: Path):
    async with node_of_a_cluster(tmp_path) as (server, admin, papers):
        assert papers.shown(SERVING_SIGNER) is None
        client_before = papers.shown(CLIENT_SIGNER)
        seconds = await rotate(papers)
        assert seconds == LONGEST_PAUSE_SECONDS
        assert papers.shown(CLIENT_SIGNER) == client_before
        first, key = papers.shown(SERVING_SIGNER), papers.certificate(SERVING_SIGNER).with_suffix(".key").read_bytes()
        assert first is not None
        assert await rotate(papers, datetime.now(UTC)) == LONGEST_PAUSE_SECONDS
        assert len((await admin.list(CERTIFICATESIGNINGREQUESTS))["items"]) == 1
        # In eleven months both are due.
        await rotate(papers, datetime.now(UTC) + timedelta(days=340))
        assert papers.shown(SERVING_SIGNER) != first
        assert papers.shown(CLIENT_SIGNER) != client_before
        assert papers.certificate(SERVING_SIGNER).with_suffix(".key").read_bytes() != key
        for private in (papers.kubeconfig, papers.certificate(CLIENT_SIGNER).with_suffix(".key")):
            assert private.stat().st_mode & 0o077 == 0
        async with ApiClient(load_kubeconfig(papers.kubeconfig)) as client:
            assert await client.get(NODES, "n1")
        requests = (await admin.list(CERTIFICATESIGNINGREQUESTS))["items"]
        assert sorted(each["spec"]["signerName"] for each in requests) == [CLIENT_SIGNER, *[SERVING_SIGNER] * 2]
        assert {each["spec"]["username"] for each in requests} == {"system:node:n1"}
        assert server.url


async def test_a_client_that_runs_shows_the_new_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("sparsam.client.api.FOLLOW_SECONDS", 0.05)
    async with node_of_a_cluster(tmp_path) as (_, _, papers), ApiClient(load_kubeconfig(papers.kubeconfig)) as client:
        before = client.config.client_certificate
        await obtain(client, papers, CLIENT_SIGNER)
        async with asyncio.timeout(20):
            while client.config.client_certificate == before:
                await asyncio.sleep(0.02)
        assert client.config.client_certificate == papers.shown(CLIENT_SIGNER)
        papers.kubeconfig.write_text("{")  # what cannot be read leaves what is in use
        async with asyncio.timeout(20):
            while "new credentials not taken" not in caplog.text:
                await asyncio.sleep(0.02)
        assert await client.get(NODES, "n1")


async def test_a_node_server_that_runs_serves_the_new_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(node_server, "FOLLOW_SECONDS", 0.05)
    async with node_of_a_cluster(tmp_path) as (server, _, papers):
        config = AgentConfig(
            node_name="n1",
            node_ips=("127.0.0.1",),
            data_dir=tmp_path,
            run_dir=tmp_path / "run",
            pod_cidrs=("10.0.0.0/24",),
            cluster_dns="10.96.0.10",
            client=None,
        )
        config = with_certificates(config, server.pki_dir)

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", config.port))

        async with serving_node(config, FakeRegistry(), server.pki_dir) as running_node:
            before = await asyncio.to_thread(shown)
            async with ApiClient(load_kubeconfig(papers.kubeconfig)) as client:
                await obtain(client, papers, SERVING_SIGNER)
            async with asyncio.timeout(20):
                while await asyncio.to_thread(shown) == before:
                    await asyncio.sleep(0.02)
            wanted = (papers.shown(SERVING_SIGNER) or b"").decode().strip()
            assert (await asyncio.to_thread(shown)).strip() == wanted
            assert (await running_node.get("/healthz"))[0] == 200


async def test_a_request_for_somebody_elses_address_is_refused_and_says_so(tmp_path: Path):
    async with node_of_a_cluster(tmp_path) as (_, _, papers):
        foreign = Papers(papers.pki_dir, "n1", ("192.0.2.99",), papers.kubeconfig)
        async with ApiClient(load_kubeconfig(papers.kubeconfig)) as client:
            with pytest.raises(JoinError, match="is no address of Node n1"):
                await obtain(client, foreign, SERVING_SIGNER)


def test_without_an_api_server_the_next_try_comes_in_minutes(tmp_path: Path):
    document: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "k").write_text(json.dumps(document))
    seconds, fault = rotate_now(Papers(tmp_path, "n1", ("127.0.0.1",), tmp_path / "k"))
    assert seconds == 300.0
    assert "127.0.0.1:1" in fault
