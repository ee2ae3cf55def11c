"""Tables of custom resources: the name, and the columns that their definition asks for.

Source: `additionalPrinterColumns` in the API reference; cells as upstream's table converter fills them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from sparsam.apiserver.tables.columns import NAME, Cells, Column, Obj, Printer, name_of, since
from sparsam.objects.jsonpath import compile_path
from sparsam.objects.objecttypes import PrinterColumn


@lru_cache(maxsize=256)
def printer(wanted: tuple[PrinterColumn, ...]) -> Printer:
    """The printer for these columns."""
    paths = [_finder(column.json_path) for column in wanted]

    def row(obj: Obj, now: datetime) -> Cells:
        cells: Cells = [name_of(obj)]
        for column, find in zip(wanted, paths, strict=True):
            found = find(obj)
            cells.append(_cell(column.type, found[0], now) if found else None)
        return cells

    return Printer((NAME, *map(_column, wanted)), row)


def _finder(path: str) -> Callable[[Any], list[Any]]:
    try:
        return compile_path(path)
    except ValueError:
        # As upstream, which leaves the cells of a path that it cannot follow empty.
        return lambda _obj: []


def _column(wanted: PrinterColumn) -> Column:
    text = wanted.description or f"Custom resource definition column (in JSONPath format): {wanted.json_path}"
    return Column(wanted.name, wanted.type, wanted.format, wanted.priority, text)


def _cell(kind: str, value: Any, now: datetime) -> Any:
    """A value as a cell of this type; None where it is of another one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "string":
            return _text(value)
        case "integer" if is_number:
            return int(value)
        case "number" if is_number:
            return float(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "date" if isinstance(value, str):
            return _age(value, now)
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _age(moment: str, now: datetime) -> str:
    try:
        return since(moment, now)
    except ValueError:
        return "<invalid>"
