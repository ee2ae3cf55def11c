"""What is known of the objects of a resource: the one place where built-in kinds and custom ones differ.

Everything that reads, completes, validates, merges or shows an object asks `type_of` for its ObjectType. That of a
built-in kind follows from the schema table and the kind's strategy; a custom resource brings its own along.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

from sparsam.objects import diagnosis, shapeproblems, strategic, typed
from sparsam.objects.kinds import RESOURCES, Resource, by_kind
from sparsam.objects.schema import definition, kind_definition
from sparsam.objects.shapes import Struct, of_object
from sparsam.objects.strategies import strategy_of
from sparsam.objects.strategy import Obj, Strategy

Kind = tuple[str, str, str]
"""Group, version and kind."""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where an object keeps what its scale shows, as fields on the way; the selector is text."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column that a definition wants in tables."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


class ObjectType(Protocol):
    """What is known of the objects of one resource."""

    @property
    def kind(self) -> Kind:
        """What the objects are."""
        ...

    @property
    def strategy(self) -> Strategy:
        """How they are defaulted, prepared and validated."""
        ...

    @property
    def shape(self) -> Struct:
        """How their fields are owned."""
        ...

    @property
    def empty(self) -> Obj:
        """An object of which nothing was said; not to be changed."""
        ...

    @property
    def fields(self) -> Collection[str]:
        """Their top-level fields."""
        ...

    @property
    def views(self) -> Mapping[str, Resource]:
        """The resources that show the same stored objects, this one too, by version of the API."""
        ...

    @property
    def is_custom(self) -> bool:
        """Whether a definition in the cluster, not the schema table, says what they are."""
        ...

    @property
    def scale_paths(self) -> ScalePaths | None:
        """Where a custom resource keeps its scale; None for those that keep it as the built-in kinds do."""
        ...

    @property
    def printer_columns(self) -> tuple[PrinterColumn, ...] | None:
        """The columns that a definition asks for; None where the server has a printer of its own."""
        ...

    @property
    def selectable_fields(self) -> tuple[str, ...]:
        """The fields that a definition lets selectors name, beyond those of metadata."""
        ...

    @property
    def schema(self) -> Obj:
        """The OpenAPI schema that a definition gives; empty for kinds of the schema table."""
        ...

    def read(self, value: Any) -> tuple[Obj, bool]:
        """A decoded body as an object, and whether unknown fields were dropped; raises Mismatch."""
        ...

    def type_error(self, value: Any) -> str:
        """Why `read` raised, in Go's words."""
        ...

    def unknown_fields(self, value: Any) -> list[str]:
        """The paths of what `read` dropped."""
        ...

    def complete(self, obj: Obj) -> None:
        """Add, in place, what is written though nothing was said of it."""
        ...

    @property
    def stored_as(self) -> str:
        """The version of the API that objects are stored in; empty where there is no choice."""
        ...

    @property
    def needs_conversion(self) -> bool:
        """Whether versions differ in more than their name, so that a webhook must convert between them."""
        ...

    def settle(self, obj: Obj) -> None:
        """Bring a stored object, in place, to what the schema wants by now."""
        ...

    def problems(self, config: Obj) -> Iterator[str]:
        """Where a configuration for server-side apply does not fit, in the words of structured merge."""
        ...

    def merge(self, old: Obj, patch: Obj) -> Obj:
        """A strategic merge patch applied; raises BadRequest, for custom resources always."""
        ...


class BuiltInType:
    """The type of a kind in the schema table."""

    is_custom = False
    scale_paths: ScalePaths | None = None
    printer_columns: tuple[PrinterColumn, ...] | None = None
    selectable_fields: tuple[str, ...] = ()
    stored_as = ""
    needs_conversion = False

    @property
    def schema(self) -> Obj:
        """The table has it in another form."""
        return {}

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._definition = kind_definition(*kind)

    @cached_property
    def strategy(self) -> Strategy:
        """The registered strategy; one that only obeys the schema when there is none."""
        return strategy_of(self.kind[0], self.kind[2])

    @cached_property
    def shape(self) -> Struct:
        """Compiled from the schema table."""
        return of_object(self._definition)

    @cached_property
    def empty(self) -> Obj:
        """As Go writes it."""
        obj, _ = typed.read(self._definition, {})
        typed.complete(self._definition, obj)
        obj.setdefault("metadata", {})
        return obj

    @cached_property
    def fields(self) -> Collection[str]:
        """Those of the definition."""
        return definition(self._definition).fields.keys()

    @cached_property
    def views(self) -> Mapping[str, Resource]:
        """Events and autoscalers have two."""
        group, version, kind = self.kind
        resource = by_kind(f"{group}/{version}" if group else version, kind)
        if resource is None:
            return {}
        return {each.api_version: each for each in RESOURCES if each.storage_prefix == resource.storage_prefix}

    def read(self, value: Any) -> tuple[Obj, bool]:
        """By the schema."""
        return typed.read(self._definition, value)

    def type_error(self, value: Any) -> str:
        """By the schema."""
        return diagnosis.type_error(self._definition, value)

    def unknown_fields(self, value: Any) -> list[str]:
        """By the schema."""
        return diagnosis.unknown_fields(self._definition, value)

    def complete(self, obj: Obj) -> None:
        """The nulls that Go writes."""
        typed.complete(self._definition, obj)

    def settle(self, obj: Obj) -> None:
        """The schema stays as it is."""

    def problems(self, config: Obj) -> Iterator[str]:
        """By the schema."""
        return shapeproblems.find(self._definition, config)

    def merge(self, old: Obj, patch: Obj) -> Obj:
        """By the schema's merge keys."""
        return strategic.merge(old, patch, definition(self._definition))


@cache
def built_in(group: str, version: str, kind: str) -> BuiltInType:
    """The type of a kind of the schema table."""
    return BuiltInType((group, version, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResource(Resource):
    """A resource that a CustomResourceDefinition adds, in one of its versions. Another schema makes another one."""

    type: ObjectType
    deprecation_warning: str = ""
    terminating: bool = False
    """Whether the definition is being deleted: nothing is created any more."""


def type_of(resource: Resource) -> ObjectType:
    """What is known of a resource's objects."""
    if isinstance(resource, CustomResource):
        return resource.type
    return built_in(resource.group, resource.version, resource.kind)
