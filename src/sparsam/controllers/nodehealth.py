"""Decisions about nodes that fall silent: conditions, taints, and how long their pods may stay. Pure.

Source: upstream's node life-cycle and taint-eviction controllers (KEP-166, KEP-589).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sparsam.clock import format_time, parse_time
from sparsam.scheduling.demand import Taint, Toleration

Obj = dict[str, Any]

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
SILENT_REASON = "NodeStatusUnknown"
SILENT_MESSAGE = "Kubelet stopped posting node status."
NEVER_REASON = "NodeStatusNeverUpdated"
NEVER_MESSAGE = "Kubelet never posted node status."

_CONDITION_TAINTS = {
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
}
OWN_TAINTS = frozenset({*_CONDITION_TAINTS.values(), UNSCHEDULABLE})
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def ready_status(node: Obj) -> str:
    """True, False or Unknown; Unknown also when the node never said."""
    return next(
        (c["status"] for c in node.get("status", {}).get("conditions") or () if c["type"] == "Ready"), "Unknown"
    )


def silent_conditions(node: Obj, now: datetime) -> list[Obj] | None:
    """The conditions of a node that fell silent, or None when they already say so."""
    known = {condition["type"]: condition for condition in node.get("status", {}).get("conditions") or ()}
    changed = False
    for kind in _REPORTED:
        old = known.get(kind)
        if old is not None and old["status"] == "Unknown":
            continue
        changed = True
        moment = format_time(now)
        heard = (
            old["lastHeartbeatTime"] if old and old.get("lastHeartbeatTime") else node["metadata"]["creationTimestamp"]
        )
        reason, message = (SILENT_REASON, SILENT_MESSAGE) if old else (NEVER_REASON, NEVER_MESSAGE)
        known[kind] = {
            "type": kind,
            "status": "Unknown",
            "lastHeartbeatTime": heard,
            "lastTransitionTime": moment,
            "reason": reason,
            "message": message,
        }
    return list(known.values()) if changed else None


def wanted_taints(node: Obj, now: datetime) -> list[Obj]:
    """The node's taints as they should be: others' kept, ours by its conditions and `unschedulable`."""
    current = node["spec"].get("taints") or []
    kept = [taint for taint in current if taint["key"] not in OWN_TAINTS]
    conditions = {(c["type"], c["status"]) for c in node.get("status", {}).get("conditions") or ()}
    if ready_status(node) == "Unknown" and ("Ready", "Unknown") not in conditions:
        conditions.add(("Ready", "False"))  # never said anything: not ready, but not lost either
    keys = [(key, NO_SCHEDULE) for condition, key in _CONDITION_TAINTS.items() if condition in conditions]
    keys += [(key, NO_EXECUTE) for key, _ in keys if key in (NOT_READY, UNREACHABLE)]
    if node["spec"].get("unschedulable"):
        keys.append((UNSCHEDULABLE, NO_SCHEDULE))
    before = {(taint["key"], taint["effect"]): taint for taint in current}
    return kept + [before.get(each) or _taint(each, now) for each in keys]


def _taint(key_and_effect: tuple[str, str], now: datetime) -> Obj:
    key, effect = key_and_effect
    return {"key": key, "effect": effect, "timeAdded": format_time(now)}


def eviction_time(pod: Obj, taints: Iterable[Obj], now: datetime) -> datetime | None:
    """When a pod has to leave a node with these taints: now, later (tolerationSeconds), or never (None)."""
    hard = [taint for taint in taints if taint["effect"] == NO_EXECUTE]
    if not hard:
        return None
    tolerations = [_toleration(each) for each in pod["spec"].get("tolerations") or ()]
    limits = []
    for taint in hard:
        covering = [seconds for toleration, seconds in tolerations if toleration.tolerates(_known(taint))]
        if not covering:
            return now
        bounded = [seconds for seconds in covering if seconds is not None]
        if bounded:
            since = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now
            limits.append(since + timedelta(seconds=max(min(bounded), 0)))
    return min(limits, default=None)


def _toleration(each: Obj) -> tuple[Toleration, int | None]:
    parts = Toleration(each.get("key", ""), each.get("operator", ""), each.get("value", ""), each.get("effect", ""))
    return parts, each.get("tolerationSeconds")


def _known(taint: Obj) -> Taint:
    return Taint(taint["key"], taint.get("value", ""), taint["effect"])
