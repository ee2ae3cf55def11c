import base64
import contextlib
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.clock import SystemClock
from sparsam.controllers.csr import (
    CertificateController,
    Malformed,
    load_signer,
    may_ask,
    read_request,
    read_user_request,
)
from sparsam.controllers.tokencleaner import TokenCleaner
from sparsam.errors import Forbidden
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS, CLUSTERROLEBINDINGS, NODES, PODS, SECRETS
from tests.support.apiserver import serving
from tests.support.controllers import eventually, gone, running
from tests.support.joining import CLIENT_SIGNER, SERVING_SIGNER, USER_SIGNER, signing_request, token_secret


def spec(**wishes):
    return signing_request(**wishes)["spec"]


def test_a_request_in_order_says_what_it_is_for():
    parsed = read_request(spec(signer=SERVING_SIGNER, sans=("n1", "10.0.0.7", "127.0.0.1")))
    assert (parsed.node_name, parsed.names) == ("n1", ("n1",))
    assert [str(each) for each in parsed.addresses] == ["10.0.0.7", "127.0.0.1"]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"user": "alice"}, "common name"),
        ({"user": "system:node:"}, "common name"),
        ({"groups": ("system:masters",)}, "organization"),
        ({"groups": ("system:nodes", "system:masters")}, "organization"),
        ({"usages": ("digital signature", "server auth")}, "usages"),
        ({"usages": ("client auth", "cert sign")}, "usages"),
        ({"sans": ("n1",)}, "no subject alternative names"),
        ({"signer": SERVING_SIGNER}, "needs subject alternative names"),
        ({"signer": SERVING_SIGNER, "sans": ("kubernetes.default",)}, "not the name of the node"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_a_request_for_something_else_is_malformed(wishes, words):
    with pytest.raises(Malformed, match=words):
        read_request(spec(**wishes))


@pytest.mark.parametrize("request_text", ["", "bm90IHBlbQ==", "***"])
def test_a_request_that_is_no_csr_is_malformed(request_text):
    with pytest.raises(Malformed, match="not a certificate signing request"):
        read_request({**spec(), "request": request_text})


@pytest.mark.parametrize(
    ("signer", "user", "groups", "allowed"),
    [
        (CLIENT_SIGNER, "system:bootstrap:abcdef", ("system:bootstrappers",), True),
        (CLIENT_SIGNER, "system:node:n1", ("system:nodes",), True),
        (CLIENT_SIGNER, "system:node:n2", ("system:nodes",), False),
        (CLIENT_SIGNER, "system:node:n1", (), False),
        (SERVING_SIGNER, "system:node:n1", ("system:nodes",), True),
        (SERVING_SIGNER, "system:bootstrap:abcdef", ("system:bootstrappers",), False),
    ],
)
def test_who_may_ask_for_which_certificate(signer, user, groups, allowed):
    wish = spec(signer=signer, sans=("n1",) if signer == SERVING_SIGNER else ())
    assert may_ask({**wish, "username": user, "groups": list(groups)}, read_request(wish)) is allowed


@pytest.mark.parametrize(
    ("usages", "words"),
    [
        (("digital signature", "server auth", "client auth"), "invalid usage for client certificate: server auth"),
        (("digital signature",), "missing required usage for client certificate: client auth"),
    ],
)
def test_a_users_certificate_is_for_clients(usages, words):
    with pytest.raises(Malformed, match=words):
        read_user_request(spec(signer=USER_SIGNER, usages=usages))


@contextlib.asynccontextmanager
async def signing_cluster(tmp_path):
    """An API server with the controllers at work: (administrator, bootstrapper, node n1)."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path, nodes=("n1",)))
        token = server.kubeconfig_with_token("abcdef.0123456789abcdef")
        paths = (server.kubeconfig, token, server.kubeconfig_for("node-n1"))
        admin, joiner, node = [await stack.enter_async_context(ApiClient(load_kubeconfig(path))) for path in paths]
        signer = load_signer(server.ca, server.pki_dir / "ca.key")
        await admin.create(SECRETS, token_secret())
        await stack.enter_async_context(
            running(admin, partial(CertificateController, signer=signer), partial(TokenCleaner, check_seconds=0.1))
        )
        yield admin, joiner, node


async def decided(client, name):
    async def look():
        status = (await client.get(CERTIFICATESIGNINGREQUESTS, name)).get("status") or {}
        kinds = {each["type"] for each in status.get("conditions") or ()}
        return status if "certificate" in status or kinds & {"Denied", "Failed"} else None

    return await eventually(look)


async def test_a_bootstrapper_gets_the_node_its_client_certificate(tmp_path):
    async with signing_cluster(tmp_path) as (_, joiner, _node):
        request = signing_request()
        request["spec"]["expirationSeconds"] = 3600
        await joiner.create(CERTIFICATESIGNINGREQUESTS, request)
        status = await decided(joiner, "csr")
        assert [each["type"] for each in status["conditions"]] == ["Approved"]
        certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
        assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime.total_seconds() < 3600 + 600


async def test_a_node_gets_serving_certificates_for_its_own_addresses_only(tmp_path):
    async with signing_cluster(tmp_path) as (admin, joiner, node):
        await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        addresses = [{"type": "InternalIP", "address": "10.0.0.7"}]
        await admin.patch(NODES, "n1", {"status": {"addresses": addresses}}, subresource="status")
        own = signing_request("own", signer=SERVING_SIGNER, sans=("n1", "10.0.0.7", "127.0.0.1"))
        foreign = signing_request("foreign", signer=SERVING_SIGNER, sans=("n1", "10.96.0.1"))
        early = signing_request("early", signer=SERVING_SIGNER, sans=("n1", "10.0.0.7"))
        await node.create(CERTIFICATESIGNINGREQUESTS, own)
        await node.create(CERTIFICATESIGNINGREQUESTS, foreign)
        await joiner.create(CERTIFICATESIGNINGREQUESTS, early)
        certificate = x509.load_pem_x509_certificate(base64.b64decode((await decided(node, "own"))["certificate"]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["n1"]
        assert "10.96.0.1 is no address" in (await decided(node, "foreign"))["conditions"][0]["message"]
        assert "may not ask" in (await decided(node, "early"))["conditions"][0]["message"]


async def test_malformed_requests_are_denied_and_other_signers_left_alone(tmp_path):
    async with signing_cluster(tmp_path) as (admin, joiner, _):
        other = signing_request("other")
        other["spec"]["signerName"] = "example.com/signer"
        await admin.create(CERTIFICATESIGNINGREQUESTS, other)
        await joiner.create(CERTIFICATESIGNINGREQUESTS, signing_request("bad", groups=("system:masters",)))
        status = await decided(joiner, "bad")
        assert [each["type"] for each in status["conditions"]] == ["Denied"]
        assert not (await admin.get(CERTIFICATESIGNINGREQUESTS, "other")).get("status")


class TwoHoursLater(SystemClock):
    def now(self):
        return super().now() + timedelta(hours=2)


async def test_decided_requests_are_removed_after_an_hour_and_undecided_ones_later(tmp_path):
    async with signing_cluster(tmp_path) as (admin, joiner, _):
        other = signing_request("undecided")
        other["spec"]["signerName"] = "example.com/signer"
        await admin.create(CERTIFICATESIGNINGREQUESTS, other)
        await joiner.create(CERTIFICATESIGNINGREQUESTS, signing_request("decided"))
        await decided(joiner, "decided")
        async with running(admin, lambda context: CertificateController(replace(context, clock=TwoHoursLater()))):
            await gone(lambda: admin.get(CERTIFICATESIGNINGREQUESTS, "decided"))
        assert await admin.get(CERTIFICATESIGNINGREQUESTS, "undecided")


async def test_expired_tokens_are_removed(tmp_path):
    async with signing_cluster(tmp_path) as (admin, _, _node):
        await admin.create(SECRETS, token_secret("expire", expiration="2020-01-01T00:00:00Z"))
        await gone(lambda: admin.get(SECRETS, "bootstrap-token-expire", "kube-system"))
        assert await admin.get(SECRETS, "bootstrap-token-abcdef", "kube-system")


async def approve(client, name):
    request = await client.get(CERTIFICATESIGNINGREQUESTS, name)
    condition = {"type": "Approved", "status": "True", "reason": "KubectlApprove", "message": "by hand"}
    request["status"] = {"conditions": [condition]}
    await client.update(CERTIFICATESIGNINGREQUESTS, request, subresource="approval")


async def test_a_user_gets_a_certificate_once_it_is_approved_and_may_what_roles_say(tmp_path):
    async with signing_cluster(tmp_path) as (admin, _joiner, _node):
        key = ec.generate_private_key(ec.SECP256R1())
        request = signing_request("jane", user="jane", groups=("dev",), signer=USER_SIGNER, key=key)
        request["spec"]["expirationSeconds"] = 600
        await admin.create(CERTIFICATESIGNINGREQUESTS, request)
        bad = signing_request("bad", user="jane", groups=(), signer=USER_SIGNER, usages=("client auth", "signing"))
        await admin.create(CERTIFICATESIGNINGREQUESTS, bad)
        assert not (await admin.get(CERTIFICATESIGNINGREQUESTS, "jane")).get("status")
        await approve(admin, "bad")
        (_, failed) = (await decided(admin, "bad"))["conditions"]
        assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
        await approve(admin, "jane")
        pem = base64.b64decode((await decided(admin, "jane"))["certificate"])
        usage = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.digital_signature, usage.key_encipherment) == (True, False)

        form = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        config = replace(load_kubeconfig(tmp_path / "admin.kubeconfig"), client_certificate=pem, client_key=secret)
        async with ApiClient(replace(config, source=None)) as jane:
            with pytest.raises(Forbidden, match='User "jane" cannot list resource "pods"'):
                await jane.list(PODS, "default")
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-view"}
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "dev"}
            binding = {"metadata": {"name": "dev"}, "roleRef": role, "subjects": [subject]}
            await admin.create(CLUSTERROLEBINDINGS, binding)

            async def may():
                with contextlib.suppress(Forbidden):
                    return (await jane.list(PODS, "default"))["kind"] == "PodList"

            assert await eventually(may)


async def test_only_nodes_and_users_come_of_certificates_never_masters(tmp_path):
    async with signing_cluster(tmp_path) as (admin, _joiner, _node):
        master = signing_request("root", user="root", groups=("system:masters",), signer=USER_SIGNER)
        words = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        with pytest.raises(Forbidden, match=words):
            await admin.create(CERTIFICATESIGNINGREQUESTS, master)
