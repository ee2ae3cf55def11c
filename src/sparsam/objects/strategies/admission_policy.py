"""Validating and mutating admission policies and their bindings, their expressions compiled."""

from __future__ import annotations

import re
from functools import partial

from sparsam.errors import Cause
from sparsam.objects.cel import DYN, NULL, STRING
from sparsam.objects.cel.admission import Environment
from sparsam.objects.cel.conversion import KEYWORDS
from sparsam.objects.cel.mutations import RETURNS, STRUCTS
from sparsam.objects.fields import duplicate, forbidden, invalid, required
from sparsam.objects.names import (
    c_identifier_errors,
    dns1035_label_errors,
    dns_subdomain_errors,
    path_segment_errors,
    qualified_name_errors,
)
from sparsam.objects.strategies import admission_rules
from sparsam.objects.strategies.common import one_of, optional_one_of, text_causes
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

GROUP = "admissionregistration.k8s.io"
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_ACTIONS = ("Audit", "Deny", "Warn")
_MOST_ANNOTATIONS = 20
_LONGEST_VALUE_EXPRESSION = 5 * 1024
_LINE_BREAK = re.compile(r"[\n\r]")
_PATCH_TYPES = ("ApplyConfiguration", "JSONPatch")


def default_policy(policy: Obj) -> None:
    """A policy that cannot be evaluated refuses the request."""
    spec = policy.setdefault("spec", {})
    if spec.get("failurePolicy") is None:
        spec["failurePolicy"] = "Fail"
    _default_match(spec.get("matchConstraints"))


def default_binding(binding: Obj) -> None:
    """A binding without selection is about all that the policy is about."""
    _default_match((binding.get("spec") or {}).get("matchResources"))


def _default_match(selection: Obj | None) -> None:
    if selection is not None:
        admission_rules.default_selection(selection)
        admission_rules.default_rules(selection.get("resourceRules"))
        admission_rules.default_rules(selection.get("excludeResourceRules"))


def prepare_validating(policy: Obj) -> None:
    """A new policy has not been looked at."""
    policy["status"] = {}


def validate_validating(policy: Obj) -> list[Cause]:
    """Causes for a ValidatingAdmissionPolicy."""
    spec = policy["spec"]
    environment = _environment(spec)
    causes = _common(spec, environment)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        detail = "validations or auditAnnotations must contain at least one item"
        return [*causes, required("spec.validations", detail), required("spec.auditAnnotations", detail)]
    for position, validation in enumerate(validations):
        causes += _validation(validation, f"spec.validations[{position}]", environment)
    return causes + _annotations(policy, annotations, environment)


def _environment(spec: Obj) -> Environment:
    params = DYN if spec.get("paramKind") is not None else None
    return Environment(params=params, composed=True, structs=STRUCTS if spec.get("mutations") else None)


def _annotations(policy: Obj, annotations: list[Obj], environment: Environment) -> list[Cause]:
    causes: list[Cause] = []
    if len(annotations) > _MOST_ANNOTATIONS:
        detail = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
        causes.append(invalid("spec.auditAnnotations", annotations, detail))
    keys: set[str] = set()
    name = policy["metadata"].get("name", "")
    for position, annotation in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{position}]", annotation.get("key", "")
        causes += [invalid(f"{path}.key", f"{name}/{key}", error) for error in qualified_name_errors(f"{name}/{key}")]
        expression, here = annotation.get("valueExpression", ""), f"{path}.valueExpression"
        if len(expression.strip().encode()) > _LONGEST_VALUE_EXPRESSION:
            causes.append(required(here, f"must not exceed {_LONGEST_VALUE_EXPRESSION} bytes in length"))
        else:
            missing = "valueExpression is not specified"
            causes += admission_rules.validate_expression(
                expression, here, lambda text: environment.compile(text.strip(), (STRING, NULL)), missing
            )
        if key in keys:
            causes.append(duplicate(f"{path}.key", key))
        keys.add(key)
    return causes


