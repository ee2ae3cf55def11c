"""Keeps one copy of equal parts of many JSON objects: ten thousand pods of one template hold most of it once.

Parts are shared by value, bottom up (hash consing): a list or mapping whose own parts are shared already is known by
their identities. Shared objects must not be changed, which holds for everything in an informer.
"""

from __future__ import annotations

from typing import Any

LONGEST_SHARED_TEXT = 128
FIRST_LIMIT = 50_000


class Pool:
    """Equal values in, the same object out; emptied when it grows past its limit, so that it holds a bounded amount."""

    def __init__(self, limit: int = FIRST_LIMIT) -> None:
        self._limit = limit
        # Keys hold identities of values that the pool itself keeps alive, so an identity cannot be used again.
        self._known: dict[Any, Any] = {}

    def share(self, obj: dict[str, Any]) -> dict[str, Any]:
        """A copy of an object whose parts are shared; the object itself is taken as unique."""
        self._stay_bounded()
        return {key: self._share(value) for key, value in obj.items()}

    def succeed(self, obj: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """A newer version of a shared object: what has not changed stays the same part, what has is shared anew.

        Most updates change little, and comparing is far cheaper than sharing. A field that changes between 1 and true
        counts as unchanged; no field of any Kubernetes type can.
        """
        self._stay_bounded()
        return {key: self._succeed(value, old.get(key)) for key, value in obj.items()}

    def _stay_bounded(self) -> None:
        if len(self._known) > self._limit:
            self._known = {}

    def _succeed(self, value: Any, old: Any) -> Any:
        if value == old and type(value) is type(old):
            return old
        if type(value) is dict and type(old) is dict:
            return {key: self._succeed(part, old.get(key)) for key, part in value.items()}
        # A text that changes, such as a time, is hardly ever another object's too.
        return value if type(value) is str else self._share(value)

    def _share(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._known.setdefault(value, value) if len(value) <= LONGEST_SHARED_TEXT else value
        if kind is dict:
            shared = {key: self._share(part) for key, part in value.items()}
            return self._known.setdefault((dict, *_identities(shared)), shared)
        if kind is list:
            parts = [self._share(part) for part in value]
            return self._known.setdefault((list, *map(_identity, parts)), parts)
        return value


def _identities(shared: dict[str, Any]) -> list[Any]:
    flat: list[Any] = []
    for key, part in shared.items():
        flat += (key, _identity(part))
    return flat


def _identity(part: Any) -> Any:
    """Something that only equal shared parts have in common: numbers stand for themselves, with their type."""
    if type(part) in (dict, list, str):
        return id(part)
    return type(part), part
