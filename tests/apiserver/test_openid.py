from joserfc import jwt
from joserfc.jwk import KeySet

from sparsam.apiserver.openid import CONFIGURATION, KEYS
from tests.support.apiserver import serving
from tests.support.http import http_client

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def test_a_token_says_by_whom_it_can_be_checked_and_with_which_key(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as http:
        await http("POST", ACCOUNTS, {"metadata": {"name": "a"}})
        _, issued = await http("POST", f"{ACCOUNTS}/a/token", {"spec": {"audiences": ["vault"]}})
        code, found = await http("GET", CONFIGURATION)
        assert code == 200
        assert found["jwks_uri"] == f"{server.url}{KEYS}"
        code, keys = await http("GET", KEYS)
        assert (code, http.headers["content-type"]) == (200, "application/jwk-set+json")
        algorithms = found["id_token_signing_alg_values_supported"]
        claims = jwt.decode(issued["status"]["token"], KeySet.import_key_set(keys), algorithms=algorithms).claims
        assert (claims["iss"], claims["aud"]) == (found["issuer"], ["vault"])
