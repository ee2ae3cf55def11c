"""How values of each type are owned: what is one field, what has fields or items of its own. Compiled from the schema.

A Shape is what structured merge knows of a type: values are compared, merged and pruned along it, and sets of fields
(`fieldsets`) are read off them. A value that is not there is `ABSENT`; null is a value. Where a set may have nothing
in it at all, None stands for it, since an empty node is a field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sparsam.objects.fieldsets import SELF, FieldSet, closed, has_self, keyed, valued
from sparsam.objects.schema import JSON_PROPS, OBJECT_META, Definition, Field, definition

Nodes = tuple[FieldSet | None, FieldSet | None]
"""What of a new value is not, or other, in the old one, and what of the old one is gone."""


class Absent:
    """The type of `ABSENT`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


ABSENT = Absent()
_FIELD: FieldSet = {}


class Shape:
    """A value that is one field, whatever it is made of."""

    __slots__ = ()

    def everything(self, _value: Any) -> FieldSet:
        """Every path of a value that comes or goes as a whole."""
        return _FIELD

    def members(self, _value: Any) -> FieldSet | None:
        """Every path that belongs to who applies this value: a struct itself does not, its fields do."""
        return _FIELD

    def compare(self, _old: Any, new: Any) -> Nodes:
        """Where two values, known to differ, differ."""
        return (None, _FIELD) if new is ABSENT else (_FIELD, None)

    def merge(self, live: Any, config: Any) -> Any:
        """`live` with what `config` says; neither is changed."""
        return live if config is ABSENT else config

    def prune(self, value: Any, _fields: FieldSet) -> Any:
        """`value` without these fields; None when nothing is left."""
        return value

    def with_parents(self, fields: FieldSet) -> FieldSet:
        """The set with every declared field on the way to one of its paths."""
        return fields


LEAF = Shape()


class Struct(Shape):
    """A struct with declared fields; those named in `hidden` are nobody's."""

    __slots__ = ("_hidden", "_parts", "fields")

    def __init__(self, fields: dict[str, Field], hidden: frozenset[str] = frozenset()) -> None:
        self.fields = fields
        self._hidden = hidden
        self._parts: dict[str, tuple[str, Shape]] = {}

    def declares(self, name: str) -> bool:
        """Whether a field of this name is a part of the struct, rather than an entry of a map."""
        return name in self.fields

    def part(self, name: str) -> tuple[str, Shape]:
        """The step to a field, and its shape."""
        part = self._parts.get(name)
        if part is None:
            field = self.fields.get(name)
            part = self._parts[name] = f"f:{name}", LEAF if field is None else of_field(field)
        return part

    def everything(self, value: Any) -> FieldSet:
        node: FieldSet = {SELF: _FIELD}
        for name, item in (value or _FIELD).items():
            if name not in self._hidden:
                step, shape = self.part(name)
                node[step] = shape.everything(item)
        return closed(node)

    def members(self, value: Any) -> FieldSet | None:
        node: FieldSet = {}
        for name, item in (value or _FIELD).items():
            if name not in self._hidden:
                step, shape = self.part(name)
                below = _FIELD if item is None or item == {} else shape.members(item)
                if below is not None:
                    node[step] = below
        return node or None

    def compare(self, old: Any, new: Any) -> Nodes:
        if old is ABSENT:
            return self.everything(new), None
        if new is ABSENT:
            return None, self.everything(old)
        if not old and not new:
            return _FIELD, None
        before, after = old or _FIELD, new or _FIELD
        touched: FieldSet = {}
        removed: FieldSet = {}
        for name, item in after.items():
            was = before.get(name, ABSENT)
            if was != item and name not in self._hidden:
                step, shape = self.part(name)
                _note(step, shape.compare(was, item), touched, removed)
        for name, item in before.items():
            if name not in after and name not in self._hidden:
                step, shape = self.part(name)
                _note(step, shape.compare(item, ABSENT), touched, removed)
        return touched or None, removed or None

    def merge(self, live: Any, config: Any) -> Any:
        if config is ABSENT or (not live and not config):
            return LEAF.merge(live, config)
        merged = dict(live or {})
        for name, item in (config or {}).items():
            merged[name] = self.part(name)[1].merge(merged.get(name, ABSENT), item)
        return merged

    def prune(self, value: Any, fields: FieldSet) -> Any:
        kept = {}
        for name, item in (value or {}).items():
            step, shape = self.part(name)
            node = fields.get(step)
            if node is None:
                kept[name] = item
            elif not has_self(node):
                kept[name] = shape.prune(item, node)
        return kept or None

    def with_parents(self, fields: FieldSet) -> FieldSet:
        out: FieldSet = {}
        for step, node in fields.items():
            name = step[2:]
            if node:
                node = self.part(name)[1].with_parents(node)
                if self.declares(name):
                    node = node | {SELF: _FIELD}
            out[step] = node
        return out


