"""OpenAPI documents over HTTP: /openapi/v2, /openapi/v3 and one v3 document for each group and version.

Made when first asked for, off the event loop since that takes a while, and kept as bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from sparsam import __version__
from sparsam.apiserver import openapiproto
from sparsam.apiserver.http import JSON, Reply, Request
from sparsam.apiserver.media import negotiate
from sparsam.objects import openapi
from sparsam.objects.catalog import Catalog
from sparsam.objects.schema import kubernetes_version

Handler = Callable[[Request], Awaitable[Reply]]


def paths(catalog: Catalog) -> dict[str, Handler]:
    """Handlers by path."""
    handlers = {"/openapi/v2": _whole_document, "/openapi/v3": _document(_index)}
    for group_version in openapi.group_versions():
        handlers[f"/openapi/v3/{group_version}"] = _document(_part_of(group_version))
    return handlers


def _part_of(group_version: str) -> Callable[[], bytes]:
    return lambda: _part(group_version)


def _document(make: Callable[[], bytes]) -> Handler:
    async def handle(request: Request) -> Reply:
        # Nobody needs the protobuf form of these; who insists on it gets 406 and falls back to JSON.
        negotiate(request.header(b"accept"))
        return _reply(request, await asyncio.to_thread(make), JSON)

    return handle


async def _whole_document(request: Request) -> Reply:
    if openapiproto.ASKED_FOR in request.header(b"accept"):
        return _reply(request, await asyncio.to_thread(_whole_in_protobuf), openapiproto.CONTENT_TYPE)
    return await _document(_whole)(request)


def _reply(request: Request, body: bytes, content_type: str) -> Reply:
    tag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
    headers = [("etag", tag), ("vary", "Accept")]
    if request.header(b"if-none-match") == tag:
        return Reply(b"", 304, headers=headers)
    return Reply(body, content_type=content_type, headers=headers)


@lru_cache(maxsize=1)
def _whole() -> bytes:
    return msgspec.json.encode(openapi.openapi_v2())


@lru_cache(maxsize=1)
def _whole_in_protobuf() -> bytes:
    return openapiproto.encode(openapi.openapi_v2())


# kubectl explain and apply look at a few groups, not at all; what falls out is made again.
@lru_cache(maxsize=8)
def _part(group_version: str) -> bytes:
    return msgspec.json.encode(openapi.openapi_v3(group_version))


@lru_cache(maxsize=1)
def _index() -> bytes:
    """The list of documents. Clients keep them by `hash`, which changes with what could change them."""
    digest = hashlib.sha256(f"{kubernetes_version()} {__version__}".encode()).hexdigest().upper()
    listed = {
        group_version: {"serverRelativeURL": f"/openapi/v3/{group_version}?hash={digest}"}
        for group_version in openapi.group_versions()
    }
    return msgspec.json.encode({"paths": listed})
