"""Rules in the expression language within schemas (`x-kubernetes-validations`): compiled and run on objects.

A rule sees the value at its place as `self` and, on updates, the one before as `oldSelf`. Rules that ask for the old
value are run where there is one, or always if they take an optional. What an update leaves as it was is forgiven,
unless the rule is about the change itself (KEP-2876, KEP-4008).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sparsam.errors import Cause
from sparsam.objects import cel
from sparsam.objects.cel.schemas import of_schema
from sparsam.objects.cel.values import NONE, Optional
from sparsam.objects.fields import child, duplicate, forbidden, invalid, required
from sparsam.objects.shapes import ABSENT
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.correlation import equal, old_items
from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.nodes import VALIDATIONS, Node
from sparsam.objects.structural.scalars import NOWHERE

OBJECT_LIMIT = 10_000_000
"""What all rules may cost together for one object, as upstream's RuntimeCELCostBudget."""
_LONGEST_MESSAGE = 5 * 1024
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready to run."""

    json: Obj
    program: cel.Program | None
    problem: str
    """Why it cannot be compiled; empty when it could."""
    message: cel.Program | None
    message_problem: str
    uses_old: bool
    field: str
    """The field that is to blame, relative to the place of the rule; empty for that itself."""

    @property
    def name(self) -> str:
        """What messages call the rule."""
        return (self.json.get("message") or self.json.get("rule") or "").strip()

    @property
    def is_optional(self) -> bool:
        """Whether `oldSelf` is an optional."""
        return bool(self.json.get("optionalOldSelf"))


@dataclass(frozen=True, slots=True)
class Ruled:
    """A place of the schema with its rules and the places below it that have some."""

    node: Node
    rules: tuple[Rule, ...]
    properties: Mapping[str, Ruled]
    values: Ruled | None
    items: Ruled | None


def self_type(schema: Obj, *, is_root: bool) -> cel.Type | None:
    """The type of `self` at a place; None when expressions cannot reach it."""
    return of_schema(schema, is_root=is_root)


def compile_rule(rule: Obj, node: Node, kind: cel.Type) -> Rule:
    """A rule at a place whose values have a type."""
    text, old = rule.get("rule", ""), cel.optional_of(kind) if rule.get("optionalOldSelf") else kind
    # Most rules never name the old value: these compile without it, too.
    program, problem = _compiled(text, {"self": kind}, cel.BOOL)
    uses_old = False
    if program is None and "oldSelf" in text:
        program, problem = _compiled(text, {"self": kind, "oldSelf": old}, cel.BOOL)
        uses_old = program is not None
    message, message_problem = None, ""
    if (rule.get("messageExpression") or "").strip():
        variables = {"self": kind, "oldSelf": old} if uses_old else {"self": kind}
        message, message_problem = _compiled(rule["messageExpression"], variables, cel.STRING)
    return Rule(rule, program, problem, message, message_problem, uses_old, _field(rule, node))


def _compiled(text: str, variables: Mapping[str, cel.Type], kind: cel.Type) -> tuple[cel.Program | None, str]:
    try:
        return cel.compile_expression(text, variables, returns=kind), ""
    except cel.CelError as error:
        return None, str(error)


def _field(rule: Obj, node: Node) -> str:
    try:
        return "".join(resolve(rule.get("fieldPath") or "", node)[0]).removeprefix(".")
    except BadFieldPath:
        return ""


def compile_tree(node: Node, *, is_root: bool = True) -> Ruled | None:
    """The rules of a schema by place; None when there are none."""
    if not node.holds_rules:
        return None
    kind = self_type(node.json, is_root=is_root)
    given = node.json.get(VALIDATIONS) or []
    properties = {name: compile_tree(each, is_root=False) for name, each in node.properties.items()}
    return Ruled(
        node,
        tuple(compile_rule(rule, node, kind or cel.DYN) for rule in given),
        {name: each for name, each in properties.items() if each is not None},
        compile_tree(node.values, is_root=False) if node.values is not None else None,
        compile_tree(node.items, is_root=False) if node.items is not None else None,
    )


def rule_causes(tree: Ruled, obj: Any, old: Any, found: list[Cause], path: str = "") -> list[Cause]:
    """Causes for the rules that an object breaks, if what was found before lets them be asked."""
    if any(cause.reason in _BLOCKING for cause in found):
        detail = (
            "some validation rules were not checked because the object was invalid; "
            "correct the existing errors to complete validation"
        )
        return [invalid(NOWHERE, None, detail)]
    evaluation = _Evaluation()
    with suppress(_Exhausted):
        evaluation.walk(tree, _Place(tree.node, obj, old, path, None))
    return evaluation.causes


class _Exhausted(Exception):
    """No further rule may be run."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A value, what it was before, and where it stands."""

    node: Node
    value: Any
    old: Any
    """ABSENT where there was none, or it cannot be told which."""
    path: str
    above: _Place | None

    def is_same(self) -> bool:
        """Whether an update left the value alone, or what holds it where its history is not known."""
        if self.old is ABSENT:
            return self.above is not None and self.above.is_same()
        return equal(self.old, self.value)

    def invalid(self, detail: str) -> Cause:
        """A cause for the value, of which upstream prints the type only."""
        return invalid(self.path or NOWHERE, self.node.type, detail)


