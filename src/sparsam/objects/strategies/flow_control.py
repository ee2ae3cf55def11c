"""FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.names import path_segment_errors
from sparsam.objects.strategies.common import inclusive, optional_one_of, text_causes
from sparsam.objects.strategy import Obj, Strategy

GROUP = "flowcontrol.apiserver.k8s.io"
_PRECEDENCE = 1000
_MAX_PRECEDENCE = 10_000
_MAX_QUEUES = 10_000_000
_EXEMPT = "exempt"


def _missing(obj: Obj, **values: Any) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def default_schema(schema: Obj) -> None:
    """Schemas are asked in the order of their precedence."""
    spec = schema.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = _PRECEDENCE


def default_level(level: Obj) -> None:
    """Shares of the server's concurrency, and queues of a moderate size."""
    spec = level.setdefault("spec", {})
    if spec.get("exempt") is not None:
        _missing(spec["exempt"], nominalConcurrencyShares=0, lendablePercent=0)
    limited = spec.get("limited")
    if limited is not None:
        _missing(limited, nominalConcurrencyShares=30, lendablePercent=0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                if not queuing.get(name):
                    queuing[name] = value


def prepare_create(obj: Obj) -> None:
    """Conditions are the server's to set."""
    obj["status"] = {}


def validate_schema(schema: Obj) -> list[Cause]:
    """Causes for a FlowSchema."""
    spec, name = schema["spec"], schema["metadata"].get("name", "")
    precedence, path = spec.get("matchingPrecedence", 0), "spec.matchingPrecedence"
    causes: list[Cause] = []
    if precedence <= 0:
        causes.append(invalid(path, precedence, "must be a positive value"))
    if precedence > _MAX_PRECEDENCE:
        causes.append(invalid(path, precedence, f"must not be greater than {_MAX_PRECEDENCE}"))
    if precedence == 1 and name != _EXEMPT:
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        causes.append(invalid(path, precedence, detail))
    method = spec.get("distinguisherMethod")
    if method is not None:
        here = "spec.distinguisherMethod"
        if method.get("type") not in ("ByNamespace", "ByUser"):
            causes.append(not_supported(here, method, ("ByNamespace", "ByUser")))
    level, here = (spec.get("priorityLevelConfiguration") or {}).get("name"), "spec.priorityLevelConfiguration.name"
    causes += (
        text_causes(level, here, path_segment_errors) if level else [required(here, "must reference a priority level")]
    )
    for position, rule in enumerate(spec.get("rules") or []):
        causes += _policy_rule(rule, f"spec.rules[{position}]")
    return causes


def _policy_rule(rule: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not rule.get("subjects"):
        causes.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for position, subject in enumerate(rule.get("subjects") or []):
        causes += _subject(subject, f"{path}.subjects[{position}]")
    resources, others = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not others:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        causes.append(required(path, detail))
    for position, each in enumerate(resources):
        here = f"{path}.resourceRules[{position}]"
        needed = (("verbs", "verbs"), ("apiGroups", "api group"), ("resources", "resource"))
        for field, noun in needed:
            if not each.get(field):
                text = (
                    "verbs must contain at least one value"
                    if field == "verbs"
                    else f"resource rules must supply at least one {noun}"
                )
                causes.append(required(f"{here}.{field}", text))
        if not each.get("namespaces") and not each.get("clusterScope"):
            detail = "resource rules that are not cluster scoped must supply at least one namespace"
            causes.append(required(f"{here}.namespaces", detail))
    for position, each in enumerate(others):
        here = f"{path}.nonResourceRules[{position}]"
        if not each.get("verbs"):
            causes.append(required(f"{here}.verbs", "verbs must contain at least one value"))
        if not each.get("nonResourceURLs"):
            detail = "nonResourceURLs must contain at least one value"
            causes.append(required(f"{here}.nonResourceURLs", detail))
    return causes


def _subject(subject: Obj, path: str) -> list[Cause]:
    field = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}.get(subject.get("kind", ""))
    if field is None:
        return [not_supported(f"{path}.kind", subject.get("kind", ""), ("Group", "ServiceAccount", "User"))]
    details = subject.get(field)
    if details is None:
        return [required(f"{path}.{field}", f"{field} is required when subject kind is '{subject['kind']}'")]
    causes = [] if details.get("name") else [required(f"{path}.{field}.name")]
    if field == "serviceAccount" and not details.get("namespace"):
        causes.append(required(f"{path}.{field}.namespace", "must specify namespace for service account"))
    return causes


def validate_level(level: Obj) -> list[Cause]:
    """Causes for a PriorityLevelConfiguration."""
    spec = level["spec"]
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if kind == "Exempt":
        causes = [forbidden("spec.limited", "must be nil if the type is not Limited")] if limited is not None else []
        return causes + (_shares(exempt, "spec.exempt") if exempt is not None else [])
    if kind != "Limited":
        return [not_supported("spec.type", kind, ("Exempt", "Limited"))]
    if exempt is not None:
        return [forbidden("spec.exempt", "must be nil if the type is Limited")]
    if limited is None:
        return [required("spec.limited", "must not be empty when type is Limited")]
    causes = _shares(limited, "spec.limited")
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        causes.append(invalid("spec.limited.borrowingLimitPercent", borrowing, detail))
    return causes + _response(limited.get("limitResponse") or {}, "spec.limited.limitResponse")


def _shares(level: Obj, path: str) -> list[Cause]:
    shares, lendable = level.get("nominalConcurrencyShares"), level.get("lendablePercent")
    causes: list[Cause] = []
    if shares is not None and shares < 0:
        causes.append(invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    if lendable is not None and not 0 <= lendable <= 100:
        causes.append(invalid(f"{path}.lendablePercent", lendable, inclusive(0, 100)))
    return causes


def _response(response: Obj, path: str) -> list[Cause]:
    kind, queuing, here = response.get("type", ""), response.get("queuing"), f"{path}.queuing"
    if kind == "Reject":
        detail = "must be nil if limited.limitResponse.type is not Limited"
        return [forbidden(here, detail)] if queuing is not None else []
    if kind == "Queue":
        if queuing is None:
            return [required(here, "must not be empty if limited.limitResponse.type is Limited")]
        return _queuing(queuing, here)
    return optional_one_of(kind, f"{path}.type", ("Queue", "Reject"))


def _queuing(queuing: Obj, path: str) -> list[Cause]:
    queues, hand, length = (queuing.get(name, 0) for name in ("queues", "handSize", "queueLengthLimit"))
    causes: list[Cause] = []
    if length <= 0:
        causes.append(invalid(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        causes.append(invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        causes.append(invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        causes.append(invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        causes.append(invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    return causes


STRATEGIES = {
    (GROUP, "FlowSchema"): Strategy(
        default=default_schema,
        prepare_create=prepare_create,
        validate=validate_schema,
        validate_update=lambda new, _old: validate_schema(new),
        has_generation=True,
    ),
    (GROUP, "PriorityLevelConfiguration"): Strategy(
        default=default_level,
        prepare_create=prepare_create,
        validate=validate_level,
        validate_update=lambda new, _old: validate_level(new),
        has_generation=True,
    ),
}
