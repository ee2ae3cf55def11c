"""Which requests an admission webhook or policy sees: rules, selectors, match conditions."""

from __future__ import annotations

from collections.abc import Callable

from sparsam.errors import Cause
from sparsam.objects.cel import DYN, CelError
from sparsam.objects.cel.admission import Environment
from sparsam.objects.fields import duplicate, invalid, required, too_many
from sparsam.objects.names import path_segment_errors, qualified_name_errors
from sparsam.objects.strategies.common import optional_one_of, put_default, text_causes
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_MAX_CONDITIONS = 64


def default_rules(rules: list[Obj] | None) -> None:
    """Rules are about objects of all scopes."""
    for rule in rules or []:
        if rule.get("scope") is None:
            rule["scope"] = "*"


def default_selection(selection: Obj) -> None:
    """Everything is selected, and the same object in all its versions."""
    if selection.get("matchPolicy") is None:
        selection["matchPolicy"] = "Equivalent"
    put_default(selection, "namespaceSelector", {})
    put_default(selection, "objectSelector", {})


def validate_rule(rule: Obj, path: str) -> list[Cause]:
    """Causes for a rule with its operations."""
    operations = rule.get("operations") or []
    causes = [] if operations else [required(f"{path}.operations")]
    causes += _alone(operations, "*", f"{path}.operations", "operations")
    for position, operation in enumerate(operations):
        causes += optional_one_of(operation, f"{path}.operations[{position}]", _OPERATIONS)
    for field, noun in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            causes.append(required(f"{path}.{field}"))
        causes += _alone(values, "*", f"{path}.{field}", noun)
        if field == "apiVersions":
            causes += [required(f"{path}.{field}[{position}]") for position, value in enumerate(values) if not value]
    causes += _resources(rule.get("resources") or [], f"{path}.resources")
    if rule.get("scope") is not None:
        causes += optional_one_of(rule["scope"], f"{path}.scope", _SCOPES)
    return causes


def _alone(values: list[str], star: str, path: str, noun: str) -> list[Cause]:
    if len(values) > 1 and star in values:
        return [invalid(path, values, f"if '{star}' is present, must not specify other {noun}")]
    return []


def _resources(resources: list[str], path: str) -> list[Cause]:
    if not resources:
        return [required(path)]
    causes = _alone(resources, "*/*", path, "resources")
    causes += [required(f"{path}[{position}]") for position, value in enumerate(resources) if not value]
    for position, value in enumerate(resources):
        name, slash, part = value.partition("/")
        if slash and part != "*" and f"{name}/*" in resources:
            detail = f"if '{name}/*' is present, must not specify {value}"
            causes.append(invalid(f"{path}[{position}]", value, detail))
        if slash and name != "*" and f"*/{part}" in resources:
            detail = f"if '*/{part}' is present, must not specify {value}"
            causes.append(invalid(f"{path}[{position}]", value, detail))
        if not slash and value != "*" and "*" in resources:
            detail = "if '*' is present, must not specify other resources without subresources"
            causes.append(invalid(path, resources, detail))
    return causes


def validate_match_resources(selection: Obj, path: str) -> list[Cause]:
    """Causes for the resources that a policy or a binding is about."""
    causes: list[Cause] = []
    for name in ("namespaceSelector", "objectSelector"):
        causes += validate_label_selector(selection.get(name), f"{path}.{name}")
    for field in ("resourceRules", "excludeResourceRules"):
        for position, rule in enumerate(selection.get(field) or []):
            here = f"{path}.{field}[{position}]"
            causes += _resource_names(rule.get("resourceNames") or [], f"{here}.resourceNames")
            causes += validate_rule(rule, here)
    if selection.get("matchPolicy") is not None:
        causes += optional_one_of(selection["matchPolicy"], f"{path}.matchPolicy", MATCH_POLICIES)
    return causes


def _resource_names(names: list[str], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, name in enumerate(names):
        here = f"{path}[{position}]"
        causes += [invalid(here, name, error) for error in path_segment_errors(name)]
        if name in names[:position]:
            causes.append(duplicate(here, name))
    return causes


def validate_match_conditions(conditions: list[Obj], path: str, *, has_params: bool = False) -> list[Cause]:
    """Causes for conditions in CEL; `has_params`: those of a policy with parameters may name them."""
    causes = [too_many(path, len(conditions), _MAX_CONDITIONS)] if len(conditions) > _MAX_CONDITIONS else []
    names: set[str] = set()
    for position, condition in enumerate(conditions):
        here, name = f"{path}[{position}]", condition.get("name", "")
        expression = condition.get("expression", "").strip()
        causes += validate_expression(
            expression, f"{here}.expression", lambda text: _compile_condition(text, has_params=has_params), ""
        )
        causes += text_causes(name, f"{here}.name", qualified_name_errors) if name else [required(f"{here}.name")]
        if name and name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
    return causes


def _compile_condition(text: str, *, has_params: bool) -> object:
    return Environment(params=DYN if has_params else None).compile(text)


def validate_expression(
    expression: str,
    path: str,
    compile_one: Callable[[str], object],
    missing: str = "expression is not specified",
) -> list[Cause]:
    """Causes for an expression in CEL: that there is one, and that it compiles."""
    if not expression.strip():
        return [required(path, missing)]
    return compile_causes(expression, path, compile_one)


def compile_causes(expression: str, path: str, compile_one: Callable[[str], object]) -> list[Cause]:
    """The cause for an expression that does not compile."""
    try:
        compile_one(expression)
    except CelError as error:
        return [invalid(path, expression, str(error))]
    return []
