import base64
from datetime import UTC, datetime

import pytest

from sparsam.apiserver.bootstraptokens import bootstrapper
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import Forbidden, Unauthorized
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS, NODES, SECRETS
from tests.support.apiserver import serving
from tests.support.joining import signing_request, token_secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "0123456789abcdef"


def test_a_token_is_the_bootstrapper_its_secret_names():
    user = bootstrapper(token_secret(auth_extra_groups="system:bootstrappers:racks"), "abcdef", SECRET, NOW)
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == ("system:bootstrappers", "system:bootstrappers:racks", "system:authenticated")


@pytest.mark.parametrize(
    "changes",
    [
        {"expiration": "2025-12-31T23:59:59Z"},
        {"expiration": "soon"},
        {"token_secret": "fedcba9876543210"},
        {"token_id": "zzzzzz"},
        {"usage_bootstrap_authentication": None},
        {"usage_bootstrap_authentication": "false"},
        {"auth_extra_groups": "system:masters"},
    ],
    ids="-".join,
)
def test_a_secret_that_does_not_vouch_is_nobody(changes):
    secret = token_secret()
    data = token_secret(**{name: value for name, value in changes.items() if name != "token_id"})["data"]
    if "token_id" in changes:
        data["token-id"] = base64.b64encode(changes["token_id"].encode()).decode()
    assert bootstrapper({**secret, "data": data}, "abcdef", SECRET, NOW) is None


def test_another_type_of_secret_or_one_that_is_going_is_nobody():
    assert bootstrapper({**token_secret(), "type": "Opaque"}, "abcdef", SECRET, NOW) is None
    going = token_secret()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert bootstrapper(going, "abcdef", SECRET, NOW) is None


async def test_a_bootstrapper_may_file_requests_and_nothing_else(tmp_path):
    async with (
        serving(tmp_path) as server,
        ApiClient(load_kubeconfig(server.kubeconfig)) as admin,
        ApiClient(load_kubeconfig(server.kubeconfig_with_token(f"abcdef.{SECRET}"))) as joiner,
    ):
        with pytest.raises(Unauthorized):
            await joiner.list(CERTIFICATESIGNINGREQUESTS)
        await admin.create(SECRETS, token_secret())
        request = signing_request()
        request["spec"] |= {"username": "kubernetes-admin", "groups": ["system:masters"]}
        request["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Mine"}]}
        made = await joiner.create(CERTIFICATESIGNINGREQUESTS, request)
        assert made["spec"]["username"] == "system:bootstrap:abcdef"
        assert made["spec"]["groups"] == ["system:bootstrappers", "system:authenticated"]
        assert not made.get("status")
        assert (await joiner.get(CERTIFICATESIGNINGREQUESTS, "csr"))["spec"] == made["spec"]
        with pytest.raises(Forbidden):
            await joiner.list(NODES)
        with pytest.raises(Forbidden):
            await joiner.list(SECRETS, "kube-system")
        with pytest.raises(Forbidden):
            await joiner.update(CERTIFICATESIGNINGREQUESTS, made, subresource="approval")
        with pytest.raises(Forbidden):
            await joiner.delete(CERTIFICATESIGNINGREQUESTS, "csr")
        changed = await admin.patch(CERTIFICATESIGNINGREQUESTS, "csr", {"spec": {"username": "somebody"}})
        assert changed["spec"] == made["spec"]
        await admin.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
        with pytest.raises(Unauthorized):
            await joiner.list(CERTIFICATESIGNINGREQUESTS)
