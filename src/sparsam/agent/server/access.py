"""Who may ask a node for what: identity and permission come from the API server, and are remembered for a while.

A caller shows a client certificate of the cluster's authority or a bearer token (TokenReview). What it may do is
asked of the API server as an action on the node (SubjectAccessReview): paths map to subresources of `nodes` as
upstream's do. The API server itself and administrators need no question.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import aiohttp

from sparsam.agent.server.http import Scope
from sparsam.agent.server.identity import Caller, may_enter
from sparsam.client.api import ApiClient
from sparsam.errors import Forbidden, InternalError, StatusError, Unauthorized
from sparsam.objects.kinds import SUBJECTACCESSREVIEWS, TOKENREVIEWS

log = logging.getLogger(__name__)

STATE_CALLER = "caller"
TOKEN_SECONDS = 120.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
"""Upstream's defaults of how long answers are remembered."""
_REMEMBERED = 1024
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"), ("/checkpoint", "checkpoint"))
_FINE = {"/pods": "pods", "/runningpods": "pods", "/healthz": "healthz", "/configz": "configz"}
_FAULTS = (StatusError, aiohttp.ClientError, OSError, TimeoutError)

V = TypeVar("V")


def subresources_of(path: str) -> tuple[str, ...]:
    """Parts of `nodes` that let somebody see a path; any of them is enough."""
    for prefix, name in _SUBRESOURCES:
        if _below(prefix, path):
            return (name,)
    for prefix, name in _FINE.items():
        if _below(prefix, path.lower()):
            return (name, "proxy")
    return ("proxy",)


def _below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


@dataclass(slots=True)
class Remembered(Generic[V]):
    """Answers that hold for a while; the oldest go when there are too many."""

    _known: OrderedDict[Hashable, tuple[float, V]] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, now: float) -> V | None:
        """What is known and still holds."""
        until, value = self._known.get(key, (0.0, None))
        return value if until > now else None

    def put(self, key: Hashable, value: V, until: float) -> None:
        """Remember an answer."""
        self._known[key] = (until, value)
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


class Access:
    """Decides on requests to one node's server. Without a client only certificates of the mighty let anybody in."""

    def __init__(
        self, node_name: str, client: ApiClient | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node_name, self._client, self._clock = node_name, client, clock
        self._tokens: Remembered[Caller] = Remembered()
        self._verdicts: Remembered[bool] = Remembered()

    async def admit(self, scope: Scope, path: str) -> None:
        """Let a request for a path in; raises Unauthorized, Forbidden, or InternalError when nobody can be asked."""
        caller = (scope.get("state") or {}).get(STATE_CALLER)
        if may_enter(caller):
            return
        caller = await self._of_token(_bearer(scope)) or caller
        if caller is None:
            raise Unauthorized("Unauthorized")
        # The handshake of a WebSocket is a GET; what comes of it is more than reading.
        verb, parts = _VERBS.get(scope.get("method", "POST"), ""), subresources_of(path)
        for part in parts:
            if await self._allowed(caller, verb, part):
                return
        what = f"user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(parts)}]"
        raise Forbidden(f"Forbidden ({what})")

    async def _of_token(self, token: str) -> Caller | None:
        if not token or self._client is None:
            return None
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        known = self._tokens.get(key, now)
        if known is not None:
            return known
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        try:
            status = (await self._client.create(TOKENREVIEWS, review)).get("status") or {}
        except _FAULTS as error:
            log.warning("token not reviewed error=%s", error or type(error).__name__)
            return None
        if not status.get("authenticated"):
            return None
        caller = _caller(status.get("user") or {})
        self._tokens.put(key, caller, now + TOKEN_SECONDS)
        return caller

    async def _allowed(self, caller: Caller, verb: str, subresource: str) -> bool:
        if self._client is None:
            return False
        key, now = (caller, verb, subresource), self._clock()
        known = self._verdicts.get(key, now)
        if known is not None:
            return known
        about = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
        spec: dict[str, Any] = {
            "resourceAttributes": {**about, "name": self._node_name},
            "user": caller.name,
            "groups": list(caller.groups),
            "extra": {name: list(values) for name, values in caller.extra},
        }
        if caller.uid:
            spec["uid"] = caller.uid
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            status = (await self._client.create(SUBJECTACCESSREVIEWS, review)).get("status") or {}
        except _FAULTS as error:
            log.warning("access not reviewed user=%s error=%s", caller.name, error or type(error).__name__)
            what = f"user={caller.name}, verb={verb}, resource=nodes, subresource={subresource}"
            raise InternalError(f"Authorization error ({what})") from error
        allowed = bool(status.get("allowed"))
        self._verdicts.put(key, allowed, now + (ALLOWED_SECONDS if allowed else DENIED_SECONDS))
        return allowed


def _caller(user: Mapping[str, Any]) -> Caller:
    extra = tuple(sorted((name, tuple(values)) for name, values in (user.get("extra") or {}).items()))
    return Caller(user.get("username", ""), tuple(user.get("groups") or ()), user.get("uid", ""), extra)


def _bearer(scope: Scope) -> str:
    for name, value in scope.get("headers") or ():
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return ""