def _note(step: str, nodes: Nodes, touched: FieldSet, removed: FieldSet) -> None:
    if nodes[0] is not None:
        touched[step] = nodes[0]
    if nodes[1] is not None:
        removed[step] = nodes[1]


class Map(Struct):
    """A map from text to values of one shape; each entry belongs to who applies it."""

    __slots__ = ("_element",)

    def __init__(self, element: Shape) -> None:
        super().__init__({})
        self._element = element

    def part(self, name: str) -> tuple[str, Shape]:
        return f"f:{name}", self._element

    def members(self, value: Any) -> FieldSet | None:
        return {f"f:{name}": _entry(self._element, item) for name, item in (value or _FIELD).items()} or None


def _entry(shape: Shape, value: Any) -> FieldSet:
    """What belongs to who applies an entry of a map or an item of a list: that itself too."""
    node = shape.members(value)
    return node | {SELF: _FIELD} if node else _FIELD


class Untyped(Shape):
    """Any JSON: objects have fields, everything else is one field."""

    __slots__ = ()

    def everything(self, value: Any) -> FieldSet:
        return _untyped(value).everything(value)

    def members(self, value: Any) -> FieldSet | None:
        return _untyped(value).members(value)

    def compare(self, old: Any, new: Any) -> Nodes:
        return _untyped(old, new).compare(old, new)

    def merge(self, live: Any, config: Any) -> Any:
        return _untyped(live, config).merge(live, config)

    def prune(self, value: Any, fields: FieldSet) -> Any:
        return _untyped(value).prune(value, fields)


UNTYPED = Untyped()
_OBJECT = Map(UNTYPED)


def _untyped(*values: Any) -> Shape:
    return _OBJECT if all(value is ABSENT or value.__class__ is dict for value in values) else LEAF


class Twice(list[Any]):
    """Items of a list that cannot be told apart: they are owned, and stay or go, together."""


class List(Shape):
    """A list whose items are owned one by one: a set of plain values, or, with keys, structs told apart by these."""

    __slots__ = ("_defaults", "_element", "_keys")

    def __init__(self, element: Shape, keys: Sequence[str] = (), defaults: dict[str, Any] | None = None) -> None:
        self._element = element
        self._keys = sorted(keys)
        self._defaults = defaults or {}

    @property
    def element(self) -> Shape:
        """The shape of an item."""
        return self._element

    @property
    def is_keyed(self) -> bool:
        """Whether items are structs."""
        return bool(self._keys)

    def step(self, item: Any) -> str:
        """What tells an item from the others; a key that it lacks is left out."""
        if not self._keys:
            return valued(item)
        values = []
        for key in self._keys:
            # An empty text is stored as nothing, hence read as the default.
            value = item.get(key) or self._defaults.get(key, item.get(key))
            if value is not None:
                values.append((key, value))
        return keyed(values)

    def missing_key(self, item: Any) -> str:
        """The first key that an item neither has nor gets by default, or empty."""
        return next((key for key in self._keys if item.get(key) is None and key not in self._defaults), "")

    def items(self, value: Any) -> dict[str, Any]:
        """The items of a list by step, in order; null and ABSENT have none."""
        found: dict[str, Any] = {}
        for item in value or ():
            step = self.step(item)
            if step not in found:
                found[step] = item
            elif found[step].__class__ is Twice:
                found[step].append(item)
            else:
                found[step] = Twice([found[step], item])
        return found

    def _shape(self, *values: Any) -> Shape:
        return LEAF if Twice in map(type, values) else self._element

    def everything(self, value: Any) -> FieldSet:
        node: FieldSet = {SELF: _FIELD}
        for step, item in self.items(value).items():
            node[step] = self._shape(item).everything(item)
        return closed(node)

    def members(self, value: Any) -> FieldSet | None:
        return {step: _entry(self._shape(item), item) for step, item in self.items(value).items()} or None

    def compare(self, old: Any, new: Any) -> Nodes:
        if old is ABSENT:
            return self.everything(new), None
        if new is ABSENT:
            return None, self.everything(old)
        if not old and not new:
            return _FIELD, None
        before, after = self.items(old), self.items(new)
        touched: FieldSet = {}
        removed: FieldSet = {}
        for step, item in after.items():
            was = before.pop(step, ABSENT)
            if was != item:
                _note(step, self._shape(was, item).compare(was, item), touched, removed)
        for step, was in before.items():
            _note(step, self._shape(was).compare(was, ABSENT), touched, removed)
        return touched or None, removed or None

    def merge(self, live: Any, config: Any) -> Any:
        if config is ABSENT or (not live and not config):
            return LEAF.merge(live, config)
        before, after = self.items(live), self.items(config)
        merged: list[Any] = []
        for step in merged_order(list(before), list(after)):
            was, wanted = before.get(step, ABSENT), after.get(step, ABSENT)
            if was.__class__ is not Twice:
                merged.append(self._element.merge(was, wanted))
            else:
                # Nobody can say which of them is meant: what is applied replaces all.
                merged += was if wanted is ABSENT else [wanted]
        return merged

    def prune(self, value: Any, fields: FieldSet) -> Any:
        kept = []
        for item in value or ():
            node = fields.get(self.step(item))
            if node is None:
                kept.append(item)
            elif not has_self(node):
                kept.append(self._element.prune(item, node))
        return kept or None

    def with_parents(self, fields: FieldSet) -> FieldSet:
        return {step: self._element.with_parents(node) if node else node for step, node in fields.items()}


