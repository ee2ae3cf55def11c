"""The SQL of the store: one append-only table of revisions.

A row is one event. `previous` is the revision that it supersedes (0 when the key did not live), which is what
makes compaction cheap: the rows to drop are named by the rows that replaced them. All functions run on the
thread that owns the connection.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparsam.store.index import AFTER_ALL
from sparsam.store.interface import Entry, Event, EventType, Page, StoreUnavailable

FORMAT = 1
"""Version of the layout, in SQLite's user_version."""

BUSY_SECONDS = 5.0
COMPACTION_STEP = 2000
"""Revisions per transaction of a compaction, so that writes wait for milliseconds only."""
VACUUM_STEP = 1024
"""Pages per step of a vacuum, for the same reason."""
SPARE_PAGES = 1024
"""Free pages left in the file for the next writes (4 MiB) when the rest goes back to the file system."""

# The value comes last: rows are searched by the small columns, and SQLite keeps long rows' ends elsewhere.
LAYOUT = f"""
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX log_by_key ON log (key, revision);
CREATE TABLE compaction (oldest INTEGER NOT NULL);
INSERT INTO compaction VALUES (1);
PRAGMA user_version = {FORMAT};
"""


def connect(path: Path, *, max_bytes: int) -> sqlite3.Connection:
    """Open for writing, made when missing; raises StoreUnavailable."""
    is_new = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    try:
        # Only an empty file takes this one.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        _lay_out(connection, path)
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}").fetchall()
    except sqlite3.Error as error:
        connection.close()
        raise StoreUnavailable(f"cannot open {path}: {error}") from error
    except BaseException:
        connection.close()
        raise
    if is_new:
        _sync_directory(path.parent)
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open beside the writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, FORMAT):
        raise StoreUnavailable(f"{path} has format {found}, this version reads {FORMAT}")
    if not found:
        connection.executescript(f"BEGIN;{LAYOUT}COMMIT;")


def _sync_directory(directory: Path) -> None:
    """Make the new file's name survive a power loss, too."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_revisions(connection: sqlite3.Connection) -> tuple[int, int]:
    """The newest revision and the oldest that can be read."""
    newest = connection.execute("SELECT max(revision) FROM log").fetchone()[0] or 0
    oldest = connection.execute("SELECT oldest FROM compaction").fetchone()[0]
    # The newest row may have been a deletion that compaction took away; its revision is used up all the same.
    return max(newest, oldest), oldest


def read_live(connection: sqlite3.Connection) -> list[Entry]:
    """Every live entry."""
    rows = connection.execute(
        "SELECT key, value, revision, created FROM log"
        " WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) AND NOT deleted"
    )
    return [Entry(*row) for row in rows]


def insert(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Append events as one durable transaction.

    One statement for all rows, in autocommit: each step of a statement gives up and takes back the interpreter
    lock, which on a busy event loop costs more than the rows.
    """
    parameters: list[Any] = []
    for event in events:
        entry = event.entry
        deleted = event.type is EventType.DELETED
        previous = event.previous.revision if event.previous else 0
        value = b"" if deleted else entry.value
        parameters += (entry.revision, entry.key, entry.created_revision, previous, deleted, value)
    try:
        connection.execute(_insert_statement(len(events)), parameters)
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


@lru_cache(maxsize=512)
def _insert_statement(rows: int) -> str:
    return "INSERT INTO log VALUES " + ",".join(["(?,?,?,?,?,?)"] * rows)


def read_entry(connection: sqlite3.Connection, key: str, revision: int) -> Entry | None:
    """The entry of a key as of a revision."""
    row = connection.execute(
        "SELECT key, value, revision, created, deleted FROM log WHERE key = ? AND revision <= ?"
        " ORDER BY revision DESC LIMIT 1",
        (key, revision),
    ).fetchone()
    return None if row is None or row[4] else Entry(*row[:4])


def read_page(connection: sqlite3.Connection, prefix: str, revision: int, *, limit: int, start_key: str) -> Page:
    """Entries of a prefix as of a revision."""
    latest = "SELECT max(revision) FROM log WHERE key >= ? AND key < ? AND revision <= ? GROUP BY key"
    living = f"FROM log WHERE revision IN ({latest}) AND NOT deleted"
    bounds = (start_key, prefix + AFTER_ALL, revision)
    rows = connection.execute(
        f"SELECT key, value, revision, created {living} ORDER BY key LIMIT ?", (*bounds, limit + 1 if limit else -1)
    ).fetchall()
    if not limit or len(rows) <= limit:
        return Page([Entry(*row) for row in rows], revision)
    total = connection.execute(f"SELECT count(*) {living}", bounds).fetchone()[0]
    return Page([Entry(*row) for row in rows[:limit]], revision, next_key=rows[limit][0], remaining=total - limit)


def read_events(connection: sqlite3.Connection, prefix: str, *, since: int, until: int, limit: int) -> list[Event]:
    """Events in (since, until], at most `limit`, oldest first."""
    rows = connection.execute(
        "SELECT new.key, new.value, new.revision, new.created, new.deleted, old.value, old.revision"
        " FROM log AS new LEFT JOIN log AS old ON old.revision = new.previous"
        " WHERE new.revision > ? AND new.revision <= ? AND new.key >= ? AND new.key < ?"
        " ORDER BY new.revision LIMIT ?",
        (since, until, prefix, prefix + AFTER_ALL, limit),
    )
    return [_event(row) for row in rows]


def _event(row: tuple[Any, ...]) -> Event:
    key, value, revision, created, deleted, old_value, old_revision = row
    if old_revision is None:
        return Event(EventType.ADDED, Entry(key, value, revision, created))
    previous = Entry(key, old_value, old_revision, created)
    if deleted:
        return Event(EventType.DELETED, Entry(key, old_value, revision, created), previous)
    return Event(EventType.MODIFIED, Entry(key, value, revision, created), previous)


def compact_step(connection: sqlite3.Connection, target: int) -> bool:
    """Drop some of what only revisions before `target` can see; False when nothing is left to drop.

    Each step is a transaction that also moves the mark, so a crash in between loses no more than the step.
    """
    oldest = connection.execute("SELECT oldest FROM compaction").fetchone()[0]
    if oldest >= target:
        return False
    upto = min(target, oldest + COMPACTION_STEP)
    span = (oldest, upto)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ? AND revision <= ?)", span
        )
        connection.execute("DELETE FROM log WHERE revision > ? AND revision <= ? AND deleted", span)
        connection.execute("UPDATE compaction SET oldest = ?", (upto,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    return True


def give_back_step(connection: sqlite3.Connection) -> bool:
    """Return some free pages to the file system; False when only those are left that the next writes take."""
    free = _free_pages(connection)
    spare = free - SPARE_PAGES
    if spare <= 0:
        return False
    # As a script: the pragma does a page at each step, and execute() steps a statement without columns once.
    connection.executescript(f"PRAGMA incremental_vacuum({min(spare, VACUUM_STEP)})")
    # A file that was not made for it would give nothing back, for ever.
    return _free_pages(connection) < free


def _free_pages(connection: sqlite3.Connection) -> int:
    pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
