"""Why a configuration cannot be applied: where it does not fit the schema, in the words of structured merge. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sparsam.objects.fields import render
from sparsam.objects.fieldsets import format_step
from sparsam.objects.schema import Field, definition
from sparsam.objects.shapes import List, Shape, of_field

_NUMBERS = frozenset({"int32", "int64", "float64"})
_TEXTS = frozenset({"string", "bytes"})


def find(name: str, config: Any) -> Iterator[str]:
    """Path and reason of everything in which a value is not of a definition."""
    yield from _problems(Field(f"@{name}"), config)


def _problems(field: Field, value: Any) -> Iterator[str]:
    if value is None:
        return
    if field.type.startswith("[]"):
        yield from _list_problems(field, value)
    elif field.type.startswith(("@", "map[string]")):
        yield from _map_problems(field, value)
    elif problem := scalar_problem(field.type, value):
        yield f": {problem}"


def _map_problems(field: Field, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f": expected map, got &{{{shown(value)}}}"
        return
    declared = definition(field.definition).fields if field.type.startswith("@") else None
    for name, item in value.items():
        part = Field(field.element) if declared is None else declared.get(name)
        if part is None:
            yield f".{name}: field not declared in schema"
        else:
            yield from (f".{name}{problem}" for problem in _problems(part, item))


def _list_problems(field: Field, value: Any) -> Iterator[str]:
    return list_problems(of_field(field), value, partial(_problems, Field(field.element)))


def list_problems(shape: Shape, value: Any, item_problems: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """What keeps a value from being such a list; `item_problems` says it of one item."""
    if not isinstance(value, list):
        yield f": expected list, got &{{{shown(value)}}}"
        return
    seen = set()
    for place, item in enumerate(value):
        step = f"[{place}]"
        if isinstance(shape, List):
            if problem := _item_problem(shape, item):
                yield f": element {place}: {problem}"
                continue
            step = format_step(shape.step(item))
            if step in seen:
                yield f": duplicate entries for key {step}"
                continue
            seen.add(step)
        yield from (f"{step}{problem}" for problem in item_problems(item))


def _item_problem(shape: List, item: Any) -> str:
    """Why nothing tells an item from the others; empty where something does."""
    if not shape.is_keyed:
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(item, list):
            return "not supported: associative list with lists as elements"
        return "" if item is not None else "associative list without keys has an element that's an explicit null"
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    missing = shape.missing_key(item)
    if not missing:
        return ""
    return (
        f'associative list with keys has an element that omits key field "{missing}" (and doesn\'t have default value)'
    )


def scalar_problem(kind: str, value: Any) -> str:
    """Why a value is not of a plain type; empty where it is."""
    if kind in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"expected numeric (int or float), got {_go_type(value)}"
    if kind in _TEXTS and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{shown(value)}}}"
    if kind == "bool" and not isinstance(value, bool):
        return f"expected boolean, got &{{{shown(value)}}}"
    return ""


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}
    return names[value.__class__]


def shown(value: Any) -> str:
    """A value as Go's `%v` prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{shown(item)}" for name, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(shown, value)) + "]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else render(value)
