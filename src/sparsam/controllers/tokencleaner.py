"""Removes bootstrap tokens whose time is over; the API server refuses them anyway."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from sparsam.clock import parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import SECRETS

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
CHECK_SECONDS = 60.0
_ROUND: Key = (NAMESPACE, "")


class TokenCleaner:
    """Looks once a minute: a cache of every Secret of the cluster would cost more than it tells."""

    def __init__(self, context: Context, *, check_seconds: float = CHECK_SECONDS) -> None:
        self._client, self._clock, self._check_seconds = context.client, context.clock, check_seconds
        self.controller = Controller("token-cleaner", context, self.sync, workers=1)
        self.controller.queue.add(_ROUND)

    async def sync(self, key: Key) -> None:
        """Delete what has expired and come back."""
        listed = await self._client.list(SECRETS, NAMESPACE, field_selector=f"type={SECRET_TYPE}")
        for secret in listed["items"]:
            if is_expired(secret, self._clock.now()):
                metadata = secret["metadata"]
                try:
                    await self._client.delete(SECRETS, metadata["name"], NAMESPACE, uid=metadata["uid"])
                except (NotFound, Conflict):
                    continue
        self.controller.queue.add_after(key, self._check_seconds)


def is_expired(secret: Obj, now: datetime) -> bool:
    """Whether a token's time is over; one without a time, or with an unreadable one, stays for its owner to see."""
    expiration = (secret.get("data") or {}).get("expiration")
    if not expiration:
        return False
    try:
        return parse_time(base64.b64decode(expiration).decode()) <= now
    except (binascii.Error, ValueError):
        return False
