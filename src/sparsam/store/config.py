"""What a store is told at start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Bounds of a store's memory and disk."""

    history_events: int = 20_000
    """Events kept: how far back a watch may begin and an older revision may be read."""
    watch_backlog_events: int = 10_000
    """Events that may wait for one watcher before it is cut off."""
    batch_writes: int = 256
    """Writes committed together at most: more would only lengthen the wait of each."""
