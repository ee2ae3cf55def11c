"""How fast and how far a proposal may move a target: stabilization windows, policies, limits. Pure.

Source: upstream's podautoscaler; KEP-853 (behavior).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, trunc
from typing import Any

Obj = dict[str, Any]

DOWN_SECONDS = 300
"""How long the highest recommendation holds when the behavior does not say."""
UP_FACTOR, UP_MINIMUM = 2.0, 4.0
HELD_UP = "recent recommendations were lower than current one, applying the lowest recent recommendation"
HELD_DOWN = "recent recommendations were higher than current one, applying the highest recent recommendation"
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
UP_RATE = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_RATE = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")

Reason = tuple[str, str]
"""Reason and message of a condition."""
Moment = tuple[datetime, int]


@dataclass(slots=True)
class History:
    """What was recommended for an autoscaler and done about it, as far as windows reach back."""

    recommendations: list[Moment] = field(default_factory=list)
    ups: list[Moment] = field(default_factory=list)
    downs: list[Moment] = field(default_factory=list)
    """Replicas added, and taken away, each as a positive number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the autoscaler allows."""

    minimum: int
    maximum: int
    behavior: Obj | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of replicas, and what the conditions AbleToScale and ScalingLimited say about it."""

    replicas: int
    able: Reason
    limited: bool
    limit: Reason


def decide(history: History, limits: Limits, current: int, desired: int, now: datetime) -> Decision:
    """From what metrics ask for to what is done now; the recommendation enters the history."""
    if limits.behavior is None:
        stable, held = _stable_downwards(history, desired, now), ("ScaleDownStabilized", HELD_DOWN)
        replicas, limit = _within_default(limits, current, stable)
    else:
        stable, held = _stable(history, limits.behavior, current, desired, now)
        replicas, limit = _within_policies(history, limits, current, stable, now)
    calm = ("ReadyForNewScale", "recommended size matches current size")
    return Decision(replicas, held if stable != desired else calm, replicas != stable, limit)


def record(history: History, behavior: Obj | None, before: int, after: int, now: datetime) -> None:
    """Remember a change for the policies; without policies nobody asks."""
    if behavior is None:
        return
    longest = max((p["periodSeconds"] for rules in _rules(behavior) for p in rules.get("policies") or ()), default=0)
    oldest = now - timedelta(seconds=longest)
    for events in (history.ups, history.downs):
        events[:] = [each for each in events if each[0] >= oldest]
    if after > before:
        history.ups.append((now, after - before))
    else:
        history.downs.append((now, before - after))


def _rules(behavior: Obj) -> tuple[Obj, Obj]:
    return behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}


def _stable_downwards(history: History, desired: int, now: datetime) -> int:
    """The highest recommendation of the window."""
    cutoff = now - timedelta(seconds=DOWN_SECONDS)
    history.recommendations = [each for each in history.recommendations if each[0] >= cutoff]
    stable = max([desired, *(replicas for _, replicas in history.recommendations)])
    history.recommendations.append((now, desired))
    return stable


def _stable(history: History, behavior: Obj, current: int, desired: int, now: datetime) -> tuple[int, Reason]:
    """As near to the current number as the recommendations of both windows allow."""
    up, down = _rules(behavior)
    up_cutoff = now - timedelta(seconds=up.get("stabilizationWindowSeconds") or 0)
    down_seconds = down.get("stabilizationWindowSeconds")
    down_cutoff = now - timedelta(seconds=DOWN_SECONDS if down_seconds is None else down_seconds)
    known = history.recommendations
    lowest = min([desired, *(replicas for moment, replicas in known if moment > up_cutoff)])
    highest = max([desired, *(replicas for moment, replicas in known if moment > down_cutoff)])
    oldest = min(up_cutoff, down_cutoff)
    history.recommendations = [*(each for each in known if each[0] >= oldest), (now, desired)]
    held = ("ScaleUpStabilized", HELD_UP) if desired >= current else ("ScaleDownStabilized", HELD_DOWN)
    return min(max(current, lowest), highest), held


def _within_default(limits: Limits, current: int, desired: int) -> tuple[int, Reason]:
    """At most double at once, or four, against measurements that are far off."""
    rate = int(max(UP_FACTOR * current, UP_MINIMUM))
    most, reason = (rate, UP_RATE) if limits.maximum > rate else (limits.maximum, TOO_MANY)
    if desired < limits.minimum:
        return limits.minimum, TOO_FEW
    return (most, reason) if desired > most else (desired, WITHIN)


def _within_policies(history: History, limits: Limits, current: int, desired: int, now: datetime) -> tuple[int, Reason]:
    up, down = _rules(limits.behavior or {})
    if desired > current:
        rate = max(up_limit(history, up, current, now), current)
        most, reason = (rate, UP_RATE) if limits.maximum > rate else (limits.maximum, TOO_MANY)
        if desired > most:
            return most, reason
    elif desired < current:
        rate = min(down_limit(history, down, current, now), current)
        least, reason = (rate, DOWN_RATE) if limits.minimum < rate else (limits.minimum, TOO_FEW)
        if desired < least:
            return least, reason
    return desired, WITHIN


def up_limit(history: History, rules: Obj, current: int, now: datetime) -> int:
    """The most replicas that the policies allow now."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    choose = min if rules.get("selectPolicy") == "Min" else max
    limits = [
        start + policy["value"] if policy["type"] == "Pods" else ceil(start * (1 + policy["value"] / 100))
        for policy, start in _starts(history, rules, current, now)
    ]
    return choose(limits, default=current)


def down_limit(history: History, rules: Obj, current: int, now: datetime) -> int:
    """The fewest replicas that the policies allow now."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    choose = max if rules.get("selectPolicy") == "Min" else min
    limits = [
        start - policy["value"] if policy["type"] == "Pods" else trunc(start * (1 - policy["value"] / 100))
        for policy, start in _starts(history, rules, current, now)
    ]
    return choose(limits, default=current)


def _starts(history: History, rules: Obj, current: int, now: datetime) -> Iterable[tuple[Obj, int]]:
    """Each policy with the replicas that there were when its period began."""
    for policy in rules.get("policies") or ():
        cutoff = now - timedelta(seconds=policy["periodSeconds"])
        yield policy, current - _changed(history.ups, cutoff) + _changed(history.downs, cutoff)


def _changed(events: Iterable[Moment], cutoff: datetime) -> int:
    return sum(change for moment, change in events if moment > cutoff)
