"""Who may decide on signing requests. The whole path is in `test_csr`."""

from __future__ import annotations

import pytest

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.signing import SigningPermission
from sparsam.apiserver.authentication import authenticated
from sparsam.apiserver.authorization import Action
from sparsam.errors import Forbidden
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS, PODS
from tests.support.joining import USER_SIGNER, signing_request

OLD = signing_request("r", user="jane", groups=(), signer="example.com/own", usages=("client auth",))
DECIDED = {**OLD, "status": {"conditions": [{"type": "Approved", "status": "True"}]}}


class Holds:
    def __init__(self, *held: tuple[str, str]) -> None:
        self.held = held

    def allows(self, user, action: Action) -> bool:
        return action.resource == "signers" and (action.verb, action.name) in self.held


async def check(held, subresource, new=DECIDED, old=OLD, operation="UPDATE", resource=CERTIFICATESIGNINGREQUESTS):
    attributes = Attributes(operation, resource, "", "r", authenticated("jane", ()), subresource)
    return await SigningPermission(Holds(*held))(attributes, new, old, None)


@pytest.mark.parametrize("name", ["example.com/own", "example.com/*"])
@pytest.mark.parametrize(("verb", "subresource"), [("approve", "approval"), ("sign", "status")])
async def test_who_may_decide_on_a_signers_requests_does(verb, subresource, name):
    assert await check([(verb, name)], subresource) == []


@pytest.mark.parametrize(("verb", "subresource"), [("approve", "approval"), ("sign", "status")])
async def test_others_do_not(verb, subresource):
    words = f'user not permitted to {verb} requests with signerName "example.com/own"'
    with pytest.raises(Forbidden, match=words):
        await check([(verb, "example.com/other"), ("get", "example.com/own")], subresource)


async def test_what_decides_nothing_needs_no_permission():
    assert await check([], "status", new=OLD) == []
    assert await check([], "") == []
    assert await check([], "status", resource=PODS) == []


async def test_nobody_asks_to_become_a_master():
    master = signing_request("r", user="jane", groups=("dev", "system:masters"), signer=USER_SIGNER)
    with pytest.raises(Forbidden, match="system:masters group is not allowed"):
        await check([], "", new=master, old=None, operation="CREATE")
    assert (
        await check([], "", new={**master, "spec": {**master["spec"], "signerName": "a.b/c"}}, operation="CREATE") == []
    )
    broken = {**master, "spec": {**master["spec"], "request": "bm90IHBlbQ=="}}
    with pytest.raises(Forbidden, match="failed to parse CSR"):
        await check([], "", new=broken, old=None, operation="CREATE")
