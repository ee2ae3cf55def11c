"""Rules within schemas of CustomResourceDefinitions (`x-kubernetes-validations`): words, expressions, and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, internal_error, invalid, not_supported, required
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.bounds import Bound, bound_of, most_in_a_request
from sparsam.objects.structural.estimates import MOST, RULE_LIMIT, SCHEMA_LIMIT, estimate, excess
from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.nodes import VALIDATIONS, Uncompilable, parse
from sparsam.objects.structural.rules import Rule, compile_rule, self_type

# Of the rules of a schema that may cost too much, this many are named, if each takes a share of the limit.
_NAMED, _SHARE = 4, SCHEMA_LIMIT // 100
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


@dataclass(frozen=True, slots=True)
class Spot:
    """What rules at a place of the schema have to know of it."""

    is_root: bool
    uncorrelated: str
    """The path from which on an old value cannot be found; empty where it can."""
    cardinality: int | None
    """How many values an object has here at most; None when only the size of requests limits them."""


@dataclass(slots=True)
class Compilation:
    """What the rules of one schema say, and what they may cost together."""

    forgives_cost: bool
    """Whether a single rule may cost more than new ones: it was accepted before."""
    causes: list[Cause] = field(default_factory=list)
    _costs: list[tuple[int, str]] = field(default_factory=list)

    def add(self, schema: Obj, path: str, spot: Spot) -> None:
        """Compile the rules of one place."""
        given = schema.get(VALIDATIONS) or []
        if not given:
            return
        kind, bound = self_type(schema, is_root=spot.is_root), bound_of(schema, is_root=spot.is_root)
        if kind is None or bound is None:
            detail = f"internal error: failed to retrieve type information for {VALIDATIONS}"
            self.causes.append(internal_error(f"{path}.{VALIDATIONS}", detail))
            return
        node = parse(schema)
        for position, rule in enumerate(given):
            here = f"{path}.{VALIDATIONS}[{position}]"
            compiled = compile_rule(rule, node, kind)
            self._costs_of(compiled, bound, here, spot)
            self.causes += _told(compiled, here, spot)

    def _costs_of(self, rule: Rule, bound: Bound, path: str, spot: Spot) -> None:
        if rule.program is not None:
            times = most_in_a_request(bound) if spot.cardinality is None else spot.cardinality
            cost = min(estimate(rule.program.tree, bound) * times, MOST)
            self._take(cost, f"{path}.rule", "estimated rule cost")
        if rule.message is not None:
            cost = estimate(rule.message.tree, bound)
            self._take(cost, f"{path}.messageExpression", "estimated messageExpression cost")

    def _take(self, cost: int, path: str, name: str) -> None:
        self._costs.append((cost, path))
        if cost > RULE_LIMIT and not self.forgives_cost:
            self.causes.append(forbidden(path, excess(name, cost, RULE_LIMIT)))

    def total_causes(self, path: str) -> Iterator[Cause]:
        """Causes when all rules together may cost too much; `path` is that of the whole schema."""
        total = min(sum(cost for cost, _path in self._costs), MOST)
        if total <= SCHEMA_LIMIT:
            return
        most = sorted(self._costs, key=lambda each: -each[0])[:_NAMED]
        for _cost, here in (each for each in most if each[0] >= _SHARE):
            detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield forbidden(here, detail)
        name = f"{VALIDATIONS} estimated rule cost total for entire OpenAPIv3 schema"
        yield forbidden(path, excess(name, total, SCHEMA_LIMIT))


def word_causes(schema: Obj, path: str) -> Iterator[Cause]:
    """Causes for the words of the rules of one place, whatever their expressions say."""
    for position, rule in enumerate(schema.get(VALIDATIONS) or []):
        here = f"{path}.{VALIDATIONS}[{position}]"
        yield from _words(rule, here)
        yield from _field_path(rule, schema, here)


def _words(rule: Obj, path: str) -> Iterator[Cause]:
    text, message = rule.get("rule", ""), rule.get("message", "")
    if not text.strip():
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif _has_lines(message.strip()):
        yield invalid(f"{path}.message", message, "message must not contain line breaks")
    elif _has_lines(text.strip()) and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression", "")
    if expression and not expression.strip():
        yield required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        yield not_supported(f"{path}.reason", reason, _REASONS)


def _field_path(rule: Obj, schema: Obj, path: str) -> Iterator[Cause]:
    wished, here = rule.get("fieldPath", ""), f"{path}.fieldPath"
    if not wished:
        return
    if not wished.strip():
        yield invalid(here, wished, "fieldPath must be non-empty if specified")
    if _has_lines(wished):
        yield invalid(here, wished, "fieldPath must not contain line breaks")
    try:
        resolve(wished, parse(schema))
    except BadFieldPath:
        yield invalid(here, wished, "fieldPath must be a valid path")
    except Uncompilable:
        return  # Told where it stands.


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _told(compiled: Rule, path: str, spot: Spot) -> Iterator[Cause]:
    """Causes for what the expressions of a rule say."""
    rule = compiled.json
    if compiled.problem:
        yield invalid(f"{path}.rule", _shown(rule), compiled.problem)
        return
    if compiled.message_problem:
        detail = f"messageExpression {compiled.message_problem}"
        yield invalid(f"{path}.messageExpression", _shown(rule), detail)
    if compiled.uses_old and spot.uncorrelated:
        detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {spot.uncorrelated}"
        yield invalid(f"{path}.rule", rule["rule"], detail)
    if not compiled.uses_old and rule.get("optionalOldSelf") is not None:
        detail = "may not be set if oldSelf is not used in rule"
        yield invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], detail)


def _shown(rule: Obj) -> Obj:
    """A rule as upstream prints it: its internal struct."""
    texts = {name[0].upper() + name[1:]: rule.get(name, "") for name in ("rule", "message", "messageExpression")}
    return texts | {
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
