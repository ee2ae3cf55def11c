"""Objects as meta.k8s.io Tables, the form in which `kubectl get` asks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sparsam.apiserver.tables import cluster, custom, measured, pods, policies
from sparsam.apiserver.tables.columns import NAME, Column, Printer, name_of
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.strategy import Obj

_GENERIC = Printer(
    (NAME, Column("Created At", "date", description="When the server created this object.")),
    lambda obj, _now: [name_of(obj), obj["metadata"].get("creationTimestamp", "")],
)
PRINTERS: dict[tuple[str, str], Printer] = {
    **pods.PRINTERS,
    **cluster.PRINTERS,
    **policies.PRINTERS,
    **measured.PRINTERS,
}


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
    columns = type_of(resource).printer_columns
    printer = custom.printer(columns) if columns else PRINTERS.get((resource.group, resource.kind), _GENERIC)
    now = datetime.now(UTC)
    rows = [_row(obj, printer.row(obj, now), include, version) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": [column.as_json() for column in printer.columns] if headers else [],
        "rows": rows,
    }


def _row(obj: Obj, cells: list[Any], include: str, version: str) -> Obj:
    row: Obj = {"cells": cells}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": obj["metadata"],
        }
    return row
