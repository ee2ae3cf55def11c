import contextlib
import json
import random
from functools import partial

import pytest
from cryptography import x509

from sparsam.cli import joining
from sparsam.cli.joining import (
    Invitation,
    JoinError,
    enroll,
    free_pod_cidrs,
    must_yield,
    parse_invitation,
    register,
)
from sparsam.cli.nodes import joined
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.controllers.csr import CertificateController, load_signer
from sparsam.objects.kinds import NODES, SECRETS
from sparsam.settings import Settings
from tests.support.apiserver import serving
from tests.support.controllers import running
from tests.support.joining import token_secret

TOKEN = "abcdef.0123456789abcdef"
CLUSTER = "10.244.0.0/22"


def invitation(server="https://192.0.2.1:6443", ca="PEM", token=TOKEN):
    return Invitation(
        server=server, ca=ca, token=token, cluster_cidr=CLUSTER, service_cidr="10.96.0.0/16", cluster_domain="c.local"
    )


def test_an_invitation_is_one_word_and_reads_back():
    text = invitation().format()
    assert len(text.split()) == 1
    assert not set(text) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert parse_invitation(f" {text}\n") == invitation()


@pytest.mark.parametrize("text", ["", "hello", "eyJ9", invitation().format()[:-8]])
def test_a_damaged_invitation_is_refused(text):
    with pytest.raises(JoinError, match="no invitation"):
        parse_invitation(text)


def test_pod_networks_are_given_out_from_the_end():
    assert free_pod_cidrs([CLUSTER], []) == ("10.244.3.0/24",)
    assert free_pod_cidrs([CLUSTER], ["10.244.3.0/24", "10.244.0.0/24"]) == ("10.244.2.0/24",)
    assert free_pod_cidrs([CLUSTER], ["10.244.2.0/23", "10.244.0.128/25"], random.Random(1)) == ("10.244.1.0/24",)
    with pytest.raises(JoinError, match="full"):
        free_pod_cidrs([CLUSTER], [CLUSTER])


def test_each_family_has_a_pod_network_of_its_own():
    taken = ["10.244.3.0/24", "fd00:10:244:ff::/64"]
    assert free_pod_cidrs([CLUSTER, "fd00:10:244::/56"], taken) == ("10.244.2.0/24", "fd00:10:244:fe::/64")
    assert free_pod_cidrs(["fd00:10::/32"], []) == ("fd00:10:0:ffff::/64",)


def node(name, cidr, created="2026-01-01T00:00:00Z"):
    metadata = {"name": name, "uid": name, "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}}


@pytest.mark.parametrize(
    ("other", "yields"),
    [
        (node("b", "10.244.1.0/24", "2025-12-31T00:00:00Z"), True),
        (node("b", "10.244.1.0/24"), True),
        (node("b", "10.244.1.0/24", "2026-01-01T00:00:01Z"), False),
        (node("b", "10.244.2.0/24"), False),
        (node("b", ""), False),
        (node("a", "10.244.1.0/24"), False),
    ],
    ids=["older", "same-second", "younger", "other-network", "no-network", "itself"],
)
def test_of_two_nodes_with_one_network_the_later_yields(other, yields):
    assert must_yield(node("a", "10.244.1.0/24"), [other]) is yields


@contextlib.asynccontextmanager
async def inviting(tmp_path):
    """A cluster with a valid token: (server, administrator, invitation)."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "cluster"))
        admin = await stack.enter_async_context(ApiClient(load_kubeconfig(server.kubeconfig)))
        await admin.create(SECRETS, token_secret())
        signer = load_signer(server.ca, server.pki_dir / "ca.key")
        await stack.enter_async_context(running(admin, partial(CertificateController, signer=signer)))
        yield server, admin, invitation(server.url, server.ca.read_text())


def settings_for(tmp_path, url, name="n1"):
    return Settings(
        data_dir=str(tmp_path / name),
        parts="node",
        node_name=name,
        node_ip="192.0.2.7",
        cluster_cidr=CLUSTER,
        server=url,
    )


async def test_a_machine_gets_papers_and_a_network_of_its_own(tmp_path):
    async with inviting(tmp_path) as (server, admin, invited):
        first = await enroll(invited, settings_for(tmp_path, server.url, "n1"))
        second = await enroll(invited, settings_for(tmp_path, server.url, "n2"))
        assert (first.pod_cidr, second.pod_cidr) == ("10.244.3.0/24", "10.244.2.0/24")
        assert (await admin.get(NODES, "n2"))["spec"]["podCIDR"] == second.pod_cidr
        async with ApiClient(load_kubeconfig(first.kubeconfig)) as client:
            assert await client.get(NODES, "n1")
        serving_certificate = first.pki_dir / "node-n1-serving.crt"
        names = x509.load_pem_x509_certificate(serving_certificate.read_bytes()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert [str(each) for each in names.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "127.0.0.1"]
        for private in ("pki/node-n1.key", "pki/node-n1-serving.key", "node-n1.kubeconfig"):
            assert (first.data_path / private).stat().st_mode & 0o077 == 0
        first.write(first.data_path / "cluster.json")
        assert joined(first.data_path) == first


async def test_a_node_at_work_is_not_pushed_aside_and_one_that_is_not_is_taken_over(tmp_path):
    async with inviting(tmp_path) as (server, admin, _):
        settings = settings_for(tmp_path, server.url)
        spec = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}
        await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": spec})
        assert await register(admin, settings) == ("10.244.1.0/24",)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        await admin.patch(NODES, "n1", {"status": {"conditions": [ready]}}, subresource="status")
        with pytest.raises(JoinError, match="choose another name"):
            await register(admin, settings)


async def test_a_clash_over_a_network_ends_with_another_one(tmp_path, monkeypatch):
    async with inviting(tmp_path) as (server, admin, _):
        spec = {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}
        await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "fast"}, "spec": spec})
        choices = iter([("10.244.3.0/24",), ("10.244.2.0/24",)])
        monkeypatch.setattr(joining, "free_pod_cidrs", lambda *_: next(choices))
        assert await register(admin, settings_for(tmp_path, server.url)) == ("10.244.2.0/24",)
        assert (await admin.get(NODES, "n1"))["spec"]["podCIDR"] == "10.244.2.0/24"


async def test_a_token_that_is_over_is_said_so(tmp_path):
    async with inviting(tmp_path) as (server, admin, invited):
        await admin.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
        with pytest.raises(JoinError, match="not valid any more"):
            await enroll(invited, settings_for(tmp_path, server.url))


def test_a_cluster_of_ones_own_is_not_a_joined_node(tmp_path):
    assert joined(tmp_path) is None
    Settings(data_dir=str(tmp_path)).write(tmp_path / "cluster.json")
    assert joined(tmp_path) is None
    assert json.loads((tmp_path / "cluster.json").read_text())["server"] == ""
