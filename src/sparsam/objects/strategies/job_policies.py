"""When a Job counts pods as failed, and when it counts itself as done: podFailurePolicy and successPolicy."""

from __future__ import annotations

import re

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, not_supported, required, too_many
from sparsam.objects.names import qualified_name_errors
from sparsam.objects.strategies.common import non_negative, one_of, text_causes
from sparsam.objects.strategy import Obj

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MAX_RULES = 20
_MAX_EXIT_CODES = 255
_INTERVAL = re.compile(r"[0-9]+(-[0-9]+)?\Z", re.ASCII)


def _without_value(path: str, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {detail}", path)


def validate_failure_policy(spec: Obj, path: str) -> list[Cause]:
    """Causes for spec.podFailurePolicy; `path` is that of the job's spec."""
    rules = spec["podFailurePolicy"].get("rules") or []
    here = f"{path}.podFailurePolicy.rules"
    causes = [too_many(here, len(rules), _MAX_RULES)] if len(rules) > _MAX_RULES else []
    for position, rule in enumerate(rules):
        causes += _rule(rule, spec, f"{here}[{position}]")
    return causes


def _rule(rule: Obj, spec: Obj, path: str) -> list[Cause]:
    action, codes, conditions = rule.get("action", ""), rule.get("onExitCodes"), rule.get("onPodConditions") or []
    causes: list[Cause] = []
    if not action:
        known = ", ".join(f'"{each}"' for each in _ACTIONS)
        causes.append(required(f"{path}.action", f"valid values: {known}"))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        causes.append(invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    elif action not in _ACTIONS:
        causes.append(not_supported(f"{path}.action", action, _ACTIONS))
    if codes is not None:
        causes += _exit_codes(codes, _container_names(spec), f"{path}.onExitCodes")
    if conditions:
        causes += _conditions(conditions, f"{path}.onPodConditions")
    if codes is not None and conditions:
        causes.append(_without_value(path, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        causes.append(_without_value(path, "specifying one of OnExitCodes and OnPodConditions is required"))
    return causes


def _container_names(spec: Obj) -> set[str]:
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]
    return {container.get("name", "") for container in containers}


def _exit_codes(codes: Obj, containers: set[str], path: str) -> list[Cause]:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    causes: list[Cause] = []
    if not operator:
        causes.append(required(f"{path}.operator", 'valid values: "In", "NotIn"'))
    elif operator not in ("In", "NotIn"):
        causes.append(not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        causes.append(invalid(f"{path}.containerName", name, detail))
    if not values:
        causes.append(invalid(f"{path}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > _MAX_EXIT_CODES:
        causes.append(too_many(f"{path}.values", len(values), _MAX_EXIT_CODES))
    for position, value in enumerate(values):
        here = f"{path}.values[{position}]"
        if operator == "In" and value == 0:
            causes.append(invalid(here, value, "must not be 0 for the In operator"))
        if value in values[:position]:
            causes.append(duplicate(here, value))
    if values != sorted(values):
        causes.append(invalid(f"{path}.values", values, "must be ordered"))
    return causes


def _conditions(conditions: list[Obj], path: str) -> list[Cause]:
    causes = [too_many(path, len(conditions), _MAX_RULES)] if len(conditions) > _MAX_RULES else []
    for position, pattern in enumerate(conditions):
        here = f"{path}[{position}]"
        causes += text_causes(pattern.get("type", ""), f"{here}.type", qualified_name_errors)
        causes += one_of(pattern.get("status"), f"{here}.status", ("False", "True", "Unknown"))
    return causes


def validate_success_policy(spec: Obj, path: str) -> list[Cause]:
    """Causes for spec.successPolicy; `path` is that of the job's spec."""
    policy, here = spec["successPolicy"], f"{path}.successPolicy"
    if spec.get("completionMode") != "Indexed":
        return [invalid(here, policy, "requires indexed completion mode")]
    rules = policy.get("rules") or []
    if not rules:
        return [required(f"{here}.rules", "at least one rules must be specified")]
    causes = [too_many(f"{here}.rules", len(rules), _MAX_RULES)] if len(rules) > _MAX_RULES else []
    for position, rule in enumerate(rules):
        causes += _success_rule(rule, spec.get("completions") or 0, f"{here}.rules[{position}]")
    return causes


def _success_rule(rule: Obj, completions: int, path: str) -> list[Cause]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        return [required(path, "at least one of succeededCount or succeededIndexes must be specified")]
    causes: list[Cause] = []
    total = completions
    if indexes is not None:
        try:
            total = _count_indexes(indexes, completions)
        except ValueError as error:
            causes.append(invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        causes += non_negative(count, f"{path}.succeededCount")
        if count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            causes.append(invalid(f"{path}.succeededCount", count, detail))
        elif count > total:
            detail = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            causes.append(invalid(f"{path}.succeededCount", count, detail))
    return causes


def _count_indexes(text: str, completions: int) -> int:
    """How many indexes a text such as `0,2-5` names; raises ValueError when it is malformed."""
    found, last = 0, -1
    for interval in text.split(","):
        if not _INTERVAL.match(interval):
            raise ValueError(f"cannot convert string to integer for index: {interval!r}".replace("'", '"'))
        first, _, end = interval.partition("-")
        low, high = int(first), int(end or first)
        if low <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        if high < low:
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        if high >= completions:
            raise ValueError(f'too large index: "{high}"')
        found, last = found + high - low + 1, high
    return found
