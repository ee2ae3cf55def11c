"""Columns of a Table and the small formats that kubectl's users know by heart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sparsam.clock import parse_time

Obj = Mapping[str, Any]
Cells = list[Any]

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; priority 1 shows with `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def as_json(self) -> dict[str, Any]:
        """The entry of `columnDefinitions`."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="Time since the object was created.")


@dataclass(frozen=True, slots=True)
class Printer:
    """The columns of a kind and the function that fills a row, given the object and the time."""

    columns: tuple[Column, ...]
    row: Callable[[Obj, datetime], Cells]


def wide(name: str) -> Column:
    """A column for `-o wide`."""
    return Column(name, priority=1)


def integer(name: str) -> Column:
    """A column of numbers."""
    return Column(name, "integer")


def columns(*names: str | Column) -> tuple[Column, ...]:
    """Name first, then the given ones (texts are plain columns)."""
    return (NAME, *(name if isinstance(name, Column) else Column(name) for name in names))


def name_of(obj: Obj) -> str:
    """metadata.name."""
    return str(obj["metadata"].get("name", ""))


def age(obj: Obj, now: datetime) -> str:
    """Time since creation."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def since(moment: str | None, now: datetime) -> str:
    """Time since a timestamp, in words; `<unknown>` without one."""
    return human_duration((now - parse_time(moment)).total_seconds()) if moment else UNKNOWN


def human_duration(seconds: float) -> str:
    """At most two units, two or three digits: 95s, 12m, 3h5m, 4d2h. Source: apimachinery `duration.HumanDuration`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 60 * 2:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 60 * 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def joined(values: Iterable[object], empty: str = "") -> str:
    """Comma-separated, without spaces."""
    return ",".join(str(value) for value in values) or empty


def first_few(values: Sequence[str], most: int = 3, empty: str = NONE) -> str:
    """The first few values and how many more there are."""
    if not values:
        return empty
    more = len(values) - most
    return joined(values[:most]) + (f" + {more} more..." if more > 0 else "")


def selector_text(selector: Obj | None, empty: str = NONE) -> str:
    """A LabelSelector as kubectl prints it."""
    if not selector:
        return empty
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    expressions = sorted(selector.get("matchExpressions") or (), key=lambda each: str(each["key"]))
    return joined([*parts, *map(_expression_text, expressions)], empty)


def labels_text(labels: Mapping[str, str] | None, empty: str = NONE) -> str:
    """Labels as key=value pairs in order of the keys."""
    return joined((f"{key}={value}" for key, value in sorted((labels or {}).items())), empty)


def containers_and_images(template: Obj) -> tuple[str, str]:
    """Names and images of a pod template's containers."""
    containers = template.get("spec", {}).get("containers") or ()
    return joined(c.get("name", "") for c in containers), joined(c.get("image", "") for c in containers)


def _expression_text(expression: Obj) -> str:
    key, values = expression["key"], joined(sorted(expression.get("values") or ()))
    match expression.get("operator"):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return str(key)
        case _:
            return f"!{key}"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
