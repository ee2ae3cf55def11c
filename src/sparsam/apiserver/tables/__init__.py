"""Objects as meta.k8s.io Tables, the form in which `kubectl get` asks for them."""

from __future__ import annotations

from typing import Any

from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

_GENERIC = (
    {
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name must be unique within a namespace.",
        "priority": 0,
    },
    {
        "name": "Created At",
        "type": "date",
        "format": "",
        "description": "CreationTimestamp is the time at which the server created this object.",
        "priority": 0,
    },
)


def render(
    resource: Resource,
    objects: list[Obj],
    metadata: dict[str, Any],
    *,
    include: str = "Metadata",
    version: str = "v1",
    headers: bool = True,
) -> Obj:
    """A Table of `objects`; `include` (None, Metadata, Object) says what each row carries besides its cells."""
    rows = [_row(obj, include, version) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": list(_GENERIC) if headers else [],
        "rows": rows,
    }


def _row(obj: Obj, include: str, version: str) -> Obj:
    row: Obj = {"cells": [obj["metadata"].get("name", ""), obj["metadata"].get("creationTimestamp", "")]}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": obj["metadata"],
        }
    return row
