"""Types of objects from their schemas: OpenAPI of custom resources, and the table of Kubernetes' own kinds.

Fields that no expression can spell, and those without a type, are left out: a rule that names one does not compile.
Source: upstream's SchemaDeclType and the API reference of custom resources' validation rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from sparsam.objects import schema as table
from sparsam.objects.cel.conversion import escape
from sparsam.objects.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
)

_FORMATS = {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP}
_PLAIN = {"boolean": BOOL, "number": DOUBLE, "integer": INT}
_ROOT: Mapping[str, Any] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    },
}
_BUILT_IN = {
    "string": STRING,
    "int32": INT,
    "int64": INT,
    "float64": DOUBLE,
    "bool": BOOL,
    "bytes": BYTES,
    "quantity": DYN,
    "time": TIMESTAMP,
    "microtime": TIMESTAMP,
    "intstr": DYN,
    "raw": DYN,
}


class _Fields(Mapping[str, Type]):
    """Fields whose types are made when they are asked for: types may contain themselves."""

    def __init__(self, makers: Mapping[str, Callable[[], Type]]) -> None:
        self._makers = makers
        self._made: dict[str, Type] = {}

    def __getitem__(self, name: str) -> Type:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def of_schema(schema: Mapping[str, Any], *, name: str = "object", is_root: bool = False) -> Type | None:
    """The type of values of a structural schema; None when expressions cannot reach them."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    kind = schema.get("type", "")
    if kind == "array":
        items = of_schema(schema.get("items") or {}, name=f"{name}.items")
        return list_of(items) if items else None
    if kind == "string":
        return _FORMATS.get(schema.get("format", ""), STRING)
    return _object(schema, name, is_root=is_root) if kind == "object" else _PLAIN.get(kind)


def _object(schema: Mapping[str, Any], name: str, *, is_root: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        values = of_schema(additional, name=f"{name}.additionalProperties")
        return map_of(STRING, values) if values else None
    properties = {**(schema.get("properties") or {})}
    if is_root or schema.get("x-kubernetes-embedded-resource"):
        properties |= {key: value for key, value in _ROOT.items() if key != "metadata"}
        properties["metadata"] = _ROOT["metadata"]
    fields = {
        escaped: kind
        for key, value in properties.items()
        if (escaped := escape(key)) and (kind := of_schema(value, name=f"{name}.{key}"))
    }
    return object_of(name, fields)


@cache
def of_kind(group: str, version: str, kind: str) -> Type | None:
    """The type of objects of one of Kubernetes' own kinds; None for others."""
    name = table.kind_definition(group, version, kind)
    return of_definition(name, kind) if name else None


def of_definition(definition: str, name: str, *, spell: Callable[[str], str | None] = escape) -> Type:
    """The type of a definition's objects, named `name`; those within are named by the way to them."""
    fields = {
        escaped: _maker(field.type, f"{name}.{key}", spell)
        for key, field in table.definition(definition).fields.items()
        if (escaped := spell(key))
    }
    return object_of(name, _Fields(fields))


def _maker(word: str, name: str, spell: Callable[[str], str | None]) -> Callable[[], Type]:
    return lambda: _of_word(word, name, spell)


def _of_word(word: str, name: str, spell: Callable[[str], str | None]) -> Type:
    if word.startswith("[]"):
        return list_of(_of_word(word[2:], f"{name}.item", spell))
    if word.startswith("map[string]"):
        return map_of(STRING, _of_word(word.removeprefix("map[string]"), f"{name}.value", spell))
    return of_definition(word[1:], name, spell=spell) if word.startswith("@") else _BUILT_IN.get(word, DYN)
