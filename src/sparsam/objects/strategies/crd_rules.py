"""Rules within schemas of CustomResourceDefinitions (`x-kubernetes-validations`): words, and that they compile."""

from __future__ import annotations

from collections.abc import Iterator

from sparsam.errors import Cause
from sparsam.objects.fields import internal_error, invalid, not_supported, required
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.nodes import VALIDATIONS, Uncompilable, parse
from sparsam.objects.structural.rules import compile_rule, self_type

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def rule_causes(
    schema: Obj, path: str, uncorrelated: str, *, is_root: bool, compiles: bool
) -> Iterator[tuple[list[Cause], list[Cause]]]:
    """For each rule of one schema the causes for its words, and those for what it says, if it is to be compiled.

    `uncorrelated` is the path from which on an old value cannot be found; empty where it can.
    """
    for position, rule in enumerate(schema.get(VALIDATIONS) or []):
        here = f"{path}.{VALIDATIONS}[{position}]"
        words = [*_words(rule, here), *_field_path(rule, schema, here)]
        compiled = () if words or not compiles else _expressions(rule, schema, here, uncorrelated, is_root=is_root)
        yield words, list(compiled)


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


def _expressions(rule: Obj, schema: Obj, path: str, uncorrelated: str, *, is_root: bool) -> Iterator[Cause]:
    kind = self_type(schema, is_root=is_root)
    if kind is None:
        detail = f"internal error: failed to retrieve type information for {VALIDATIONS}"
        yield internal_error(path.rpartition("[")[0], detail)
        return
    compiled = compile_rule(rule, parse(schema), kind)
    if compiled.problem:
        yield invalid(f"{path}.rule", _shown(rule), compiled.problem)
        return
    if compiled.message_problem:
        detail = f"messageExpression {compiled.message_problem}"
        yield invalid(f"{path}.messageExpression", _shown(rule), detail)
    if compiled.uses_old and uncorrelated:
        detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
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
