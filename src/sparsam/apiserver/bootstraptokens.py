"""Bootstrap tokens: short-lived secrets with which a new node asks for its first certificate.

A token `<id>.<secret>` is valid while the Secret `bootstrap-token-<id>` in kube-system says so, see the Kubernetes
document "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from datetime import datetime

from sparsam.apiserver.authentication import BOOTSTRAPPERS_GROUP, User, authenticated
from sparsam.apiserver.tokens import Finder
from sparsam.clock import Clock, parse_time
from sparsam.objects.kinds import SECRETS
from sparsam.objects.strategy import Obj

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """Checks tokens against their Secrets, at each request anew, so that a deleted token ends at once."""

    def __init__(self, finder: Finder, clock: Clock) -> None:
        self._finder = finder
        self._clock = clock

    async def authenticate(self, token: str) -> User | None:
        """The bootstrapper of a valid token, or None."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        token_id, token_secret = match.groups()
        secret = await self._finder.find(SECRETS, f"bootstrap-token-{token_id}", NAMESPACE)
        return bootstrapper(secret, token_id, token_secret, self._clock.now()) if secret else None


def bootstrapper(secret: Obj, token_id: str, token_secret: str, now: datetime) -> User | None:
    """The user of a token, given the Secret of its name; None when the Secret does not vouch for it."""
    if secret.get("type") != SECRET_TYPE or "deletionTimestamp" in secret["metadata"]:
        return None
    try:
        data = {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
        expired = bool(data.get("expiration")) and parse_time(data["expiration"]) <= now
    except (binascii.Error, ValueError):
        return None
    same = hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode())
    if not same or data.get("token-id") != token_id:
        return None
    if expired or data.get("usage-bootstrap-authentication") != "true":
        return None
    extra = [group.strip() for group in data.get("auth-extra-groups", "").split(",") if group.strip()]
    if not all(_EXTRA_GROUP.fullmatch(group) for group in extra):
        return None
    return authenticated(f"system:bootstrap:{token_id}", (BOOTSTRAPPERS_GROUP, *extra))
