"""Objects and lists in the form that a client asked for: JSON by splicing, or Table, partial metadata, YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import msgspec
import yaml

from sparsam.apiserver import conversion, listing, tables
from sparsam.apiserver.http import YAML, Reply
from sparsam.apiserver.listing import Listed
from sparsam.apiserver.media import Media
from sparsam.apiserver.registry import Outcome
from sparsam.errors import NotAcceptable
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry

Query = Mapping[str, str]

META = "meta.k8s.io"
MOST_WARNING_CHARACTERS = 4096
CUT_WARNING_CHARACTERS = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def one(resource: Resource, value: bytes, revision: int, media: Media, query: Query) -> Reply:
    """A stored object."""
    body = conversion.wire(resource, value, revision)
    return _shaped(resource, body, media, query) if media.kind or media.is_yaml else Reply(body)


def written(resource: Resource, outcome: Outcome, media: Media, query: Query) -> Reply:
    """The result of a write."""
    body = outcome.wire(resource)
    reply = _shaped(resource, body, media, query) if media.kind or media.is_yaml else Reply(body)
    reply.status = 201 if outcome.created else 200
    reply.headers = warning_headers(outcome.warnings)
    return reply


def many(resource: Resource, listed: Listed, media: Media, query: Query) -> Reply:
    """A page of a list."""
    if not media.kind:
        body = listing.wire(listed, resource)
        return _yaml(body) if media.is_yaml else Reply(body)
    metadata: dict[str, Any] = {"resourceVersion": str(listed.revision)}
    if listed.token:
        metadata["continue"] = listed.token
    if listed.remaining:
        metadata["remainingItemCount"] = listed.remaining
    objects = [conversion.decode(resource, entry.value, entry.revision) for entry in listed.entries]
    if media.kind == "Table":
        whole = tables.render(resource, objects, metadata, include=_include(query), version=media.version)
    elif media.kind == "PartialObjectMetadataList":
        items = [partial(obj, media.version) for obj in objects]
        whole = {
            "kind": media.kind,
            "apiVersion": f"{META}/{media.version}",
            "metadata": metadata,
            "items": items,
        }
    else:
        raise not_acceptable()
    return _encoded(whole, media)


def event_render(resource: Resource, media: Media, query: Query) -> Callable[[Entry], bytes]:
    """How a watch shows each object."""
    if not media.kind:
        return lambda entry: conversion.wire(resource, entry.value, entry.revision)
    if media.kind == "PartialObjectMetadata":
        return lambda entry: msgspec.json.encode(partial(_decoded(resource, entry), media.version))
    if media.kind != "Table":
        raise not_acceptable()
    include, headers = _include(query), [True]

    def row(entry: Entry) -> bytes:
        obj = _decoded(resource, entry)
        version = obj["metadata"]["resourceVersion"]
        table = tables.render(
            resource, [obj], {"resourceVersion": version}, include=include, version=media.version, headers=headers[0]
        )
        # Column definitions come with the first event only.
        headers[0] = False
        return msgspec.json.encode(table)

    return row


def partial(obj: Obj, version: str) -> Obj:
    """Nothing but the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/{version}", "metadata": obj["metadata"]}


def warning_headers(warnings: list[str]) -> list[tuple[str, str]]:
    """Warnings as RFC 7234 headers, each text once, cut as upstream does where there are too many for headers."""
    texts = list(dict.fromkeys(warnings))
    if sum(map(len, texts)) > MOST_WARNING_CHARACTERS:
        texts = [text[:CUT_WARNING_CHARACTERS] for text in texts]
        written = accumulate(map(len, texts), initial=0)
        texts = [text for text, before in zip(texts, written, strict=False) if before < MOST_WARNING_CHARACTERS]
    quoted = (_CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return [("warning", f'299 - "{text}"') for text in quoted]


def not_acceptable() -> NotAcceptable:
    """The form asked for does not fit what is asked of."""
    return NotAcceptable(
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml", details={}
    )


def _shaped(resource: Resource, body: bytes, media: Media, query: Query) -> Reply:
    if not media.kind:
        return _yaml(body)
    obj: Obj = msgspec.json.decode(body)
    if media.kind == "Table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return _encoded(tables.render(resource, [obj], metadata, include=_include(query), version=media.version), media)
    if media.kind == "PartialObjectMetadata":
        return _encoded(partial(obj, media.version), media)
    raise not_acceptable()


def _decoded(resource: Resource, entry: Entry) -> Obj:
    return conversion.decode(resource, entry.value, entry.revision)


def _include(query: Query) -> str:
    return query.get("includeObject", "") or "Metadata"


def _encoded(obj: Obj, media: Media) -> Reply:
    body = msgspec.json.encode(obj)
    return _yaml(body) if media.is_yaml else Reply(body)


def _yaml(body: bytes) -> Reply:
    text = yaml.safe_dump(msgspec.json.decode(body), sort_keys=True, allow_unicode=True, width=1 << 30)
    return Reply(text.encode(), content_type=YAML)


def virtual_one(resource: Resource, obj: Obj, media: Media) -> Reply:
    """An object that is made on the spot, also as a Table."""
    if media.kind == "Table":
        return _encoded(tables.render(resource, [obj], {}, version=media.version), media)
    return virtual(obj, media)


def virtual_list(resource: Resource, objects: list[Obj], media: Media) -> Reply:
    """A list of objects that are made on the spot, also as a Table."""
    if media.kind == "Table":
        return _encoded(tables.render(resource, objects, {}, version=media.version), media)
    items = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in objects]
    return virtual(
        {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": {}, "items": items}, media
    )


def virtual(obj: Obj, media: Media, *, status: int = 200) -> Reply:
    """An object that is not stored: reviews, tokens."""
    if media.kind:
        raise not_acceptable()
    reply = _encoded(obj, media)
    reply.status = status
    return reply
