"""LimitRanges and ResourceQuotas."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, key, required
from sparsam.objects.names import qualified_name_errors
from sparsam.objects.strategies import resources
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategy import Obj, Strategy

_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_POD_SCOPES = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_SCOPES = (*_POD_SCOPES, "PriorityClass", "VolumeAttributesClass")
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_COMPUTE = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_NOT_FOR_RESOURCE = "unsupported scope applied to resource"
_EXISTS_ONLY = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def default_limit_range(limit_range: Obj) -> None:
    """A container's default follows from its maximum, and its default request from the default or the minimum."""
    for limit in (limit_range.get("spec") or {}).get("limits") or []:
        if limit.get("type") != "Container":
            continue
        defaults = {**(limit.get("max") or {}), **(limit.get("default") or {})}
        requests = {**(limit.get("min") or {}), **defaults, **(limit.get("defaultRequest") or {})}
        for name in limit.get("min") or {}:
            if name not in defaults and name not in (limit.get("defaultRequest") or {}):
                requests[name] = limit["min"][name]
        if defaults:
            limit["default"] = defaults
        if requests:
            limit["defaultRequest"] = requests


def prepare_limit_range(limit_range: Obj) -> None:
    """A LimitRange without a name gets one that nobody has."""
    meta = limit_range["metadata"]
    if not meta.get("name") and not meta.get("generateName"):
        meta["name"] = meta["uid"]


