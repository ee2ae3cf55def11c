"""Rules within schemas of CustomResourceDefinitions (`x-kubernetes-validations`): words, and that they compile."""

from __future__ import annotations

from collections.abc import Iterator

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.nodes import VALIDATIONS, Uncompilable, parse

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def rule_causes(
    schema: Obj, path: str, uncorrelated: str, *, compiles: bool
) -> Iterator[tuple[list[Cause], list[Cause]]]:
    """For each rule of one schema the causes for its words, and those for what it says, if it is to be compiled."""
    for position, rule in enumerate(schema.get(VALIDATIONS) or []):
        here = f"{path}.{VALIDATIONS}[{position}]"
        words = [*_words(rule, here), *_field_path(rule, schema, here)]
        yield words, [] if words or not compiles else _expressions(rule, here, uncorrelated)


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


def _expressions(_rule: Obj, path: str, _uncorrelated: str) -> list[Cause]:
    return [forbidden(f"{path}.rule", "rules in CEL are not supported")]
