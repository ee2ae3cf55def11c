"""Which old value belongs to which new one, and whether it is the same: what ratcheting and transition rules ask."""

from __future__ import annotations

from typing import Any

from sparsam.objects.shapes import ABSENT
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.nodes import LIST_KEYS, LIST_TYPE


def equal(old: Any, new: Any) -> bool:
    """Whether two JSON values are the same; unlike in Python, true is not 1."""
    if old.__class__ is not new.__class__:
        return False
    if old.__class__ is dict:
        return old.keys() == new.keys() and all(equal(item, new[name]) for name, item in old.items())
    if old.__class__ is list:
        return len(old) == len(new) and all(map(equal, old, new))
    return bool(old == new)


def old_items(schema: Obj, value: list[Any], old: Any) -> list[Any]:
    """For each item of a list its old value, or ABSENT: only items of keyed lists have a history."""
    if old.__class__ is not list or schema.get(LIST_TYPE) != "map":
        return [ABSENT] * len(value)
    keys = schema.get(LIST_KEYS) or []
    known = {_key(item, keys): item for item in reversed(old)}
    return [known.get(_key(item, keys), ABSENT) for item in value]


def _key(item: Any, keys: list[str]) -> tuple[tuple[type, str], ...]:
    if item.__class__ is not dict:
        return ()
    return tuple((item.get(key).__class__, repr(item.get(key))) for key in keys)
