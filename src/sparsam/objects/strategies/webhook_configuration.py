"""Validating and mutating webhook configurations."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, not_supported, required
from sparsam.objects.names import dns_subdomain_errors
from sparsam.objects.strategies import admission_rules, webhook_clients
from sparsam.objects.strategies.common import optional_one_of
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

GROUP = "admissionregistration.k8s.io"
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_TIMEOUT_SECONDS = 10
_MAX_TIMEOUT_SECONDS = 30


def default_validating(configuration: Obj) -> None:
    """A webhook that fails refuses the request, after ten seconds."""
    for hook in configuration.get("webhooks") or []:
        if hook.get("failurePolicy") is None:
            hook["failurePolicy"] = "Fail"
        admission_rules.default_selection(hook)
        if hook.get("timeoutSeconds") is None:
            hook["timeoutSeconds"] = _TIMEOUT_SECONDS
        admission_rules.default_rules(hook.get("rules"))
        webhook_clients.default_client(hook.get("clientConfig"))


def default_mutating(configuration: Obj) -> None:
    """Besides, a mutating webhook is called once for each request."""
    default_validating(configuration)
    for hook in configuration.get("webhooks") or []:
        if hook.get("reinvocationPolicy") is None:
            hook["reinvocationPolicy"] = "Never"


def validate(configuration: Obj) -> list[Cause]:
    """Causes for a webhook configuration of either kind."""
    causes: list[Cause] = []
    names: set[str] = set()
    for position, hook in enumerate(configuration.get("webhooks") or []):
        path, name = f"webhooks[{position}]", hook.get("name", "")
        causes += _hook(hook, path)
        if name and name in names:
            causes.append(duplicate(f"{path}.name", name))
        names.add(name)
    return causes


def _hook(hook: Obj, path: str) -> list[Cause]:
    causes = webhook_clients.validate_review_versions(
        hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions"
    )
    causes = _qualified(hook.get("name", ""), f"{path}.name") + causes
    for position, rule in enumerate(hook.get("rules") or []):
        causes += admission_rules.validate_rule(rule, f"{path}.rules[{position}]")
    policies = (("failurePolicy", admission_rules.FAILURE_POLICIES), ("matchPolicy", admission_rules.MATCH_POLICIES))
    for field, known in (*policies, ("reinvocationPolicy", ("IfNeeded", "Never"))):
        if hook.get(field) is not None:
            causes += optional_one_of(hook[field], f"{path}.{field}", known)
    causes += _side_effects(hook.get("sideEffects"), f"{path}.sideEffects")
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _MAX_TIMEOUT_SECONDS:
        detail = f"the timeout value must be between 1 and {_MAX_TIMEOUT_SECONDS} seconds"
        causes.append(invalid(f"{path}.timeoutSeconds", seconds, detail))
    for field in ("namespaceSelector", "objectSelector"):
        causes += validate_label_selector(hook.get(field), f"{path}.{field}")
    causes += webhook_clients.validate_client(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    conditions = hook.get("matchConditions") or []
    return causes + admission_rules.validate_match_conditions(conditions, f"{path}.matchConditions")


def _qualified(name: str, path: str) -> list[Cause]:
    if not name:
        return [required(path)]
    errors = dns_subdomain_errors(name)
    if not errors and name.count(".") < 2:
        errors = ["should be a domain with at least three segments separated by dots"]
    return [invalid(path, name, error) for error in errors]


def _side_effects(value: str | None, path: str) -> list[Cause]:
    if value is None:
        return [required(path, f"must specify one of {', '.join(_SIDE_EFFECTS)}")]
    return [] if value in _SIDE_EFFECTS else [not_supported(path, value, _SIDE_EFFECTS)]


def validate_update(configuration: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed webhook configuration."""
    return validate(configuration)


STRATEGIES = {
    (GROUP, kind): Strategy(
        default=default,
        validate=validate,
        validate_update=validate_update,
        has_status=False,
        has_generation=True,
        generation_fields=("webhooks",),
        allow_unconditional_update=False,
    )
    for kind, default in (
        ("ValidatingWebhookConfiguration", default_validating),
        ("MutatingWebhookConfiguration", default_mutating),
    )
}
