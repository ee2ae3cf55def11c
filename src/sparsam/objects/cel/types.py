"""Types of the expression language, and when a value of one may stand where another is asked for.

Source: the language definition (github.com/cel-expr/cel-spec) and cel-go's checker for what it leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """A type by its name, with those of its parts; one with `fields` has these fields only."""

    name: str
    params: tuple[Type, ...] = ()
    is_variable: bool = False
    fields: Mapping[str, Type] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """As cel-go writes it in messages."""
        name = _SHORT.get(self.name, self.name)
        return f"{name}({', '.join(map(str, self.params))})" if self.params else name


_SHORT = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
    "null_type": "null",
}

DYN = Type("dyn")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
NULL = Type("null_type")
TYPE = Type("type")
TIMESTAMP = Type("google.protobuf.Timestamp")
DURATION = Type("google.protobuf.Duration")

BY_NAME = {each.name: each for each in (DYN, BOOL, INT, UINT, DOUBLE, STRING, BYTES, NULL, TYPE, TIMESTAMP, DURATION)}
BY_NAME |= {"timestamp": TIMESTAMP, "duration": DURATION, "null": NULL}


def list_of(element: Type) -> Type:
    """The type of lists of such elements."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """The type of maps."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """The type of what may be missing."""
    return Type("optional_type", (value,))


def type_of(value: Type) -> Type:
    """The type of a type."""
    return Type("type", (value,))


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """The type of objects with these fields; a missing one is an error when the expression is compiled."""
    return Type(name, fields=fields)


class Unifier:
    """What is known about type variables in one expression."""

    def __init__(self) -> None:
        self._bound: dict[str, Type] = {}
        self._trail: list[str] = []
        """What was bound, in its order: a failed attempt is taken back."""
        self._count = 0

    def fresh(self) -> Type:
        """A variable of which nothing is known."""
        self._count += 1
        return Type(f"_{self._count}", is_variable=True)

    def resolve(self, kind: Type) -> Type:
        """What a variable stands for, as far as is known; parts of a type may still be variables."""
        while kind.is_variable and kind.name in self._bound:
            kind = self._bound[kind.name]
        return kind

    def final(self, kind: Type) -> Type:
        """The type with `dyn` for what is still unknown."""
        kind = self.resolve(kind)
        if kind.is_variable:
            return DYN
        if kind.params:
            return Type(kind.name, tuple(self.final(each) for each in kind.params), fields=kind.fields)
        return kind

    def assign(self, targets: tuple[Type, ...], sources: tuple[Type, ...]) -> bool:
        """Whether values of these types may stand where those are asked for; remembers what follows only if so."""
        before = self.mark()
        if len(targets) == len(sources) and all(map(self._assign, targets, sources)):
            return True
        self.undo(before)
        return False

    def mark(self) -> int:
        """How much is known by now, for `undo`."""
        return len(self._trail)

    def undo(self, mark: int) -> None:
        """Forget what was learned since."""
        while len(self._trail) > mark:
            del self._bound[self._trail.pop()]

    def _assign(self, target: Type, source: Type) -> bool:
        target, source = self.resolve(target), self.resolve(source)
        if target.is_variable or source.is_variable:
            return self._bind(target, source)
        if "dyn" in (target.name, source.name):
            return True
        if source is NULL or source.name == "null_type":
            return target.name == "null_type" or _is_nullable(target)
        if target.name != source.name:
            return False
        if target.name == "type":
            return True
        return len(target.params) == len(source.params) and all(map(self._assign, target.params, source.params))

    def _bind(self, target: Type, source: Type) -> bool:
        if target == source:
            return True
        # Of two variables the new one gives way, so that chains of them stay short.
        variable, other = (source, target) if source.is_variable else (target, source)
        if self._occurs(variable, other):
            return False
        self._bound[variable.name] = other
        self._trail.append(variable.name)
        return True

    def _occurs(self, variable: Type, kind: Type) -> bool:
        return kind == variable or any(self._occurs(variable, self.resolve(each)) for each in kind.params)


def _is_nullable(kind: Type) -> bool:
    return kind.fields is not None or kind.name in ("google.protobuf.Timestamp", "google.protobuf.Duration")
