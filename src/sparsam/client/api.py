"""An async client of the Kubernetes API: one method per verb, objects as plain JSON, Status as exceptions."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from sparsam import __version__
from sparsam.client.config import ClusterConfig, ConfigError, load_kubeconfig, show_certificate
from sparsam.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    NotImplementedHere,
    RequestEntityTooLarge,
    ServiceUnavailable,
    StatusError,
    Timeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)
from sparsam.objects.kinds import Resource

log = logging.getLogger(__name__)

Obj = dict[str, Any]

REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 10.0
FOLLOW_SECONDS = 10.0
MOST_REQUESTS = 32
"""At once, beside watches: more only wait in the server, and each costs both sides a connection's memory."""
"""How often a kubeconfig is looked at for new credentials."""
WATCH_SECONDS = 300
PAGE_OBJECTS = 500

_ERRORS: tuple[type[StatusError], ...] = (
    *(AlreadyExists, BadRequest, Conflict, Forbidden, Gone, InternalError, Invalid, MethodNotAllowed),
    *(NotAcceptable, NotFound, NotImplementedHere, RequestEntityTooLarge, ServiceUnavailable, Timeout),
    *(TooManyRequests, Unauthorized, UnsupportedMediaType),
)
_BY_REASON = {error.reason: error for error in _ERRORS} | {"Gone": Gone}
_BY_CODE = {error.code: error for error in _ERRORS} | {409: Conflict}
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def error_of(code: int, body: bytes) -> StatusError:
    """The exception that a failed answer stands for."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": body.decode(errors="replace").strip() or f"HTTP {code}"}
    kind = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(code, InternalError)
    return kind(status.get("message", ""), details=status.get("details"))


class ApiClient:
    """Use as `async with ApiClient(config) as client`. Raises StatusError subclasses, and OSError or
    aiohttp.ClientError (both mean: not reached) as they come.
    """

    def __init__(self, config: ClusterConfig, *, program: str = "sparsam") -> None:
        """`program` is the name under which the API server remembers what this client writes."""
        self.config = config
        self._program = program
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._following: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(MOST_REQUESTS)

    async def __aenter__(self) -> Self:
        context = self._tls = self.config.ssl_context()
        if context is not None and self.config.source is not None and self.config.client_certificate:
            self._following = asyncio.create_task(self._follow(self.config.source), name="credentials")
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=0, keepalive_timeout=60)
        headers = {"User-Agent": f"{self._program}/{__version__} (sparsam)", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, source: Path) -> None:
        """Show the certificate that the kubeconfig has by now: whoever rotates it writes it there."""
        seen = _written(source)
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            now = _written(source)
            if now == seen or now is None:
                continue
            try:
                self.renew_identity()
                seen = now
            except (ConfigError, OSError) as error:  # an SSLError is an OSError
                log.warning("new credentials not taken file=%s error=%s", source, error)

    def renew_identity(self) -> None:
        """Read the kubeconfig again for the connections to come; raises ConfigError and OSError."""
        fresh = load_kubeconfig(self.config.source, self.config.context)
        if self._tls is not None and fresh.client_certificate and fresh.client_key:
            show_certificate(self._tls, fresh.client_certificate, fresh.client_key)
            self.config = replace(self.config, client_certificate=fresh.client_certificate, client_key=fresh.client_key)

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        """One object."""
        return await self.get_json(resource.path(name, namespace, subresource))

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Obj:
        """Any path that answers JSON."""
        return _decode(await self._send("GET", path, params=params))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE_OBJECTS,
    ) -> Obj:
        """A whole collection as one list object, fetched in pages of `limit` (0 for all at once)."""
        params = _given(labelSelector=label_selector, fieldSelector=field_selector, limit=str(limit) if limit else "")
        result = await self.get_json(resource.path(namespace=namespace), params)
        page = result
        while token := page["metadata"].get("continue"):
            page = await self.get_json(resource.path(namespace=namespace), {**params, "continue": token})
            result["items"].extend(page["items"])
            result["metadata"] = page["metadata"]
        result["items"] = result.get("items") or []
        return result

    async def create(
        self, resource: Resource, obj: Obj, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Obj:
        """Create an object, or post to a subresource (`name` says of which object)."""
        namespace = namespace or obj.get("metadata", {}).get("namespace", "")
        return _decode(await self._send("POST", resource.path(name, namespace, subresource), body=obj))

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace an object; its resourceVersion guards against lost updates."""
        metadata = obj["metadata"]
        path = resource.path(metadata["name"], metadata.get("namespace", ""), subresource)
        return _decode(await self._send("PUT", path, body=obj))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: str = "merge",
        subresource: str = "",
    ) -> Obj:
        """Patch an object; `kind` is merge, json or strategic."""
        path = resource.path(name, namespace, subresource)
        return _decode(await self._send("PATCH", path, body=patch, content_type=_PATCH_TYPES[kind]))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Obj:
        """Delete an object; the answer is the object while it lingers, else a Status."""
        options: Obj = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if preconditions := _given(uid=uid, resourceVersion=resource_version):
            options["preconditions"] = preconditions
        return _decode(await self._send("DELETE", resource.path(name, namespace), body=options))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        seconds: int = WATCH_SECONDS,
    ) -> AsyncIterator[tuple[str, Obj]]:
        """(type, object) pairs until the server ends the watch; BOOKMARK included, ERROR raised as StatusError."""
        params = _given(
            watch="true",
            allowWatchBookmarks="true",
            timeoutSeconds=str(seconds),
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=seconds + REQUEST_SECONDS)
        path = resource.path(namespace=namespace)
        async with self._open.get(
            self.config.server + path, params=params, headers=self._auth(), timeout=timeout
        ) as answer:
            if answer.status != 200:
                raise error_of(answer.status, await answer.read())
            async for line in _lines(answer.content):
                event = msgspec.json.decode(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise error_of(status.get("code", 500), msgspec.json.encode(status))
                yield event["type"], event["object"]

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with` block")
        return self._session

    def _auth(self) -> dict[str, str]:
        token = self.config.bearer_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = self._auth()
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = msgspec.json.encode(body)
        url = self.config.server + path
        async with (
            self._turns,
            self._open.request(method, url, params=params, data=data, headers=headers) as answer,
        ):
            content = await answer.read()
        if answer.status >= 400:
            raise error_of(answer.status, content)
        return content


def _written(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own line reader gives up at 64 kB, and objects may be larger."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            parts.append(line)
            if whole := b"".join(parts):
                yield whole
            parts = []
        if rest:
            parts.append(rest)


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _decode(content: bytes) -> Obj:
    decoded: Obj = msgspec.json.decode(content)
    return decoded
