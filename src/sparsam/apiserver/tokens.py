"""Service account tokens: signed, bound to an account (and perhaps a pod), checked against what still lives.

A token is honoured as long as its account, and the pod or secret that it is bound to, exist with the same uid.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from sparsam.apiserver.authentication import User, authenticated
from sparsam.clock import Clock
from sparsam.objects.kinds import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from sparsam.objects.strategy import Obj

ALGORITHM = "RS256"
CACHE_SECONDS = 10.0
CACHE_SIZE = 1024

BINDABLE: dict[str, Resource] = {"pod": PODS, "secret": SECRETS, "node": NODES}


class Finder(Protocol):
    """Looks objects up."""

    async def find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        ...


@dataclass(frozen=True, slots=True)
class BoundObject:
    """What a token dies with."""

    kind: str
    name: str
    uid: str


class ServiceAccountTokens:
    """Issues and checks tokens with the cluster's service account key."""

    def __init__(self, pki_dir: Path, *, issuer: str, clock: Clock, finder: Finder) -> None:
        self._key = RSAKey.import_key((pki_dir / "sa.key").read_bytes())
        self._key_id = self._key.thumbprint()
        self.issuer = issuer
        self._clock = clock
        self._finder = finder
        self._known: OrderedDict[str, tuple[float, User]] = OrderedDict()

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set that checks every token issued here."""
        key = {"use": "sig", "alg": ALGORITHM, "kid": self._key_id}
        return {"keys": [self._key.as_dict(private=False) | key]}

    def issue(self, account: Obj, audiences: list[str], seconds: int, bound: list[BoundObject]) -> str:
        """A token for an account that holds for `seconds`."""
        now = int(self._clock.now().timestamp())
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": metadata["uid"]},
        }
        for each in bound:
            private[each.kind.lower()] = {"name": each.name, "uid": each.uid}
        claims = {
            "aud": audiences or [self.issuer],
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        return jwt.encode({"alg": ALGORITHM, "kid": self._key_id}, claims, self._key)

    async def authenticate(self, token: str) -> User | None:
        """The service account of a token for this API server, or None. Remembered for a few seconds."""
        now = self._clock.monotonic()
        known = self._known.get(token)
        if known is not None and known[0] > now:
            return known[1]
        user = await self.review(token, [self.issuer])
        if user is not None:
            self._known[token] = (now + CACHE_SECONDS, user)
            while len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
        return user

    async def review(self, token: str, audiences: list[str]) -> User | None:
        """The service account of a token meant for one of `audiences`, or None."""
        claims = self._verified(token)
        if claims is None:
            return None
        meant_for = claims.get("aud")
        meant_for = [meant_for] if isinstance(meant_for, str) else meant_for or []
        now = self._clock.now().timestamp()
        if not set(meant_for) & set(audiences) or not claims.get("nbf", 0) <= now < claims.get("exp", 0):
            return None
        return await self._live_account(claims)

    def _verified(self, token: str) -> dict[str, Any] | None:
        if token.count(".") != 2:
            return None
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        return claims if claims.get("iss") == self.issuer and "kubernetes.io" in claims else None

    async def _live_account(self, claims: dict[str, Any]) -> User | None:
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
        if not await self._lives(SERVICEACCOUNTS, namespace, account):
            return None
        for kind, resource in BINDABLE.items():
            if kind not in private:
                continue
            # The node is told for information; the token dies with its pod, as upstream has it.
            alone = kind != "node" or "pod" not in private
            if alone and not await self._lives(resource, namespace if resource.namespaced else "", private[kind]):
                return None
            extra[f"authentication.kubernetes.io/{kind}-name"] = (private[kind]["name"],)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (private[kind]["uid"],)
        name = f"system:serviceaccount:{namespace}:{account['name']}"
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return authenticated(name, groups, uid=account["uid"], extra=extra)

    async def _lives(self, resource: Resource, namespace: str, reference: dict[str, str]) -> bool:
        obj = await self._finder.find(resource, reference["name"], namespace)
        return obj is not None and obj["metadata"]["uid"] == reference["uid"]
