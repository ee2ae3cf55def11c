"""Whole objects within an object (`x-kubernetes-embedded-resource`): each has a kind, a version and proper metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.errors import Cause
from sparsam.objects import diagnosis, typed
from sparsam.objects.fields import child, invalid, required
from sparsam.objects.metadata import validate_metadata
from sparsam.objects.names import dns1035_label_errors
from sparsam.objects.scalars import Mismatch
from sparsam.objects.schema import OBJECT_META
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.nodes import Node


def find(node: Node, value: Any, path: str = "", *, is_root: bool = True) -> Iterator[tuple[Obj, str]]:
    """Every embedded resource within a value, outer ones first, and its path; `is_root`: the value itself is none."""
    if value.__class__ is list and node.items is not None:
        for position, item in enumerate(value):
            yield from find(node.items, item, f"{path}[{position}]", is_root=False)
    elif value.__class__ is dict:
        if node.embedded and not is_root:
            yield value, path
        if node.holds_embedded:
            for name, item in value.items():
                declared = node.properties.get(name)
                if declared is not None:
                    yield from find(declared, item, f"{path}.{name}" if path else name, is_root=False)
                elif node.values is not None:
                    yield from find(node.values, item, f"{path}[{name}]", is_root=False)


def read_metadata(metadata: Any) -> tuple[Obj, list[str]] | None:
    """Metadata as its schema has it, and the paths of unknown fields in it; None when it is of a wrong type."""
    try:
        cleaned, has_unknown = typed.read(OBJECT_META, metadata)
    except Mismatch:
        return None
    return cleaned, diagnosis.unknown_fields(OBJECT_META, metadata) if has_unknown else []


def validate(node: Node, value: Any, path: str = "", *, is_root: bool = True) -> Iterator[Cause]:
    """Causes for all embedded resources within a value."""
    for resource, here in find(node, value, path, is_root=is_root):
        yield from object_causes(resource, here)


def object_causes(resource: Obj, path: str) -> Iterator[Cause]:
    """Causes for one embedded resource: it needs a kind and a version, and what metadata it has must be proper."""
    for name in ("apiVersion", "kind"):
        here = child(path, name)
        text = resource.get(name, "")
        if not isinstance(text, str):
            yield invalid(here, text, "must be a string")
        elif not text:
            yield required(here)
        elif name == "kind":
            for error in dns1035_label_errors(text.lower()):
                yield invalid(here, text, f"may have mixed case, but should otherwise match: {error}")
        elif text.count("/") > 1:
            yield invalid(here, text, f"unexpected GroupVersion string: {text}")
    if "metadata" in resource:
        yield from _metadata(resource["metadata"], child(path, "metadata"))


def _metadata(metadata: Any, path: str) -> Iterator[Cause]:
    read = read_metadata(metadata)
    if read is None:
        yield invalid(path, metadata, diagnosis.type_error(OBJECT_META, metadata))
        return
    # Upstream asks for no name, hence lends one.
    meta = {"name": "fakename"} | read[0]
    yield from validate_metadata(meta, namespaced=bool(meta.get("namespace")), path=path)
