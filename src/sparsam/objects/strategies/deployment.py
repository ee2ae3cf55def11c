"""Deployments and ReplicaSets."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.names import validate_immutable
from sparsam.objects.strategies import int_or_percent, workloads
from sparsam.objects.strategies.common import non_negative, put_default
from sparsam.objects.strategies.pod_spec import default_pod_template
from sparsam.objects.strategy import Obj, Strategy

_SHARE = "25%"
_TYPES = ("Recreate", "RollingUpdate")
_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)
_SET_COUNTS = (
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
)


def default_deployment(deployment: Obj) -> None:
    """One replica, rolled out a quarter at a time."""
    spec = deployment.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec.setdefault("strategy", {})
    put_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        put_default(rolling, "maxUnavailable", _SHARE)
        put_default(rolling, "maxSurge", _SHARE)
    put_default(spec, "revisionHistoryLimit", 10)
    put_default(spec, "progressDeadlineSeconds", 600)


def prepare_create(deployment: Obj) -> None:
    """A new deployment has no status yet."""
    deployment["status"] = {}


def prepare_update(deployment: Obj, old: Obj) -> None:
    """New annotations count as a new generation, as rollouts are recorded in them."""
    meta, old_meta = deployment["metadata"], old["metadata"]
    if (meta.get("annotations") or {}) != (old_meta.get("annotations") or {}):
        meta["generation"] = old_meta.get("generation", 0) + 1


def prepare_status(deployment: Obj, old: Obj) -> None:
    """Labels belong to the spec's side of a deployment: its status cannot change them."""
    labels = old["metadata"].get("labels")
    if labels is None:
        deployment["metadata"].pop("labels", None)
    else:
        deployment["metadata"]["labels"] = labels


def validate(deployment: Obj) -> list[Cause]:
    """Causes for a Deployment."""
    spec = deployment["spec"]
    causes = non_negative(spec.get("replicas"), "spec.replicas")
    causes += workloads.validate_selector(spec, "deployment")
    causes += _template(spec, "ReplicaSet", spec.get("selector"))
    causes += _strategy(spec.get("strategy") or {}, "spec.strategy")
    for name in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        causes += non_negative(spec.get(name), f"spec.{name}")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        causes.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return causes


def _template(spec: Obj, owner: str, selector: Obj | None) -> list[Cause]:
    if not workloads.convertible(selector):
        return [invalid("spec.selector", selector, "invalid label selector")]
    return workloads.validate_matched_template(spec, owner)


def _strategy(strategy: Obj, path: str) -> list[Cause]:
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        if rolling is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden(f"{path}.rollingUpdate", detail)]
        return []
    if strategy.get("type") == "RollingUpdate":
        if rolling is None:
            return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
        return _rolling_update(rolling, f"{path}.rollingUpdate")
    # Upstream prints its internal struct here.
    shown = None
    if rolling is not None:
        shown = {"MaxUnavailable": rolling.get("maxUnavailable", 0), "MaxSurge": rolling.get("maxSurge", 0)}
    return [not_supported(path, {"Type": strategy.get("type", ""), "RollingUpdate": shown}, _TYPES)]


def _rolling_update(rolling: Obj, path: str) -> list[Cause]:
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    causes = int_or_percent.validate_positive(unavailable, f"{path}.maxUnavailable")
    causes += int_or_percent.validate_positive(surge, f"{path}.maxSurge")
    if int_or_percent.amount(unavailable) == 0 and int_or_percent.amount(surge) == 0:
        causes.append(invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return causes + int_or_percent.at_most_whole(unavailable, f"{path}.maxUnavailable")


def validate_update(deployment: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed Deployment: its selector stays."""
    return validate(deployment) + _same_selector(deployment, old)


def _same_selector(new: Obj, old: Obj) -> list[Cause]:
    return validate_immutable(new["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")


def validate_status(deployment: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed status of a Deployment."""
    status = deployment.get("status") or {}
    causes = workloads.validate_counts(status, _COUNTS, parts=("updatedReplicas", "readyReplicas", "availableReplicas"))
    return causes + workloads.validate_collisions(status, old.get("status") or {})


def default_set(replica_set: Obj) -> None:
    """One replica."""
    spec = replica_set.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    if spec.get("replicas") is None:
        spec["replicas"] = 1


def prepare_set(replica_set: Obj) -> None:
    """A new set has no pods."""
    replica_set["status"] = {"replicas": 0}


def validate_set(replica_set: Obj) -> list[Cause]:
    """Causes for a ReplicaSet."""
    spec = replica_set["spec"]
    causes = non_negative(spec.get("replicas"), "spec.replicas")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    # The wording is that of deployments here, too.
    causes += workloads.validate_selector(spec, "deployment")
    return causes + _template(spec, "ReplicaSet", spec.get("selector"))


def validate_set_update(replica_set: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ReplicaSet: its selector stays."""
    return validate_set(replica_set) + _same_selector(replica_set, old)


def validate_set_status(replica_set: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status of a ReplicaSet."""
    parts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    return workloads.validate_counts(replica_set.get("status") or {}, _SET_COUNTS, parts=parts)


STRATEGIES = {
    ("apps", "Deployment"): Strategy(
        default=default_deployment,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        prepare_status=prepare_status,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=workloads.warnings,
        has_generation=True,
    ),
    ("apps", "ReplicaSet"): Strategy(
        default=default_set,
        prepare_create=prepare_set,
        validate=validate_set,
        validate_update=validate_set_update,
        validate_status=validate_set_status,
        warnings=workloads.warnings,
        has_generation=True,
    ),
}
