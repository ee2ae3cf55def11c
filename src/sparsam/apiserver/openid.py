"""OpenID Connect discovery: how others check service account tokens without asking this server about each.

Source: OpenID Connect Discovery 1.0, as upstream's ServiceAccountIssuerDiscovery answers it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sparsam.apiserver.http import JSON, Reply, Request
from sparsam.apiserver.tokens import ALGORITHM, ServiceAccountTokens

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
_KEY_SET = "application/jwk-set+json"


def paths(tokens: ServiceAccountTokens, address: str) -> dict[str, Callable[[Request], Awaitable[Reply]]]:
    """The two documents by path; `address` is the `host:port` at which verifiers reach this server."""
    configuration = {
        "issuer": tokens.issuer,
        "jwks_uri": f"https://{address}{KEYS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
    return {CONFIGURATION: _document(configuration, JSON), KEYS: _document(tokens.public_keys(), _KEY_SET)}


def _document(document: dict[str, Any], content_type: str) -> Callable[[Request], Awaitable[Reply]]:
    reply = Reply(msgspec.json.encode(document), content_type=content_type)

    async def answer(_request: Request) -> Reply:
        return reply

    return answer
