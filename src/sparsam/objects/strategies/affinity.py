"""Where a pod may run: affinity, tolerations, topology spread, node selectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, not_supported, required
from sparsam.objects.names import dns_label_errors, dns_subdomain_errors, label_value_errors, qualified_name_errors
from sparsam.objects.strategies.common import optional_one_of
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj

Term = Mapping[str, Any]

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT_TEXT = "must be in the range 1-100"
_NOT_AN_OPERATOR = "not a valid selector operator"
_ANY_KEY_TEXT = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'


def validate_affinity(affinity: Term, path: str) -> list[Cause]:
    """Causes for spec.affinity."""
    causes: list[Cause] = []
    node = affinity.get("nodeAffinity")
    if node is not None:
        here = f"{path}.nodeAffinity"
        if node.get(REQUIRED) is not None:
            causes += validate_node_selector(node[REQUIRED], f"{here}.{REQUIRED}")
        causes += _preferred_nodes(node.get(PREFERRED) or [], f"{here}.{PREFERRED}")
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind)
        if terms is None:
            continue
        for position, term in enumerate(terms.get(REQUIRED) or []):
            causes += _pod_term(term, f"{path}.{kind}.{REQUIRED}[{position}]")
        for position, weighted in enumerate(terms.get(PREFERRED) or []):
            here = f"{path}.{kind}.{PREFERRED}[{position}]"
            causes += _weight(weighted, here)
            causes += _pod_term(weighted.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm")
    return causes


def _weight(term: Term, path: str) -> list[Cause]:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [invalid(f"{path}.weight", weight, _WEIGHT_TEXT)]


def _preferred_nodes(terms: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, term in enumerate(terms):
        causes += _weight(term, f"{path}[{position}]")
        # Label values of a mere preference are not checked.
        causes += _node_term(term.get("preference") or {}, f"{path}[{position}].preference", check_values=False)
    return causes


def validate_node_selector(selector: Term, path: str) -> list[Cause]:
    """Causes for a NodeSelector (of pods and of PersistentVolumes)."""
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    causes: list[Cause] = []
    for position, term in enumerate(terms):
        causes += _node_term(term, f"{path}.nodeSelectorTerms[{position}]", check_values=True)
    return causes


def _node_term(term: Term, path: str, *, check_values: bool) -> list[Cause]:
    causes: list[Cause] = []
    for position, requirement in enumerate(term.get("matchExpressions") or []):
        causes += _node_requirement(requirement, f"{path}.matchExpressions[{position}]", check_values)
    for position, requirement in enumerate(term.get("matchFields") or []):
        causes += _node_field(requirement, f"{path}.matchFields[{position}]")
    return causes


def _node_requirement(requirement: Term, path: str, check_values: bool) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    key = requirement.get("key", "")
    causes: list[Cause] = []
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden(f"{path}.values", detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes.append(required(f"{path}.values", detail))
    else:
        causes.append(invalid(f"{path}.operator", operator, _NOT_AN_OPERATOR))
    causes += [invalid(f"{path}.key", key, error) for error in qualified_name_errors(key)]
    if check_values:
        for position, value in enumerate(values):
            causes += [invalid(f"{path}.values[{position}]", value, error) for error in label_value_errors(value)]
    return causes


def _node_field(requirement: Term, path: str) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    key = requirement.get("key", "")
    causes: list[Cause] = []
    if operator not in ("In", "NotIn"):
        causes.append(invalid(f"{path}.operator", operator, _NOT_AN_OPERATOR))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(required(f"{path}.values", detail))
    if key != "metadata.name":
        return [*causes, invalid(f"{path}.key", key, "not a valid field selector key")]
    for position, value in enumerate(values):
        causes += [invalid(f"{path}.values[{position}]", value, error) for error in dns_subdomain_errors(value)]
    return causes


def _pod_term(term: Term, path: str) -> list[Cause]:
    causes = validate_label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    causes += validate_label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or []:
        causes += [invalid(f"{path}.namespace", name, error) for error in dns_label_errors(name)]
    match, mismatch = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    causes += _label_keys(match, term.get("labelSelector"), f"{path}.matchLabelKeys")
    causes += _label_keys(mismatch, term.get("labelSelector"), f"{path}.mismatchLabelKeys")
    for position, name in enumerate(match):
        if name in mismatch:
            here = f"{path}.matchLabelKeys[{position}]"
            causes.append(invalid(here, name, "exists in both matchLabelKeys and mismatchLabelKeys"))
    key = term.get("topologyKey", "")
    if not key:
        causes.append(required(f"{path}.topologyKey", "can not be empty"))
    return causes + [invalid(f"{path}.topologyKey", key, error) for error in qualified_name_errors(key)]


def _label_keys(keys: list[str], selector: Term | None, path: str) -> list[Cause]:
    if not keys:
        return []
    if selector is None:
        return [forbidden(path, "must not be specified when labelSelector is not set")]
    causes: list[Cause] = []
    for position, name in enumerate(keys):
        causes += [invalid(f"{path}[{position}]", name, error) for error in qualified_name_errors(name)]
    return causes


def apply_label_keys(spec: Obj, labels: Mapping[str, str]) -> None:
    """Write the matchLabelKeys and mismatchLabelKeys of a new pod into its selectors, with the labels it has now."""
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = (spec.get("affinity") or {}).get(kind) or {}
        weighted = [each.get("podAffinityTerm") or {} for each in terms.get(PREFERRED) or []]
        for term in [*(terms.get(REQUIRED) or []), *weighted]:
            _apply(term, "matchLabelKeys", "In", labels)
            _apply(term, "mismatchLabelKeys", "NotIn", labels)
    for constraint in spec.get("topologySpreadConstraints") or []:
        _apply(constraint, "matchLabelKeys", "In", labels)


def _apply(term: Obj, field: str, operator: str, labels: Mapping[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for key in term.get(field) or []:
        if key in labels:
            requirement = {"key": key, "operator": operator, "values": [labels[key]]}
            selector.setdefault("matchExpressions", []).append(requirement)


def taint_effect(effect: str, path: str) -> list[Cause]:
    """Causes for an effect that is given."""
    return [] if effect in TAINT_EFFECTS else [not_supported(path, effect, TAINT_EFFECTS)]


def validate_tolerations(tolerations: list[Obj], path: str) -> list[Cause]:
    """Causes for a list of tolerations."""
    causes: list[Cause] = []
    for position, toleration in enumerate(tolerations):
        causes += _toleration(toleration, f"{path}[{position}]")
    return causes


def _toleration(toleration: Term, path: str) -> list[Cause]:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    causes: list[Cause] = []
    if key:
        causes += [invalid(f"{path}.key", key, error) for error in qualified_name_errors(key)]
    elif operator != "Exists":
        causes.append(invalid(f"{path}.operator", operator, _ANY_KEY_TEXT))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes.append(invalid(f"{path}.effect", effect, detail))
    if operator in ("", "Equal"):
        errors = label_value_errors(value)
        if errors:
            causes.append(invalid(f"{path}.operator", value, ";".join(errors)))
    elif operator == "Exists":
        if value:
            causes.append(invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'"))
    else:
        causes.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    return causes + taint_effect(effect, f"{path}.effect") if effect else causes


def validate_spread(constraints: list[Obj], path: str) -> list[Cause]:
    """Causes for topologySpreadConstraints."""
    causes: list[Cause] = []
    pairs = [(each.get("topologyKey", ""), each.get("whenUnsatisfiable", "")) for each in constraints]
    for position, constraint in enumerate(constraints):
        causes += _spread(constraint, f"{path}[{position}]", repeated=pairs[position] in pairs[position + 1 :])
    return causes


def _spread(constraint: Term, path: str, *, repeated: bool) -> list[Cause]:
    skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
    action, domains = constraint.get("whenUnsatisfiable", ""), constraint.get("minDomains")
    causes: list[Cause] = []
    if skew <= 0:
        causes.append(invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
    if not key:
        causes.append(required(f"{path}.topologyKey", "can not be empty"))
    causes += optional_one_of(action, f"{path}.whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway"))
    if repeated:
        causes.append(duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
    if domains is not None:
        if domains <= 0:
            causes.append(invalid(f"{path}.minDomains", domains, "must be greater than zero"))
        if action != "DoNotSchedule":
            detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not whenUnsatisfiable=" + action
            causes.append(invalid(f"{path}.minDomains", domains, detail))
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(name) is not None:
            causes += optional_one_of(constraint[name], f"{path}.{name}", ("Honor", "Ignore"))
    causes += _label_keys(
        constraint.get("matchLabelKeys") or [], constraint.get("labelSelector"), f"{path}.matchLabelKeys"
    )
    return causes + validate_label_selector(constraint.get("labelSelector"), f"{path}.labelSelector")