class _Evaluation:
    """One object's walk through the rules."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self._left = OBJECT_LIMIT

    def walk(self, tree: Ruled, place: _Place) -> None:
        """Run the rules at a place and below; raises _Exhausted."""
        if place.value is None:
            return
        for rule in tree.rules:
            if rule.program is None:
                self.causes.append(place.invalid(f"rule compile error: {rule.problem}"))
            else:
                self._run(rule, rule.program, place)
        for below, inner in _below(tree, place):
            self.walk(below, inner)

    def _run(self, rule: Rule, program: cel.Program, place: _Place) -> None:
        old = ABSENT if place.old is None else place.old
        if rule.uses_old and old is ABSENT and not rule.is_optional:
            return
        variables = {"self": place.value}
        if rule.is_optional:
            variables["oldSelf"] = NONE if old is ABSENT else Optional(True, old)
        elif old is not ABSENT:
            variables["oldSelf"] = old
        if self._holds(rule, program, variables, place):
            return
        cause = _cause(rule, place, self._message(rule, variables))
        if rule.uses_old or not place.is_same():
            self.causes.append(cause)

    def _holds(self, rule: Rule, program: cel.Program, variables: dict[str, Any], place: _Place) -> bool:
        """Whether a rule is fulfilled or, as has been told, could not be asked."""
        try:
            result, self._left = program.evaluate_within(variables, self._left)
        except cel.CostExceeded as error:
            detail = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: "
            detail += rule.name
            if self._left < cel.CALL_LIMIT:
                detail = "validation failed due to running out of cost budget, no further validation rules will be run"
            self.causes.append(place.invalid(detail))
            raise _Exhausted from None
        except cel.EvaluationError as error:
            self._left -= error.spent
            detail = f"{error} evaluating rule: {rule.name}"
            if str(error).startswith("no such overload"):
                detail = (
                    f"'{error}': call arguments did not match a supported operator, function or macro signature "
                    f"for rule: {rule.name}"
                )
            self.causes.append(place.invalid(detail))
            return True
        return result is True

    def _message(self, rule: Rule, variables: dict[str, Any]) -> str:
        if rule.message is not None:
            try:
                text, self._left = rule.message.evaluate_within(variables, self._left)
            except cel.EvaluationError as error:
                self._left -= error.spent
                text = ""
            text = text.strip()
            if text and "\n" not in text and len(text.encode()) <= _LONGEST_MESSAGE:
                return str(text)
        return (rule.json.get("message") or "").strip() or f"failed rule: {rule.name}"


def _cause(rule: Rule, place: _Place, detail: str) -> Cause:
    path, reason = child(place.path, rule.field) if rule.field else place.path or NOWHERE, rule.json.get("reason")
    if reason == "FieldValueForbidden":
        return forbidden(path, detail)
    if reason == "FieldValueRequired":
        return required(path, detail)
    kind = place.node.type
    return duplicate(path, kind) if reason == "FieldValueDuplicate" else invalid(path, kind, detail)


def _below(tree: Ruled, place: _Place) -> Iterator[tuple[Ruled, _Place]]:
    """The places below that have rules."""
    value, old, path = place.value, place.old, place.path
    if value.__class__ is list and tree.items is not None:
        olds = old_items(tree.node.json, value, old)
        for position, item in enumerate(value):
            inner = tree.items
            yield inner, _Place(inner.node, item, olds[position], f"{path}[{position}]", place)
    elif value.__class__ is dict:
        before = old if old.__class__ is dict else {}
        for name, item in value.items():
            declared = tree.properties.get(name)
            if declared is not None:
                yield declared, _Place(declared.node, item, before.get(name, ABSENT), child(path, name), place)
            elif tree.values is not None and name not in tree.node.properties:
                yield tree.values, _Place(tree.values.node, item, before.get(name, ABSENT), f"{path}[{name}]", place)
