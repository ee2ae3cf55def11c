"""The status of a Deployment: counts and conditions with upstream's reasons and texts. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.controllers.rollout import bounds

Obj = dict[str, Any]

NO_DEADLINE = 2**31 - 1

Words = tuple[str, str, str]
"""Status, reason and message of a condition."""


def set_condition(conditions: list[Obj], kind: str, words: Words, now: str) -> list[Obj]:
    """Replace a condition; its transition time moves only with its status, its update time with any change."""
    status, reason, message = words
    old = next((each for each in conditions if each["type"] == kind), None)
    if old is not None and (old["status"], old.get("reason"), old.get("message")) == (status, reason, message):
        return conditions
    moved = old["lastTransitionTime"] if old is not None and old["status"] == status else now
    entry = {
        "type": kind,
        "status": status,
        "lastUpdateTime": now,
        "lastTransitionTime": moved,
        "reason": reason,
        "message": message,
    }
    return [each for each in conditions if each["type"] != kind] + [entry]


def json_name(name: str) -> str:
    """A name in double quotes, as upstream's messages carry it."""
    return f'"{name}"'


def deployment_counts(deployment: Obj, sets: list[Obj], new: Obj | None) -> Obj:
    """The numbers of a Deployment's status."""

    def total(name: str) -> int:
        return sum(each.get("status", {}).get(name, 0) for each in sets)

    available = total("availableReplicas")
    wanted = sum(each["spec"]["replicas"] for each in sets)
    return {
        "replicas": total("replicas"),
        "updatedReplicas": new.get("status", {}).get("replicas", 0) if new else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(wanted - available, 0),
        "terminatingReplicas": total("terminatingReplicas"),
    }


def is_complete(deployment: Obj, counts: Obj) -> bool:
    """Everything runs the new template and is available."""
    desired = deployment["spec"]["replicas"]
    return bool(
        counts["updatedReplicas"] == desired
        and counts["replicas"] == desired
        and counts["availableReplicas"] == desired
    )


def deployment_status(deployment: Obj, sets: list[Obj], new: Obj | None, now: datetime) -> Obj:
    """The whole status, conditions included."""
    old = deployment.get("status", {})
    counts = deployment_counts(deployment, sets, new)
    status: Obj = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {name: count for name, count in counts.items() if count}
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    conditions = _availability(deployment, counts, list(old.get("conditions") or []), format_time(now))
    if deployment["spec"].get("paused"):
        conditions = _paused(conditions, format_time(now))
    elif deployment["spec"].get("progressDeadlineSeconds", 600) < NO_DEADLINE:
        conditions = _progressing(deployment, counts, new, conditions, now)
    conditions = _failure(sets, new, conditions, format_time(now))
    if conditions:
        status["conditions"] = conditions
    return status


def _availability(deployment: Obj, counts: Obj, conditions: list[Obj], now: str) -> list[Obj]:
    _, max_unavailable = bounds(deployment["spec"])
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        max_unavailable = 0
    if counts["availableReplicas"] >= deployment["spec"]["replicas"] - max_unavailable:
        words = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return set_condition(conditions, "Available", words, now)


def _paused(conditions: list[Obj], now: str) -> list[Obj]:
    known = next((each for each in conditions if each["type"] == "Progressing"), {})
    if known.get("reason") == "ProgressDeadlineExceeded":
        return conditions
    return set_condition(conditions, "Progressing", ("Unknown", "DeploymentPaused", "Deployment is paused"), now)


def _progressing(deployment: Obj, counts: Obj, new: Obj | None, conditions: list[Obj], now: datetime) -> list[Obj]:
    known = next((each for each in conditions if each["type"] == "Progressing"), {})
    old, stamp = deployment.get("status", {}), format_time(now)
    if known.get("reason") == "DeploymentPaused":
        return set_condition(
            conditions, "Progressing", ("Unknown", "DeploymentResumed", "Deployment is resumed"), stamp
        )
    name = json_name(new["metadata"]["name"]) if new else json_name(deployment["metadata"]["name"])
    if known.get("reason") == "NewReplicaSetAvailable" and counts["replicas"] == counts["updatedReplicas"]:
        return conditions
    if is_complete(deployment, counts):
        message = f"ReplicaSet {name} has successfully progressed."
        return set_condition(conditions, "Progressing", ("True", "NewReplicaSetAvailable", message), stamp)
    if _moved(old, counts) or not known:
        message = f"ReplicaSet {name} is progressing."
        moved = set_condition(conditions, "Progressing", ("True", "ReplicaSetUpdated", message), stamp)
        return [{**each, "lastUpdateTime": stamp} if each["type"] == "Progressing" else each for each in moved]
    left_seconds = deadline_left(deployment, {"conditions": conditions}, now)
    if left_seconds is not None and left_seconds <= 0:
        message = f"ReplicaSet {name} has timed out progressing."
        return set_condition(conditions, "Progressing", ("False", "ProgressDeadlineExceeded", message), stamp)
    return conditions


def _moved(old: Obj, counts: Obj) -> bool:
    gone_before = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    return bool(
        counts["updatedReplicas"] > old.get("updatedReplicas", 0)
        or counts["replicas"] - counts["updatedReplicas"] < gone_before
        or counts["readyReplicas"] > old.get("readyReplicas", 0)
        or counts["availableReplicas"] > old.get("availableReplicas", 0)
    )


def deadline_left(deployment: Obj, status: Obj, now: datetime) -> float | None:
    """Seconds until the rollout counts as stuck; None when no deadline runs."""
    limit = deployment["spec"].get("progressDeadlineSeconds", 600)
    known = next((each for each in status.get("conditions") or () if each["type"] == "Progressing"), None)
    if limit >= NO_DEADLINE or known is None or known["status"] != "True" or deployment["spec"].get("paused"):
        return None
    if known["reason"] == "NewReplicaSetAvailable":
        return None
    return float(limit - (now - parse_time(known["lastUpdateTime"])).total_seconds())


def _failure(sets: list[Obj], new: Obj | None, conditions: list[Obj], now: str) -> list[Obj]:
    candidates = ([new] if new else []) + sets
    for each in candidates:
        for condition in each.get("status", {}).get("conditions") or ():
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                words = ("True", condition.get("reason", ""), condition.get("message", ""))
                return set_condition(conditions, "ReplicaFailure", words, now)
    return [each for each in conditions if each["type"] != "ReplicaFailure"]
