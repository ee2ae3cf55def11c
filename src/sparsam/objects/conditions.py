"""Lists of conditions in objects' status. Pure. Source: upstream's meta.SetStatusCondition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Obj = dict[str, Any]


def set_status_condition(conditions: Iterable[Obj], condition: Obj, now: str) -> list[Obj]:
    """These metav1.Conditions with one of them set; its time moves only when its status does."""
    found, result = False, []
    for each in conditions:
        if each["type"] != condition["type"]:
            result.append(each)
            continue
        found = True
        moment = each.get("lastTransitionTime", now) if each["status"] == condition["status"] else now
        result.append({**condition, "lastTransitionTime": moment})
    return result if found else [*result, {**condition, "lastTransitionTime": now}]
