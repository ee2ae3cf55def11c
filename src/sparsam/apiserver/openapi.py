"""OpenAPI documents over HTTP: /openapi/v2, /openapi/v3 and one v3 document for each group and version.

Made when first asked for, off the event loop since that takes a while, and kept as bytes as long as what is served
stays the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial

import msgspec

from sparsam import __version__
from sparsam.apiserver import openapiproto
from sparsam.apiserver.http import JSON, Reply, Request
from sparsam.apiserver.media import negotiate
from sparsam.objects import openapi
from sparsam.objects.catalog import Catalog
from sparsam.objects.schema import kubernetes_version

Handler = Callable[[Request], Awaitable[Reply]]


def paths(catalog: Catalog, remote: Mapping[str, str] | None = None) -> dict[str, Handler]:
    """Handlers by path; `remote` gives the URLs of documents that other servers have, by their path in the index."""
    handlers: dict[str, Handler] = {
        "/openapi/v2": partial(_whole_document, catalog),
        "/openapi/v3": _document(partial(_index, catalog, tuple(sorted((remote or {}).items())))),
    }
    for group_version in openapi.group_versions(catalog):
        handlers[f"/openapi/v3/{group_version}"] = _document(partial(_part, catalog, group_version))
    return handlers


def _document(make: Callable[[], bytes]) -> Handler:
    async def handle(request: Request) -> Reply:
        # Nobody needs the protobuf form of these; who insists on it gets 406 and falls back to JSON.
        negotiate(request.header(b"accept"))
        return _reply(request, await asyncio.to_thread(make), JSON)

    return handle


async def _whole_document(catalog: Catalog, request: Request) -> Reply:
    if openapiproto.ASKED_FOR in request.header(b"accept"):
        body = await asyncio.to_thread(_whole_in_protobuf, catalog)
        return _reply(request, body, openapiproto.CONTENT_TYPE)
    return await _document(partial(_whole, catalog))(request)


def _reply(request: Request, body: bytes, content_type: str) -> Reply:
    tag = f'"{_digest(body)}"'
    headers = [("etag", tag), ("vary", "Accept")]
    if request.header(b"if-none-match") == tag:
        return Reply(b"", 304, headers=headers)
    return Reply(body, content_type=content_type, headers=headers)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest().upper()


# Keyed by catalog: there is one at a time, and the documents of those before it are not asked for again.
@lru_cache(maxsize=1)
def _whole(catalog: Catalog) -> bytes:
    return msgspec.json.encode(openapi.openapi_v2(catalog))


@lru_cache(maxsize=1)
def _whole_in_protobuf(catalog: Catalog) -> bytes:
    return openapiproto.encode(openapi.openapi_v2(catalog))


# kubectl explain and apply look at a few groups, not at all; what falls out is made again.
@lru_cache(maxsize=8)
def _part(catalog: Catalog, group_version: str) -> bytes:
    return msgspec.json.encode(openapi.openapi_v3(group_version, catalog))


@lru_cache(maxsize=1)
def _index(catalog: Catalog, remote: tuple[tuple[str, str], ...]) -> bytes:
    """The list of documents. Clients keep them by `hash`, which changes with what could change them."""
    own = _digest(f"{kubernetes_version()} {__version__}".encode())
    custom = {f"apis/{resource.group}/{resource.version}" for resource in catalog.custom}
    listed = {}
    for group_version in openapi.group_versions(catalog):
        digest = _digest(_part(catalog, group_version)) if group_version in custom else own
        listed[group_version] = {"serverRelativeURL": f"/openapi/v3/{group_version}?hash={digest}"}
    for path, url in remote:
        listed[path] = {"serverRelativeURL": url}
    return msgspec.json.encode({"paths": listed})