def _common(spec: Obj, environment: Environment) -> list[Cause]:
    causes: list[Cause] = []
    policy = spec.get("failurePolicy")
    causes += optional_one_of(policy or "", "spec.failurePolicy", admission_rules.FAILURE_POLICIES)
    kind = spec.get("paramKind")
    if kind is not None:
        causes += _parameter_kind(kind)
    selection = spec.get("matchConstraints")
    if selection is None:
        causes.append(required("spec.matchConstraints"))
    else:
        causes += admission_rules.validate_match_resources(selection, "spec.matchConstraints")
        if not selection.get("resourceRules"):
            causes.append(required("spec.matchConstraints.resourceRules"))
    causes += admission_rules.validate_match_conditions(
        spec.get("matchConditions") or [], "spec.matchConditions", has_params=kind is not None
    )
    return causes + _variables(spec.get("variables") or [], "spec.variables", environment)


def _parameter_kind(kind: Obj) -> list[Cause]:
    path, version, name = "spec.paramKind", kind.get("apiVersion", ""), kind.get("kind", "")
    causes = [] if version else [required(f"{path}.apiVersion")]
    group, slash, plain = version.rpartition("/")
    if "/" in group:
        causes.append(invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    elif version:
        if slash and group:
            causes += [invalid(f"{path}.apiVersion", group, error) for error in dns_subdomain_errors(group)]
        if not plain:
            causes.append(invalid(f"{path}.apiVersion", version, "version must be specified"))
        else:
            causes += [invalid(f"{path}.apiVersion", plain, error) for error in dns1035_label_errors(plain)]
    if not name:
        causes.append(required(f"{path}.kind"))
    elif errors := dns1035_label_errors(name.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(errors)}"
        causes.append(invalid(f"{path}.kind", name, detail))
    return causes


def _variables(variables: list[Obj], path: str, environment: Environment) -> list[Cause]:
    def declare(name: str, text: str) -> None:
        # One that does not compile is told of once, not wherever it is used.
        environment.declare(name, DYN)
        environment.declare(name, environment.compile(text, DYN).result)

    causes: list[Cause] = []
    names: set[str] = set()
    for position, variable in enumerate(variables):
        here, name = f"{path}[{position}]", variable.get("name", "")
        if not name:
            causes.append(required(f"{here}.name", "name is not specified"))
        elif c_identifier_errors(name) or name in KEYWORDS:
            causes.append(invalid(f"{here}.name", name, "name is not a valid CEL identifier"))
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
        causes += admission_rules.validate_expression(
            variable.get("expression", ""), f"{here}.expression", partial(declare, name)
        )
    return causes


def _validation(validation: Obj, path: str, environment: Environment) -> list[Cause]:
    expression, message = validation.get("expression", ""), validation.get("message", "")
    causes = admission_rules.validate_expression(expression, f"{path}.expression", environment.compile)
    told, here = validation.get("messageExpression", ""), f"{path}.messageExpression"
    if told and not told.strip():
        causes.append(invalid(here, told, "must be non-empty if specified"))
    elif told:
        causes += admission_rules.compile_causes(
            told, here, lambda text: environment.compile(text, STRING, authorizer=False)
        )
    if message and not message.strip():
        causes.append(invalid(f"{path}.message", message, "message must be non-empty if specified"))
    elif _LINE_BREAK.search(message.strip()):
        causes.append(invalid(f"{path}.message", message, "message must not contain line breaks"))
    if validation.get("reason") is not None:
        causes += optional_one_of(validation["reason"], f"{path}.reason", _REASONS)
    return causes


def validate_mutating(policy: Obj) -> list[Cause]:
    """Causes for a MutatingAdmissionPolicy."""
    spec = policy["spec"]
    environment = _environment(spec)
    causes = _common(spec, environment)
    mutations = spec.get("mutations") or []
    if not mutations:
        causes.append(required("spec.mutations", "mutations must contain at least one item"))
    for position, mutation in enumerate(mutations):
        path, kind = f"spec.mutations[{position}]", mutation.get("patchType")
        causes += one_of(kind, f"{path}.patchType", _PATCH_TYPES)
        for name, owner in (("applyConfiguration", "ApplyConfiguration"), ("jsonPatch", "JSONPatch")):
            given = mutation.get(name)
            if kind == owner and given is None:
                causes.append(required(f"{path}.{name}", f"must be specified when patchType is {owner}"))
            elif kind != owner and given is not None:
                causes.append(forbidden(f"{path}.{name}", f"must not be specified when patchType is {kind or ''}"))
            elif given is not None:
                here = f"{path}.{name}.expression"
                compile_one = partial(environment.compile, returns=RETURNS[owner])
                causes += admission_rules.validate_expression(given.get("expression", ""), here, compile_one)
    return causes + one_of(spec.get("reinvocationPolicy"), "spec.reinvocationPolicy", ("Never", "IfNeeded"))


def validate_validating_binding(binding: Obj) -> list[Cause]:
    """Causes for a ValidatingAdmissionPolicyBinding."""
    causes = validate_binding(binding)
    actions, path = (binding.get("spec") or {}).get("validationActions") or [], "spec.validationActions"
    if not actions:
        causes.append(required(path, "at least one validation action is required"))
    for position, action in enumerate(actions):
        causes += optional_one_of(action, f"{path}[{position}]", _ACTIONS)
        if action in actions[:position]:
            causes.append(duplicate(f"{path}[{position}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        causes.append(invalid(path, actions, detail))
    return causes


def validate_binding(binding: Obj) -> list[Cause]:
    """Causes for a binding of either kind."""
    spec = binding.get("spec") or {}
    name, path = spec.get("policyName"), "spec.policyName"
    causes = text_causes(name, path, path_segment_errors) if name else [required(path)]
    if spec.get("paramRef") is not None:
        causes += _parameters(spec["paramRef"], "spec.paramRef")
    if spec.get("matchResources") is not None:
        causes += admission_rules.validate_match_resources(spec["matchResources"], "spec.matchResources")
    return causes


def _parameters(reference: Obj, path: str) -> list[Cause]:
    name, selector = reference.get("name"), reference.get("selector")
    causes: list[Cause] = []
    if name:
        causes += text_causes(name, f"{path}.name", path_segment_errors)
        if selector is not None:
            detail = "name and selector are mutually exclusive"
            causes += [forbidden(f"{path}.{field}", detail) for field in ("name", "selector")]
    elif selector is None:
        detail = "one of name or selector must be specified"
        causes += [required(f"{path}.{field}", detail) for field in ("name", "selector")]
    causes += validate_label_selector(selector, f"{path}.selector")
    action, here = reference.get("parameterNotFoundAction"), f"{path}.parameterNotFoundAction"
    return causes + (one_of(action, here, ("Deny", "Allow")) if action is not None else [required(here)])


STRATEGIES = {
    (GROUP, "ValidatingAdmissionPolicy"): Strategy(
        default=default_policy,
        prepare_create=prepare_validating,
        validate=validate_validating,
        validate_update=lambda new, _old: validate_validating(new),
        has_generation=True,
        allow_unconditional_update=False,
    ),
    (GROUP, "ValidatingAdmissionPolicyBinding"): Strategy(
        default=default_binding,
        validate=validate_validating_binding,
        validate_update=lambda new, _old: validate_validating_binding(new),
        has_status=False,
        has_generation=True,
        allow_unconditional_update=False,
    ),
    (GROUP, "MutatingAdmissionPolicy"): Strategy(
        default=default_policy,
        validate=validate_mutating,
        validate_update=lambda new, _old: validate_mutating(new),
        has_status=False,
        has_generation=True,
        allow_unconditional_update=False,
    ),
    (GROUP, "MutatingAdmissionPolicyBinding"): Strategy(
        default=default_binding,
        validate=validate_binding,
        validate_update=lambda new, _old: validate_binding(new),
        has_status=False,
        has_generation=True,
        allow_unconditional_update=False,
    ),
}
