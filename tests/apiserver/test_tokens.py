from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from sparsam.apiserver.pki import ensure_pki
from sparsam.apiserver.tokens import BoundObject, ServiceAccountTokens
from sparsam.objects.kinds import PODS, SERVICEACCOUNTS

ISSUER = "https://kubernetes.default.svc.cluster.local"
ACCOUNT = {"metadata": {"name": "default", "namespace": "d", "uid": "u1"}}


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.time

    def monotonic(self):
        return self.time.timestamp()

    def pass_by(self, seconds):
        self.time += timedelta(seconds=seconds)


class Objects(dict):
    async def find(self, resource, name, namespace=""):
        return self.get((resource.plural, namespace, name))


@pytest.fixture(scope="module")
def pki_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("pki")
    ensure_pki(path, sans=["127.0.0.1"])
    return path


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def objects():
    return Objects({(SERVICEACCOUNTS.plural, "d", "default"): ACCOUNT})


@pytest.fixture
def tokens(pki_dir, clock, objects):
    return ServiceAccountTokens(pki_dir, issuer=ISSUER, clock=clock, finder=objects)


async def test_an_issued_token_is_its_account(tokens):
    user = await tokens.authenticate(tokens.issue(ACCOUNT, [], 3600, []))
    assert user.name == "system:serviceaccount:d:default"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated")
    assert user.uid == "u1"


async def test_a_token_expires(tokens, clock):
    token = tokens.issue(ACCOUNT, [], 600, [])
    assert await tokens.authenticate(token)
    clock.pass_by(601)
    assert await tokens.authenticate(token) is None


async def test_a_token_dies_with_its_account(tokens, clock, objects):
    token = tokens.issue(ACCOUNT, [], 3600, [])
    objects[SERVICEACCOUNTS.plural, "d", "default"] = {"metadata": {"name": "default", "namespace": "d", "uid": "u2"}}
    assert await tokens.authenticate(token) is None
    objects.clear()
    assert await tokens.authenticate(token) is None


async def test_a_bound_token_dies_with_its_pod(tokens, clock, objects):
    objects[PODS.plural, "d", "p"] = {"metadata": {"name": "p", "namespace": "d", "uid": "pu"}}
    token = tokens.issue(ACCOUNT, [], 3600, [BoundObject("Pod", "p", "pu"), BoundObject("Node", "n", "nu")])
    user = await tokens.authenticate(token)
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n",)
    del objects[PODS.plural, "d", "p"]
    clock.pass_by(11)
    assert await tokens.authenticate(token) is None


async def test_a_token_for_others_does_not_open_the_api_server(tokens):
    token = tokens.issue(ACCOUNT, ["vault"], 3600, [])
    assert await tokens.authenticate(token) is None
    assert await tokens.review(token, ["vault"])


@pytest.mark.parametrize("token", ["", "a.b.c", "not a token", "eyJhbGciOiJub25lIn0.e30."])
async def test_nonsense_is_nobody(tokens, token):
    assert await tokens.authenticate(token) is None


async def test_a_changed_token_is_nobody(tokens):
    head, body, signature = tokens.issue(ACCOUNT, [], 3600, []).split(".")
    assert await tokens.authenticate(f"{head}.{body[:-2]}AA.{signature}") is None


async def test_the_published_keys_check_every_token(tokens):
    token = tokens.issue(ACCOUNT, ["vault"], 3600, [])
    published = tokens.public_keys()
    assert "d" not in published["keys"][0]
    assert jwt.decode(token, KeySet.import_key_set(published)).claims["aud"] == ["vault"]
