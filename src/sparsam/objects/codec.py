"""How objects lie in the store and how they reach the wire: encoded once, spliced afterwards.

A stored value is JSON whose first key is `metadata`, without kind, apiVersion and metadata.resourceVersion. Those three
are put in front by concatenation, so that one encoding serves the store, lists and every watcher.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

# Keys are sorted, so that an update that changes nothing yields the very same bytes.
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(dict[str, Any])
_PREFIX = b'{"metadata":{'


def encode(obj: Obj, *, stored_as: str = "") -> bytes:
    """The stored form of an object; `stored_as` is written down with those whose versions may differ in more."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "resourceVersion"}
    rest = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion", "metadata")}
    if stored_as:
        rest["apiVersion"] = stored_as
    head = b'{"metadata":' + _encoder.encode(metadata)
    return head + b"," + _encoder.encode(rest)[1:] if rest else head + b"}"


@lru_cache(maxsize=256)
def _head(resource: Resource) -> bytes:
    kind = msgspec.json.encode({"kind": resource.kind, "apiVersion": resource.api_version})
    return kind[:-1] + b',"metadata":{'


def wire(value: bytes, revision: int, resource: Resource | None = None) -> bytes:
    """The form that clients see; list items (no `resource`) carry neither kind nor apiVersion."""
    head = _PREFIX if resource is None else _head(resource)
    comma = b"" if value[13:14] == b"}" else b","
    return b'%b"resourceVersion":"%d"%b%b' % (head, revision, comma, value[13:])


def decode_stored(value: bytes, revision: int, resource: Resource) -> Obj:
    """The whole object: kind, apiVersion and metadata.resourceVersion included."""
    obj: Obj = {"kind": resource.kind, "apiVersion": resource.api_version}
    obj.update(_decoder.decode(value))
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj
