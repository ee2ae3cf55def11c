"""What an operator may tune in a store; every bound on its memory and disk is here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Bounds of a store."""

    history_events: int = 8192
    """Events kept in memory, from which watches resume and recent revisions are read; some 10 s of a busy cluster."""
    history_bytes: int = 16 * 2**20
    """The same bound in bytes of values, for large objects."""
    watch_queue_events: int = 4096
    """Events that may wait for one watcher before it is cut off; more than one rollout's burst."""
    watch_queue_bytes: int = 16 * 2**20
    """The same bound in bytes of values."""
    backlog_events: int = 65_536
    """Events that a resuming watch may have missed before it is told to list again, which is cheaper by then."""
    progress_seconds: float = 30.0
    """How often an idle watcher hears how far the store has come; upstream sends bookmarks about once a minute."""
    batch_writes: int = 256
    """Writes in one transaction; more raises latency without raising throughput."""
    keep_seconds: float = 300.0
    """Age up to which old revisions stay readable; upstream compacts etcd every five minutes."""
    keep_revisions: int = 100_000
    """Old revisions kept at most, however young: a bound on the disk under heavy writing."""
    compaction_interval_seconds: float = 30.0
    """How often old revisions are forgotten; small steps keep each one short."""
    max_database_bytes: int = 8 * 2**30
    """Size at which writes are refused, as etcd's quota is."""


DEFAULTS = StoreConfig()
"""A store for one busy machine."""
