"""Roles and what binds them to subjects."""

from __future__ import annotations

from collections.abc import Callable

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.names import dns_subdomain_errors, path_segment_errors
from sparsam.objects.strategies.common import text_causes
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")
_ROLE_REF_FIELDS = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))

Check = Callable[[Obj], list[Cause]]


def default_binding(binding: Obj) -> None:
    """References without a group are to this group, those to service accounts to the core group."""
    _put_group(binding.setdefault("roleRef", {}))
    for subject in binding.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            _put_group(subject)


def _put_group(reference: Obj) -> None:
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP


def _rules(role: Obj, *, namespaced: bool) -> list[Cause]:
    causes: list[Cause] = []
    for position, rule in enumerate(role.get("rules") or []):
        causes += _rule(rule, f"rules[{position}]", namespaced=namespaced)
    return causes


def _rule(rule: Obj, path: str, *, namespaced: bool) -> list[Cause]:
    causes: list[Cause] = []
    if not rule.get("verbs"):
        causes.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        here = f"{path}.nonResourceURLs"
        if namespaced:
            causes.append(invalid(here, urls, "namespaced rules cannot apply to non-resource URLs"))
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(invalid(here, urls, detail))
        return causes
    if not rule.get("apiGroups"):
        causes.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return causes


def validate_role(role: Obj) -> list[Cause]:
    """Causes for a Role."""
    return _rules(role, namespaced=True)


def validate_cluster_role(role: Obj) -> list[Cause]:
    """Causes for a ClusterRole: its rules, and the selectors of those it gathers."""
    causes = _rules(role, namespaced=False)
    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return causes
    selectors, path = aggregation.get("clusterRoleSelectors") or [], "aggregationRule.clusterRoleSelectors"
    if not selectors:
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        causes.append(required(path, detail))
    for position, selector in enumerate(selectors):
        found = validate_label_selector(selector, f"{path}[{position}]")
        causes += found
        if found:
            causes.append(invalid(f"{path}[{position}]", None, "invalid label selector."))
    return causes


def _binding(binding: Obj, kinds: tuple[str, ...], *, namespaced: bool) -> list[Cause]:
    reference = binding.get("roleRef") or {}
    causes: list[Cause] = []
    if reference.get("apiGroup") != GROUP:
        causes.append(not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (GROUP,)))
    if reference.get("kind") not in kinds:
        causes.append(not_supported("roleRef.kind", reference.get("kind", ""), kinds))
    name = reference.get("name")
    causes += text_causes(name, "roleRef.name", path_segment_errors) if name else [required("roleRef.name")]
    for position, subject in enumerate(binding.get("subjects") or []):
        causes += _subject(subject, f"subjects[{position}]", namespaced=namespaced)
    return causes


def _subject(subject: Obj, path: str, *, namespaced: bool) -> list[Cause]:
    name, kind, group = subject.get("name", ""), subject.get("kind", ""), subject.get("apiGroup", "")
    causes = [] if name else [required(f"{path}.name")]
    if kind == "ServiceAccount":
        if name:
            causes += text_causes(name, f"{path}.name", dns_subdomain_errors)
        if group:
            causes.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            causes.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            causes.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        causes.append(not_supported(f"{path}.kind", kind, _SUBJECTS))
    return causes


def validate_role_binding(binding: Obj) -> list[Cause]:
    """Causes for a RoleBinding."""
    return _binding(binding, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_role_binding(binding: Obj) -> list[Cause]:
    """Causes for a ClusterRoleBinding."""
    return _binding(binding, ("ClusterRole",), namespaced=False)


def _same_role(binding: Obj, old: Obj) -> list[Cause]:
    reference = binding.get("roleRef") or {}
    if reference == (old.get("roleRef") or {}):
        return []
    # Upstream prints its internal struct here.
    shown = {theirs: reference.get(ours, "") for theirs, ours in _ROLE_REF_FIELDS}
    return [invalid("roleRef", shown, "cannot change roleRef")]


def _role(check: Check) -> Strategy:
    return Strategy(
        validate=check,
        validate_update=lambda new, _old: check(new),
        name_rule="path-segment",
        has_status=False,
        allow_create_on_update=True,
    )


def _role_binding(check: Check) -> Strategy:
    return Strategy(
        default=default_binding,
        validate=check,
        validate_update=lambda new, old: check(new) + _same_role(new, old),
        name_rule="path-segment",
        has_status=False,
        allow_create_on_update=True,
    )


STRATEGIES = {
    (GROUP, "Role"): _role(validate_role),
    (GROUP, "ClusterRole"): _role(validate_cluster_role),
    (GROUP, "RoleBinding"): _role_binding(validate_role_binding),
    (GROUP, "ClusterRoleBinding"): _role_binding(validate_cluster_role_binding),
}
