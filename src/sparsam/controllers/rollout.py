"""How a Deployment moves from its old ReplicaSets to the new one: sizes only, no I/O. Pure.

Source: upstream's deployment controller (rolling update, Recreate, proportional scaling).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetSize:
    """A ReplicaSet as a rollout sees it; `created` orders the old ones."""

    name: str
    wanted: int
    available: int
    created: str = ""
    max_replicas: int = 0
    """`desired + surge` of the deployment when this set was last scaled; 0 when unknown."""

    @property
    def unavailable(self) -> int:
        """Replicas that are wanted but not available."""
        return max(self.wanted - self.available, 0)


def resolve(value: int | str | None, total: int, *, up: bool) -> int:
    """An int or percentage of `total`; percentages are rounded up for surge, down for unavailability."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return ceil(share) if up else floor(share)


def bounds(spec: Obj) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as pods; both zero would block for ever, so one may then be unavailable."""
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, spec["replicas"]
    rolling = strategy.get("rollingUpdate") or {}
    surge = resolve(rolling.get("maxSurge", "25%"), spec["replicas"], up=True)
    unavailable = resolve(rolling.get("maxUnavailable", "25%"), spec["replicas"], up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, spec["replicas"])


def new_set_size(spec: Obj, new: SetSize, old: Iterable[SetSize]) -> int:
    """How many replicas the new set may have now."""
    desired: int = spec["replicas"]
    others = sum(each.wanted for each in old)
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return desired if others == 0 else new.wanted
    surge, _ = bounds(spec)
    if new.wanted >= desired:
        return desired
    room = desired + surge - (new.wanted + others)
    return min(new.wanted + max(room, 0), desired)


def old_set_sizes(spec: Obj, new: SetSize, old: Sequence[SetSize]) -> dict[str, int]:
    """Sizes of old sets that should shrink now: broken replicas first, then as availability allows, oldest first."""
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return {each.name: 0 for each in old if each.wanted}
    _, max_unavailable = bounds(spec)
    least = spec["replicas"] - max_unavailable
    everything = new.wanted + sum(each.wanted for each in old)
    removable = everything - least - new.unavailable
    if removable <= 0:
        return {}
    sizes = {each.name: each.wanted for each in old}
    order = sorted(old, key=lambda each: (each.created, each.name))
    for each in order:
        broken = min(each.unavailable, removable)
        sizes[each.name] -= broken
        removable -= broken
    available = new.available + sum(each.available for each in old)
    spare = available - least
    for each in order:
        cut = min(sizes[each.name], max(spare, 0))
        sizes[each.name] -= cut
        spare -= cut
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.wanted}


def proportional_sizes(spec: Obj, sets: Sequence[SetSize]) -> dict[str, int]:
    """New sizes when a Deployment is resized in the middle of a rollout: each set gets its share of the change.

    Largest sets first; what rounding leaves over goes to the largest. Sets are given newest first.
    """
    surge, _ = bounds(spec)
    rolling = (spec.get("strategy") or {}).get("type") != "Recreate"
    allowed = spec["replicas"] + (surge if rolling and spec["replicas"] > 0 else 0)
    active = [each for each in sets if each.wanted > 0]
    total = sum(each.wanted for each in active)
    change = allowed - total
    if not active or change == 0:
        return {}
    grow = change > 0
    order = sorted(active, key=lambda each: (-each.wanted, each.created if not grow else _newest_first(each.created)))
    sizes: dict[str, int] = {}
    given = 0
    for each in order:
        base = each.max_replicas or total
        share = round(each.wanted * allowed / base) - each.wanted
        left = change - given
        share = max(0, min(share, left)) if grow else min(0, max(share, left))
        sizes[each.name] = each.wanted + share
        given += share
    largest = order[0].name
    sizes[largest] = max(sizes[largest] + change - given, 0)
    return {each.name: sizes[each.name] for each in active if sizes[each.name] != each.wanted}


def _newest_first(created: str) -> str:
    """A key that sorts RFC 3339 times backwards."""
    return "".join(chr(255 - ord(letter)) for letter in created)
