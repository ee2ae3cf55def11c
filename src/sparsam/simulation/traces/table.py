"""Our own format: a table of pods, one a row, from CSV or Parquet. `docs/traces.md` describes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sparsam.scheduling.demand import compile_pod
from sparsam.simulation.fleet import near
from sparsam.simulation.trace import Obj
from sparsam.simulation.traces.rows import (
    Arrival,
    BadField,
    Columns,
    Reading,
    Row,
    Source,
    Templates,
    amount,
    number,
    pod,
)

REQUIRED = ("arrival_seconds",)
COLUMNS = (
    *("name", "arrival_seconds", "duration_seconds", "cpu", "memory", "kind"),
    *("usage", "priority", "namespace", "labels", "spec"),
)
KINDS = {"": False, "service": False, "batch": True}
# What makes the pod what it is: rows that agree in these share a template.
TEMPLATE = ("cpu", "memory", "priority", "namespace", "labels", "spec")


def read_table(rows: Iterable[Row], file: str, *, lenient: bool = False) -> Reading:
    """Rows of our own format. Columns that it does not have are refused, or passed over if lenient."""
    source, templates, columns = Source(file, lenient), Templates(), Columns()
    header = _Header(lenient)

    def parse(row: Row) -> Arrival:
        header.check(row)
        kind = row.get("kind") or ""
        if kind not in KINDS:
            raise BadField("kind", f"{kind!r} is neither service nor batch")
        found = Arrival(
            _template(row, templates),
            number(row, "arrival_seconds"),
            _duration(row),
            KINDS[kind],
            number(row, "usage", math.nan),
        )
        if not _empty(row, "name"):
            source.once("name", str(row["name"]), row.get("namespace") or "default")
        return found

    for arrival in source.tabled(rows, parse, REQUIRED):
        columns.add(arrival)
    return source.reading(columns.trace(file, templates))


class _Header:
    """Looks at the columns of the first row."""

    def __init__(self, lenient: bool) -> None:
        self._checked = lenient

    def check(self, row: Row) -> None:
        if not self._checked:
            self._checked = True
            for name in row:
                if name not in COLUMNS:
                    raise BadField("the header", f"{near(str(name), COLUMNS)}; there are {', '.join(COLUMNS)}")


def _duration(row: Row) -> float:
    cell = row.get("duration_seconds")
    return math.inf if cell in ("inf", math.inf) else number(row, "duration_seconds", math.inf)


def _template(row: Row, templates: Templates) -> int:
    cells = [row.get(name) for name in TEMPLATE]
    try:
        return templates.number(tuple(cells), lambda: _pod(row))
    except TypeError:
        # Parquet has maps and lists where CSV has their text.
        return templates.number(msgspec.json.encode(cells, order="deterministic"), lambda: _pod(row))


def _pod(row: Row) -> Obj:
    requests = {name: amount(name, name, str(row[name]).strip()) for name in ("cpu", "memory") if not _empty(row, name)}
    spec: dict[str, Any] = dict(_mapping(row, "spec"))
    if not _empty(row, "priority"):
        spec["priority"] = _whole(row, "priority")
    found = pod(requests, namespace=row.get("namespace") or "default", labels=_labels(row), spec=spec)
    if not _empty(row, "spec"):
        try:
            if containers := spec.get("containers"):
                found["spec"]["containers"] = [_requesting(containers[0], requests), *containers[1:]]
            compile_pod(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadField("spec", f"is no pod's: {type(error).__name__}: {error}") from None
    return found


def _requesting(container: Mapping[str, Any], requests: Mapping[str, str]) -> Obj:
    """The container with what the columns say instead of what it says itself."""
    resources = container.get("resources") or {}
    return {**container, "resources": {**resources, "requests": {**(resources.get("requests") or {}), **requests}}}


def _labels(row: Row) -> dict[str, str]:
    cell = row.get("labels")
    if isinstance(cell, str) and cell.strip() and not cell.lstrip().startswith("{"):
        pairs = [each.strip().partition("=") for each in cell.split(",")]
        if not all(name and equals for name, equals, _ in pairs):
            raise BadField("labels", f"{cell!r} is neither name=value,... nor a JSON object")
        return {name: value for name, _, value in pairs}
    labels = _mapping(row, "labels")
    for name, value in labels.items():
        if not isinstance(value, str):
            raise BadField("labels", f"{name}: {value!r} is no text")
    return dict(labels)


def _mapping(row: Row, name: str) -> Mapping[str, Any]:
    """A cell with a JSON object, or one that already is a mapping."""
    cell = row.get(name)
    if isinstance(cell, str) and cell.strip():
        try:
            cell = msgspec.json.decode(cell)
        except msgspec.DecodeError as error:
            raise BadField(name, f"is not JSON: {error}") from None
    if _empty({name: cell}, name):
        return {}
    if not isinstance(cell, Mapping):
        raise BadField(name, f"{cell!r} is no object")
    return cell


def _whole(row: Row, name: str) -> int:
    try:
        return int(row[name])
    except (TypeError, ValueError):
        raise BadField(name, f"{row[name]!r} is no whole number") from None


def _empty(row: Row, name: str) -> bool:
    cell = row.get(name)
    return cell is None or (isinstance(cell, str) and not cell.strip())
