"""DaemonSets."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.names import validate_immutable
from sparsam.objects.strategies import int_or_percent, workloads
from sparsam.objects.strategies.common import non_negative, put_default
from sparsam.objects.strategies.pod_spec import default_pod_template, validate_pod_template
from sparsam.objects.strategies.selectors import is_empty, validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


def default_daemon_set(daemons: Obj) -> None:
    """Rolled out node by node."""
    spec = daemons.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("updateStrategy", {})
    put_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        put_default(rolling, "maxUnavailable", 1)
        put_default(rolling, "maxSurge", 0)
    put_default(spec, "revisionHistoryLimit", 10)


def prepare_create(daemons: Obj) -> None:
    """A new set runs nowhere; its template is the first."""
    daemons["status"] = {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }
    _number_template(daemons, max(1, _template_number(daemons)))


def prepare_update(daemons: Obj, old: Obj) -> None:
    """Count the changes of the template."""
    changed = daemons["spec"].get("template") != old["spec"].get("template")
    _number_template(daemons, _template_number(old) + changed)


def _template_number(daemons: Obj) -> int:
    text = (daemons["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _number_template(daemons: Obj, number: int) -> None:
    meta = daemons["metadata"]
    meta["annotations"] = (meta.get("annotations") or {}) | {TEMPLATE_GENERATION: str(number)}


def validate(daemons: Obj) -> list[Cause]:
    """Causes for a DaemonSet."""
    spec = daemons["spec"]
    selector, template = spec.get("selector"), spec.get("template")
    causes = validate_label_selector(selector, "spec.selector")
    if workloads.convertible(selector) and not workloads.selects_template(selector, template):
        labels = workloads.template_labels(template)
        causes.append(invalid(f"{workloads.TEMPLATE}.metadata.labels", labels, workloads.MISMATCH))
    if selector is not None and is_empty(selector):
        causes.append(invalid("spec.selector", selector, "empty selector is invalid for daemonset"))
    causes += validate_pod_template(template, workloads.TEMPLATE)
    causes += workloads.validate_always_running(template, "DaemonSet")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += _update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    return causes + non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def _update_strategy(strategy: Obj, path: str) -> list[Cause]:
    if strategy.get("type") == "OnDelete":
        return []
    if strategy.get("type") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        return [required(f"{path}.rollingUpdate")] if rolling is None else _rolling(rolling, f"{path}.rollingUpdate")
    return [not_supported(path, strategy, ("RollingUpdate", "OnDelete"))]


def _rolling(rolling: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("maxUnavailable", "maxSurge"):
        causes += int_or_percent.validate_positive(rolling[name], f"{path}.{name}")
        causes += int_or_percent.at_most_whole(rolling[name], f"{path}.{name}")
    unavailable, surge = int_or_percent.amount(rolling["maxUnavailable"]), int_or_percent.amount(rolling["maxSurge"])
    if unavailable and surge:
        detail = "may not be set when maxUnavailable is non-zero"
        causes.append(invalid(f"{path}.maxSurge", rolling["maxSurge"], detail))
    if not unavailable and not surge:
        causes.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return causes


def validate_update(daemons: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed DaemonSet: its selector stays."""
    same = validate_immutable(daemons["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")
    return same + validate(daemons)


def validate_status(daemons: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed status."""
    status = daemons.get("status") or {}
    causes = [cause for name in _COUNTS for cause in non_negative(status.get(name), f"status.{name}")]
    return causes + workloads.validate_collisions(status, old.get("status") or {})


STRATEGIES = {
    ("apps", "DaemonSet"): Strategy(
        default=default_daemon_set,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=workloads.warnings,
        has_generation=True,
    ),
}
