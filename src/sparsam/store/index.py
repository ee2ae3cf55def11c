"""The live keys in memory: values by key, and keys in order for each resource.

Keys are sorted within their resource part (`/apps/deployments/`) rather than all together, so that a write
shifts only the keys of its own resource.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from sparsam.store.interface import Entry, Event, EventType

AFTER_ALL = "\U0010ffff"
"""Sorts behind every key that continues a prefix."""

Overlay = Mapping[str, Entry | None]
"""Keys that differ from the live ones: another entry, or None where there is none."""


class LiveIndex:
    """Every live entry."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.key: entry for entry in entries}
        self._keys: dict[str, list[str]] = {}
        for key in sorted(self._entries):
            self._keys.setdefault(resource_part(key), []).append(key)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """The live entry, if any."""
        return self._entries.get(key)

    def apply(self, event: Event) -> None:
        """Make an event's outcome the live state."""
        key = event.entry.key
        if event.type is EventType.DELETED:
            del self._entries[key]
            self._forget(key)
            return
        self._entries[key] = event.entry
        if event.type is EventType.ADDED:
            insort(self._keys.setdefault(resource_part(key), []), key)

    def slice(
        self, prefix: str, *, start_key: str | None, limit: int, overlay: Overlay
    ) -> tuple[list[Entry], str | None, int]:
        """Entries of a prefix in key order under an overlay, the key to continue at, and how many remain."""
        keys, start, end = self._range(prefix, start_key)
        entries: Mapping[str, Entry] = self._entries
        if overlay:
            keys, entries = self._overlaid(keys[start:end], overlay, first=max(prefix, start_key or ""))
            start, end = 0, len(keys)
        stop = min(start + limit, end) if limit else end
        chosen = [entries[key] for key in keys[start:stop]]
        return chosen, keys[stop] if stop < end else None, end - stop

    def _overlaid(self, keys: list[str], overlay: Overlay, *, first: str) -> tuple[list[str], dict[str, Entry]]:
        entries = {key: self._entries[key] for key in keys}
        for key, entry in overlay.items():
            if key < first:
                continue
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        return sorted(entries), entries

    def _range(self, prefix: str, start_key: str | None) -> tuple[list[str], int, int]:
        resource = resource_part(prefix)
        # A prefix shorter than a resource spans several lists; nobody asks for that often.
        keys = self._keys.get(resource, []) if resource else sorted(self._entries)
        start = bisect_left(keys, max(prefix, start_key or ""))
        return keys, start, max(start, bisect_left(keys, prefix + AFTER_ALL))

    def _forget(self, key: str) -> None:
        resource = resource_part(key)
        keys = self._keys[resource]
        del keys[bisect_left(keys, key)]
        if not keys:
            del self._keys[resource]


def resource_part(key: str) -> str:
    """`/group/plural/` of a key or prefix, empty when it is shorter than that."""
    second = key.find("/", 1)
    return key[: key.find("/", second + 1) + 1] if second > 0 else ""