def merged_order(live: Sequence[str], config: Sequence[str]) -> Iterator[str]:
    """The order of a merged list: that of the configuration; others keep their place before the next one of both."""
    ours, known, theirs = deque(live), set(live), set(config)
    shared = deque(step for step in config if step in known)
    for step in config:
        while ours and not (shared and ours[0] == shared[0]):
            if ours[0] not in theirs:
                yield ours[0]
            ours.popleft()
        if shared and step == shared[0]:
            shared.popleft()
            if ours:
                ours.popleft()
        yield step
    yield from (step for step in ours if step not in theirs)


# Keys that Kubernetes' schema gives a default, which its published form leaves out.
_KEY_DEFAULTS: dict[str, dict[str, Any]] = {
    "ContainerPort": {"protocol": "TCP"},
    "ServicePort": {"protocol": "TCP"},
    "LocalObjectReference": {"name": ""},
}


def of_field(field: Field) -> Shape:
    """The shape of a field."""
    if field.map == "atomic" or (field.map != "granular" and _is_atomic_struct(field)):
        return LEAF
    if field.type.startswith("[]"):
        return _list(field)
    return of_definition(field.definition) if field.type.startswith("@") else of_type(field.type)


def _is_atomic_struct(field: Field) -> bool:
    return field.type.startswith("@") and definition(field.definition).map == "atomic"


def _list(field: Field) -> Shape:
    if field.list == "set":
        return List(LEAF)
    if field.list != "map":
        return LEAF
    items = definition(field.definition)
    return List(of_type(f"@{items.name}"), field.keys, _KEY_DEFAULTS.get(items.go_struct))


@cache
def of_type(kind: str) -> Shape:
    """The shape of a type that no marker of a field changes."""
    if kind.startswith("map[string]"):
        return Map(of_type(kind.removeprefix("map[string]")))
    if kind.startswith("@"):
        return LEAF if definition(kind[1:]).map == "atomic" else of_definition(kind[1:])
    return UNTYPED if kind == "raw" else LEAF


@cache
def of_definition(name: str) -> Struct:
    """The shape of a struct; its fields are compiled when first met."""
    found = definition(name)
    if name == JSON_PROPS:
        # Examples and defaults within schemas are values of a field, not fields.
        plain = {key: Field("string") if field.type == "raw" else field for key, field in found.fields.items()}
        return Struct(plain)
    return Struct(found.fields)


NOBODYS = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
    }
)


@cache
def of_object(name: str) -> Struct:
    """The shape of a whole object: what names it, and what only the server writes, is nobody's."""
    return _Object(definition(name))


def of_metadata(name: str = OBJECT_META) -> Struct:
    """The shape of a whole object's metadata."""
    return Struct(definition(name).fields, NOBODYS)


class _Object(Struct):
    __slots__ = ()

    def __init__(self, kind: Definition) -> None:
        super().__init__(kind.fields, frozenset({"apiVersion", "kind"}))
        self._parts["metadata"] = "f:metadata", of_metadata(kind.fields["metadata"].definition)