def validate_limit_range(limit_range: Obj) -> list[Cause]:
    """Causes for a LimitRange."""
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, limit in enumerate((limit_range.get("spec") or {}).get("limits") or []):
        path, kind = f"spec.limits[{position}]", limit.get("type", "")
        errors = qualified_name_errors(kind)
        causes += [invalid(f"{path}.type", kind, error) for error in errors]
        if not errors and "/" not in kind and kind not in _LIMIT_TYPES:
            causes.append(invalid(f"{path}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in taken:
            causes.append(duplicate(f"{path}.type", kind))
        taken.add(kind)
        causes += _limit(limit, kind, path)
    return causes


def _limit(limit: Obj, kind: str, path: str) -> list[Cause]:
    causes = _names(limit, ("max", "min"), kind, path)
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if limit.get(field):
                causes.append(forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
    else:
        causes += _names(limit, ("default", "defaultRequest"), kind, path)
    if kind == "PersistentVolumeClaim" and not any("storage" in (limit.get(field) or {}) for field in ("min", "max")):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        causes.append(required(f"{path}.limits", detail))
    causes += _names(limit, ("maxLimitRequestRatio",), kind, path)
    fields = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
    for name in dict.fromkeys(name for field in fields for name in limit.get(field) or {}):
        causes += _order(limit, name, path)
    return causes


def _names(limit: Obj, fields: tuple[str, ...], kind: str, path: str) -> list[Cause]:
    check = resources.container_resource_name if kind in ("Pod", "Container") else resources.resource_name
    causes: list[Cause] = []
    for field in fields:
        for name in limit.get(field) or {}:
            causes += check(name, key(f"{path}.{field}", name))
    return causes


_PAIRS = (
    # (low, high, field that is blamed, value shown, words)
    ("min", "max", "min", "min", "min value {low} is greater than max value {high}"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest",
     "min value {low} is greater than default request value {high}"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest",
     "default request value {low} is greater than max value {high}"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest",
     "default request value {low} is greater than default limit value {high}"),
    ("min", "default", "default", "min", "min value {low} is greater than default value {high}"),
    ("default", "max", "default", "max", "default value {low} is greater than max value {high}"),
)  # fmt: skip


def _order(limit: Obj, name: str, path: str) -> list[Cause]:
    values = {field: (limit.get(field) or {}).get(name) for field in ("min", "max", "default", "defaultRequest")}
    causes: list[Cause] = []
    for low, high, blamed, shown, words in _PAIRS:
        first, second = values[low], values[high]
        if first is None or second is None or quantity(first) <= quantity(second):
            continue
        detail = words.format(low=first, high=second)
        causes.append(invalid(key(f"{path}.{blamed}", name), str(values[shown]), detail))
    ratio = (limit.get("maxLimitRequestRatio") or {}).get(name)
    if ratio is not None:
        causes += _ratio(ratio, values, key(f"{path}.maxLimitRequestRatio", name))
    default, request = values["default"], values["defaultRequest"]
    if default is None or request is None or resources.is_overcommittable(name):
        return causes
    if quantity(default) != quantity(request):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        causes.append(invalid(key(f"{path}.defaultRequest", name), str(request), detail))
    return causes


def _ratio(ratio: Any, values: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if quantity(ratio) < 1:
        causes.append(invalid(path, str(ratio), f"ratio {ratio} is less than 1"))
    low, high = values["min"], values["max"]
    if low is not None and high is not None and quantity(low) > 0:
        most = quantity(high) / quantity(low)
        if quantity(ratio) > most:
            causes.append(invalid(path, str(ratio), f"ratio {ratio} is greater than max/min = {most:f}"))
    return causes


def update_limit_range(new: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed LimitRange."""
    return validate_limit_range(new)


def prepare_quota(quota: Obj) -> None:
    """A new quota has used nothing yet."""
    quota["status"] = {}


def _amounts(amounts: Obj | None, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name, value in (amounts or {}).items():
        here = key(path, name)
        causes += resources.resource_name(name, here)
        if "/" not in name and not _quota_resource(name):
            causes.append(invalid(here, name, "must be a standard resource for quota"))
        causes += resources.quantity_value(name, value, here)
    return causes


def _quota_resource(name: str) -> bool:
    return name in resources.STANDARD_QUOTA or name.startswith((resources.HUGEPAGES, "requests.hugepages-"))


def validate_quota(quota: Obj) -> list[Cause]:
    """Causes for a ResourceQuota."""
    spec = quota.get("spec") or {}
    causes = _amounts(spec.get("hard"), "spec.hard") + _scopes(spec)
    return causes + _selector(spec) if spec.get("scopeSelector") is not None else causes


def _scope_fits(scope: str, name: str) -> bool:
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    if scope == "BestEffort":
        return name == "pods"
    return name == "pods" or name in _COMPUTE


def _unfit(scope: str, spec: Obj) -> list[str]:
    names = spec.get("hard") or {}
    return [name for name in names if name in resources.STANDARD_QUOTA and not _scope_fits(scope, name)]


def _scopes(spec: Obj) -> list[Cause]:
    scopes, path = spec.get("scopes") or [], "spec.scopes"
    causes: list[Cause] = []
    for scope in scopes:
        if scope not in _SCOPES:
            causes.append(invalid(path, scopes, "unsupported scope"))
        causes += [invalid(path, scopes, _NOT_FOR_RESOURCE) for _ in _unfit(scope, spec)]
    return causes + _conflicts(scopes, scopes, path)


def _conflicts(scopes: list[str], shown: Any, path: str) -> list[Cause]:
    return [invalid(path, shown, "conflicting scopes") for pair in _CONFLICTS if set(pair) <= set(scopes)]


def _selector(spec: Obj) -> list[Cause]:
    path = "spec.scopeSelector.matchExpressions"
    causes: list[Cause] = []
    requirements = spec["scopeSelector"].get("matchExpressions") or []
    for requirement in requirements:
        scope = requirement.get("scopeName", "")
        if scope not in _SCOPES:
            causes.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        causes += [invalid(path, spec["scopeSelector"], _NOT_FOR_RESOURCE) for _ in _unfit(scope, spec)]
        causes += _requirement(requirement, scope, path)
    names = [requirement.get("scopeName", "") for requirement in requirements]
    return causes + _conflicts(names, spec.get("scopes"), path)


def _requirement(requirement: Obj, scope: str, path: str) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    causes: list[Cause] = []
    if scope in _POD_SCOPES and operator != "Exists":
        causes.append(invalid(f"{path}.operator", operator, _EXISTS_ONLY))
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            causes.append(required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            causes.append(invalid(f"{path}.values", values, detail))
    else:
        causes.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return causes


def update_quota(quota: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed quota: its scopes are settled."""
    causes = validate_quota(quota)
    scopes, old_scopes = (quota.get("spec") or {}).get("scopes"), (old.get("spec") or {}).get("scopes")
    if set(scopes or []) != set(old_scopes or []):
        causes.append(invalid("spec.scopes", scopes, "field is immutable"))
    return causes


def quota_status(quota: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status of a quota."""
    status = quota.get("status") or {}
    return _amounts(status.get("hard"), "status.hard") + _amounts(status.get("used"), "status.used")


STRATEGIES = {
    ("", "LimitRange"): Strategy(
        default=default_limit_range,
        prepare_create=prepare_limit_range,
        validate=validate_limit_range,
        validate_update=update_limit_range,
        has_status=False,
    ),
    ("", "ResourceQuota"): Strategy(
        prepare_create=prepare_quota,
        validate=validate_quota,
        validate_update=update_quota,
        validate_status=quota_status,
    ),
}
