"""The OpenAPI v2 document as protocol buffers: what kubectl reads of it before it sends a `kind: List`.

That is which parameters the operations on each kind take. Definitions are left out: kubectl takes them from v3.
Source: the message types of github.com/google/gnostic, openapiv2 (field numbers below).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sparsam.objects.protowire import field

ASKED_FOR = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Clients ask by one name and are answered by another, since an at sign is not allowed in a media type."""

Obj = Mapping[str, Any]

_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 7}
_KIND = "x-kubernetes-group-version-kind"


def encode(document: Obj) -> bytes:
    """A `Document` message of the same paths."""
    info = field(1, document["info"]["title"]) + field(2, document["info"]["version"])
    paths = (field(2, field(1, path) + field(2, _path(item))) for path, item in document["paths"].items())
    return field(1, document["swagger"]) + field(2, info) + field(8, b"".join(paths))


def _path(item: Obj) -> bytes:
    return b"".join(field(number, _operation(item[name])) for name, number in _METHODS.items() if name in item)


def _operation(operation: Obj) -> bytes:
    extensions = b""
    if _KIND in operation:
        # The value is YAML, of which JSON is a part.
        value = field(2, json.dumps(operation[_KIND]))
        extensions = field(13, field(1, _KIND) + field(2, value))
    return field(5, operation["operationId"]) + b"".join(_parameters(operation)) + extensions


def _parameters(operation: Obj) -> Iterator[bytes]:
    """Query parameters; each is wrapped in three messages that say what sort of parameter it is."""
    for parameter in operation.get("parameters") or ():
        if parameter.get("in") == "query":
            query = field(2, "query") + field(4, parameter["name"]) + field(6, parameter["type"])
            yield field(8, field(1, field(2, field(3, query))))
