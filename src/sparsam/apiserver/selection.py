"""Label and field selectors applied to stored bytes. A selector decodes only what it looks at, and only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from sparsam.apiserver.fields import GENERIC, read_custom_field, read_field, selectable
from sparsam.errors import BadRequest
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry


class _Labels(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Labels


# Groups whose kinds with fields of their own name themselves in the error.
_VERSIONED_MESSAGES = frozenset({"apps", "batch"})

_labels_decoder = msgspec.json.Decoder(_Labelled)
_object_decoder = msgspec.json.Decoder(dict[str, Any])


# Watchers of one kind look at the same few newest entries one after the other, so a small cache serves all of them.
@lru_cache(maxsize=512)
def _labels_of(value: bytes) -> dict[str, str]:
    return _labels_decoder.decode(value).metadata.labels or {}


@lru_cache(maxsize=512)
def _fields_of(value: bytes, paths: tuple[str, ...], read: Callable[[Obj, str], str]) -> dict[str, str]:
    obj = _object_decoder.decode(value)
    return {path: read(obj, path) for path in paths}


class Selection:
    """What a request selects from a collection."""

    __slots__ = ("_fields", "_labels", "_paths", "_read", "is_all", "name")

    def __init__(
        self,
        labels: LabelSelector | None,
        fields: FieldSelector | None,
        name: str = "",
        read: Callable[[Obj, str], str] = read_field,
    ) -> None:
        self._labels = labels
        self._fields = fields
        self._read = read
        self._paths = tuple(sorted(fields.paths())) if fields else ()
        self.is_all = labels is None and fields is None
        self.name = name
        """The one name that can match, or empty."""

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is selected."""
        if self._labels is not None and not self._labels.matches(_labels_of(entry.value)):
            return False
        return self._fields is None or self._fields.matches(_fields_of(entry.value, self._paths, self._read))


EVERYTHING = Selection(None, None)


def parse_selection(resource: Resource, query: Mapping[str, str]) -> Selection:
    """From labelSelector and fieldSelector; raises BadRequest in upstream's words."""
    label_text, field_text = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if not label_text and not field_text:
        return EVERYTHING
    labels = parse_label_selector(label_text) if label_text else None
    if labels is not None and labels.is_everything:
        labels = None
    fields = parse_field_selector(field_text) if field_text else None
    if fields is None or not fields.terms:
        return Selection(labels, None)
    known = selectable(resource)
    for path in sorted(fields.paths()):
        if path not in known:
            raise _unknown_field(resource, path)
    read = read_custom_field if type_of(resource).is_custom else read_field
    return Selection(labels, fields, fields.required("metadata.name") or "", read)


def _unknown_field(resource: Resource, path: str) -> BadRequest:
    if resource.group in _VERSIONED_MESSAGES:
        return BadRequest(f'field label "{path}" not supported for {resource.group}{resource.version}.{resource.kind}')
    if type_of(resource).is_custom or len(selectable(resource)) > len(GENERIC):
        return BadRequest(f"field label not supported: {path}")
    return BadRequest(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')
