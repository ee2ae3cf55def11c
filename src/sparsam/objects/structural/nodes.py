"""A schema of custom resources as a tree of nodes: what each value is made of, without what it must fulfil.

Structural schemas (KEP-1979, "Structural Schema" in Kubernetes' documentation of custom resources) say the shape of a
value once, outside of `allOf`, `anyOf`, `oneOf` and `not`. Pruning, defaulting and ownership follow that shape alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsam.objects.shapes import ABSENT
from sparsam.objects.strategy import Obj

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
VALIDATIONS = "x-kubernetes-validations"
JUNCTORS = ("allOf", "anyOf", "oneOf")
META_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
"""What every object has, whether its schema says so or not."""

_REFUSED = ("id", "schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions")
_NO_PROPERTIES: dict[str, Node] = {}


class Uncompilable(ValueError):
    """A schema that no structure can be read from, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the schema."""

    json: Obj = field(default_factory=dict, repr=False)
    """The schema as it was given."""
    type: str = ""
    nullable: bool = False
    default: Any = ABSENT
    properties: Mapping[str, Node] = field(default_factory=dict)
    items: Node | None = None
    values: Node | None = None
    """What the values of other keys are: `additionalProperties`."""
    has_values: bool = False
    """Whether other keys are allowed: by a schema or by `true`."""
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    defaults: tuple[tuple[str, Any], ...] = ()
    """The properties that have a default, with it."""
    holds_embedded: bool = False
    """Whether there is an embedded resource somewhere below."""
    holds_lists: bool = False
    """Whether this is a list without duplicates, or holds one."""
    holds_rules: bool = False
    """Whether there are rules in the expression language here or below."""

    @property
    def types(self) -> tuple[str, ...]:
        """The JSON types that a value may have; empty: any."""
        if self.int_or_string:
            return ("integer", "string")
        return (self.type,) if self.type else ()

    def child(self, name: str) -> Node | None:
        """What the value under a key is; None when nothing is said of it."""
        return self.properties.get(name) or self.values


def parse(schema: Obj) -> Node:
    """The tree of a schema; raises Uncompilable."""
    for name in _REFUSED:
        if schema.get("$schema" if name == "schema" else name):
            raise Uncompilable(f"OpenAPIV3Schema '{name}' is not supported")
    if schema.get(PRESERVE) is False:
        raise Uncompilable(f"internal error: '{PRESERVE}' must be true or undefined")
    items, others = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, list):
        raise Uncompilable("OpenAPIV3Schema 'items' must be a schema, but is an array")
    default = schema.get("default")
    given = schema.get("properties")
    properties = {name: parse(each) for name, each in given.items()} if given else _NO_PROPERTIES
    item = None if items is None else parse(items)
    values = parse(others) if isinstance(others, dict) else None
    below = [each for each in (item, values, *properties.values()) if each is not None]
    return Node(
        json=schema,
        type=schema.get("type") or "",
        nullable=bool(schema.get("nullable")),
        default=ABSENT if default is None else default,
        properties=properties,
        items=item,
        values=values,
        has_values=isinstance(others, dict) or others is True,
        preserve=bool(schema.get(PRESERVE)),
        embedded=bool(schema.get(EMBEDDED)),
        int_or_string=bool(schema.get(INT_OR_STRING)),
        list_type=schema.get(LIST_TYPE) or "",
        list_keys=tuple(schema.get(LIST_KEYS) or ()),
        map_type=schema.get(MAP_TYPE) or "",
        defaults=tuple((name, each.default) for name, each in properties.items() if each.default is not ABSENT),
        holds_embedded=any(each.embedded or each.holds_embedded for each in below),
        holds_rules=bool(schema.get(VALIDATIONS)) or any(each.holds_rules for each in below),
        holds_lists=schema.get(LIST_TYPE) in ("set", "map") or any(each.holds_lists for each in below),
    )
