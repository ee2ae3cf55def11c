"""Types of all parts of an expression, or what is wrong with it; words and places are those of cel-go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.objects.cel.declarations import Functions, Overload
from sparsam.objects.cel.errors import EvaluationError, Issue
from sparsam.objects.cel.tree import (
    Call,
    Comprehension,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    OptionalMap,
    Select,
    Struct,
    parts,
    qualified,
)
from sparsam.objects.cel.types import (
    BOOL,
    BY_NAME,
    DYN,
    INT,
    Type,
    Unifier,
    list_of,
    map_of,
    optional_of,
    type_of,
)
from sparsam.objects.cel.values import type_name

_LITERALS = {"duration": "duration", "timestamp": "timestamp", "matches": "matches"}
"""Functions whose argument, when it is written down, is looked at before anything runs."""


class Checker:
    """Checks one tree; `issues` is empty when all is well."""

    def __init__(self, variables: Mapping[str, Type], functions: Functions, structs: Mapping[str, Type]) -> None:
        self.issues: list[Issue] = []
        self._variables = dict(variables)
        self._functions = functions
        self._structs = structs
        self._types = Unifier()

    def check(self, tree: Node) -> Type:
        """The type of the whole; afterwards each node has its own."""
        self._visit(tree)
        self._settle(tree)
        return tree.type

    def _visit(self, node: Node) -> Type:
        visit = getattr(self, f"_{type(node).__name__.lower()}")
        node.type = visit(node)
        return node.type

    def _fault(self, node: Node, message: str) -> Type:
        self.issues.append(Issue(node.position, message))
        return DYN

    def _settle(self, node: Node) -> None:
        node.type = self._types.final(node.type)
        for part in parts(node):
            self._settle(part)

    def _literal(self, node: Literal) -> Type:
        return BY_NAME[type_name(node.value)]

    def _name(self, node: Name) -> Type:
        found = self._lookup(node.name)
        return found or self._fault(node, f"undeclared reference to '{node.name}' (in container '')")

    def _lookup(self, name: str) -> Type | None:
        plain = name.removeprefix(".")
        if plain in self._variables:
            return self._variables[plain]
        return type_of(TYPE_NAMES[plain]) if plain in TYPE_NAMES else None

    def _select(self, node: Select) -> Type:
        name = qualified(node)
        if name in self._variables or (name in TYPE_NAMES and name.partition(".")[0] not in self._variables):
            node.qualified = name
            return self._lookup(name) or DYN
        operand = self._types.resolve(self._visit(node.operand))
        is_optional = node.optional
        if operand.name == "optional_type":
            operand, is_optional = self._types.resolve(operand.params[0]), True
        found = self._field(node, operand)
        if node.test_only:
            return BOOL
        if is_optional and found.name != "optional_type":
            return optional_of(found)
        return found

    def _field(self, node: Select, operand: Type) -> Type:
        if operand.fields is not None:
            found = operand.fields.get(node.key)
            return found or self._fault(node, f"undefined field '{node.key}'")
        if operand.name == "map":
            return operand.params[1]
        if operand.name == "dyn" or operand.is_variable:
            return DYN
        return self._fault(node, f"type '{operand}' does not support field selection")

    def _call(self, node: Call) -> Type:
        if node.target is not None:
            name = qualified(node.target)
            if name and name.partition(".")[0] not in self._variables and f"{name}.{node.function}" in self._functions:
                node.function, node.target = f"{name}.{node.function}", None
        arguments = tuple(self._visit(each) for each in node.operands())
        known = self._functions.get(node.function)
        if known is None:
            return self._fault(node, f"undeclared reference to '{node.function}' (in container '')")
        is_member = node.target is not None
        fitting = [each for each in known if each.is_member == is_member]
        results = [(each, kind) for each in fitting if (kind := self._tried(each, arguments)) is not None]
        if not results:
            shown = self._shown(arguments, is_member=is_member)
            return self._fault(node, f"found no matching overload for '{node.function}' applied to '{shown}'")
        self._check_literals(node)
        if len(results) == 1 and (result := self._result(results[0][0], arguments)) is not None:
            return self._types.resolve(result)
        return results[0][1] if len({kind for _, kind in results}) == 1 else DYN

    def _tried(self, known: Overload, arguments: tuple[Type, ...]) -> Type | None:
        """The result if this overload were chosen. Nothing is concluded from it: others may fit as well."""
        before = self._types.mark()
        result = self._result(known, arguments)
        found = None if result is None else self._types.final(result)
        self._types.undo(before)
        return found

    def _shown(self, arguments: tuple[Type, ...], *, is_member: bool) -> str:
        texts = [str(self._types.final(each)) for each in arguments]
        return f"{texts[0]}.({', '.join(texts[1:])})" if is_member else f"({', '.join(texts)})"

    def _result(self, known: Overload, arguments: tuple[Type, ...]) -> Type | None:
        fresh: dict[str, Type] = {}
        parameters = tuple(self._instance(each, fresh) for each in known.parameters)
        if not self._types.assign(parameters, arguments):
            return None
        return self._instance(known.result, fresh)

    def _instance(self, kind: Type, fresh: dict[str, Type]) -> Type:
        if kind.is_variable:
            if kind.name not in fresh:
                fresh[kind.name] = self._types.fresh()
            return fresh[kind.name]
        if kind.params:
            return Type(kind.name, tuple(self._instance(each, fresh) for each in kind.params))
        return kind

    def _check_literals(self, node: Call) -> None:
        if node.function not in _LITERALS or not node.arguments:
            return
        last = node.arguments[-1]
        if not isinstance(last, Literal) or not isinstance(last.value, str):
            return
        values: list[Any] = [last.value] if len(node.operands()) == 1 else ["", last.value]
        for each in self._functions[node.function]:
            if each.accepts(tuple(values)) and each.is_member == (node.target is not None):
                try:
                    each.run(*values)
                except EvaluationError:
                    self._fault(last, f"invalid {_LITERALS[node.function]} argument")

    def _listliteral(self, node: ListLiteral) -> Type:
        element = self._types.fresh()
        for part, optional in node.elements:
            element = self._same(part, element, self._present(part, self._visit(part), optional=optional))
        return list_of(element)

    def _present(self, node: Node, kind: Type, *, optional: bool) -> Type:
        if not optional:
            return kind
        inner = self._types.fresh()
        if self._types.assign((optional_of(inner),), (kind,)):
            return self._types.resolve(inner)
        return self._fault(node, f"expected type 'optional_type(dyn)' but found '{self._types.final(kind)}'")

    def _same(self, node: Node, kind: Type, found: Type) -> Type:
        """The common type of a literal's parts: they all have one."""
        if self._types.resolve(kind).name == "null_type" and self._types.assign((found,), (kind,)):
            return found
        if self._types.assign((kind,), (found,)):
            return DYN if self._types.resolve(found) is DYN else kind
        return self._fault(node, f"expected type '{self._types.final(kind)}' but found '{self._types.final(found)}'")

    def _mapliteral(self, node: MapLiteral) -> Type:
        key, value = self._types.fresh(), self._types.fresh()
        for name, part, optional in node.entries:
            key = self._same(name, key, self._key(self._visit(name)))
            value = self._same(part, value, self._present(part, self._visit(part), optional=optional))
        return map_of(key, value)

    def _key(self, kind: Type) -> Type:
        """The type of a key; what cannot be one fails when it runs, and must not make types grow without end."""
        kind = self._types.resolve(kind)
        return kind if kind.is_variable or not kind.params else DYN

    def _struct(self, node: Struct) -> Type:
        found = self._structs.get(node.name.removeprefix("."))
        for _position, _name, part, _optional in node.fields:
            self._visit(part)
        if found is None or found.fields is None:
            return self._fault(node, f"undeclared reference to '{node.name}' (in container '')")
        for position, name, part, optional in node.fields:
            wanted = found.fields.get(name)
            if wanted is None:
                self.issues.append(Issue(position, f"undefined field '{name}'"))
                continue
            kind = self._present(part, part.type, optional=optional)
            if not self._types.assign((wanted,), (kind,)):
                shown = (
                    f"expected type of field '{name}' is '{wanted}' but provided type is '{self._types.final(kind)}'"
                )
                self.issues.append(Issue(position, shown))
        return found

    def _comprehension(self, node: Comprehension) -> Type:
        kinds = self._elements(node, self._types.resolve(self._visit(node.range)))
        if len(node.variables) == 1 and node.macro not in ("map", "filter", "all", "exists", "existsOne"):
            return self._fault(node, f"unsupported macro {node.macro}")
        with_names = kinds if len(node.variables) == 2 else kinds[-1:]
        if len(node.variables) == 1 and kinds[0] is not INT:
            with_names = kinds[:1]
        before = self._variables
        self._variables = {**before, **dict(zip(node.variables, with_names, strict=True))}
        if node.condition is not None:
            self._boolean(node, node.condition)
        if node.macro in ("all", "exists", "existsOne", "filter"):
            self._boolean(node, node.body)
        else:
            self._visit(node.body)
        self._variables = before
        return self._made(node, kinds, with_names)

    def _elements(self, node: Comprehension, kind: Type) -> tuple[Type, Type]:
        """The types of an element's place and the element, or of an entry's key and value."""
        if kind.name == "list":
            return INT, kind.params[0]
        if kind.name == "map":
            return kind.params[0], kind.params[1]
        if kind.fields is not None or (kind.name != "dyn" and not kind.is_variable):
            shown = f"expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
            self._fault(node.range, shown)
        return DYN, DYN

    def _boolean(self, node: Comprehension, part: Node) -> None:
        kind = self._visit(part)
        if not self._types.assign((BOOL,), (kind,)):
            sign = {"all": "_&&_", "exists": "_||_"}.get(node.macro, "_?_:_")
            kind = self._types.final(kind)
            shown = f"(bool, {kind})" if sign != "_?_:_" else f"({kind}, int, int)"
            self._fault(node, f"found no matching overload for '{sign}' applied to '{shown}'")

    def _made(self, node: Comprehension, kinds: tuple[Type, Type], taken: tuple[Type, ...]) -> Type:
        body = node.body.type
        if node.macro == "filter":
            return list_of(taken[0])
        if node.macro in ("map", "transformList"):
            return list_of(body)
        if node.macro == "transformMap":
            return map_of(kinds[0], body)
        if node.macro == "transformMapEntry":
            entry = self._types.resolve(body)
            return entry if entry.name == "map" else map_of(DYN, DYN)
        return BOOL

    def _optionalmap(self, node: OptionalMap) -> Type:
        inner = self._types.fresh()
        kind = self._visit(node.operand)
        if not self._types.assign((optional_of(inner),), (kind,)):
            name = "optFlatMap" if node.flat else "optMap"
            self._fault(node, f"found no matching overload for '{name}' applied to '{self._types.final(kind)}'")
        before = self._variables
        self._variables = {**before, node.variable: self._types.resolve(inner)}
        body = self._visit(node.body)
        self._variables = before
        return body if node.flat else optional_of(body)


TYPE_NAMES: dict[str, Type] = {
    **{name: kind for name, kind in BY_NAME.items() if name not in ("dyn", "timestamp", "duration", "null")},
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "optional_type": optional_of(DYN),
    **{
        name: Type(name)
        for name in ("kubernetes.URL", "net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver")
    },
}
