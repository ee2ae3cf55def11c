"""Watches: from a resource version on, every change of a collection as one JSON line each, without gaps.

The store fans out the very same bytes to all watchers; a line is made by splicing, never by encoding again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from sparsam.apiserver import listing, statuses
from sparsam.apiserver.listing import ListOptions, integer, parse_version
from sparsam.apiserver.selection import Selection
from sparsam.errors import Cause, StatusError
from sparsam.objects.kinds import Resource
from sparsam.store.interface import Compacted, Entry, Event, EventBatch, EventType, SlowWatcher, Store

MIN_TIMEOUT_SECONDS = 1800
INITIAL_BATCH = 200

Render = Callable[[Entry], bytes]
"""The object of an event as this client wants it."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Parameters of a watch."""

    version: int | None
    """Where to start after; None for the newest state first."""
    initial_events: bool
    """Whether the present objects come first, as ADDED events."""
    end_mark: bool
    """Whether a bookmark tells the end of the initial events."""
    bookmarks: bool
    timeout_seconds: float


def parse_options(query: Mapping[str, str]) -> WatchOptions:
    """Raises BadRequest and Invalid as upstream does."""
    send = query.get("sendInitialEvents")
    causes = _match_causes(query, wants_initial=send is not None)
    if causes:
        raise statuses.invalid_options("ListOptions", causes)
    text = query.get("resourceVersion", "")
    version = parse_version(text) if text else 0
    wants_initial = send is not None and send.lower() not in ("false", "0")
    timeout = integer(query, "timeoutSeconds")
    return WatchOptions(
        version=version or None,
        initial_events=wants_initial or (version == 0 and send is None),
        end_mark=wants_initial,
        bookmarks=query.get("allowWatchBookmarks", "false").lower() not in ("false", "0"),
        # Spread, so that watches that began together do not all come back together.
        timeout_seconds=timeout or MIN_TIMEOUT_SECONDS * (1 + random.random()),
    )


def _match_causes(query: Mapping[str, str], *, wants_initial: bool) -> list[Cause]:
    match, field, causes = query.get("resourceVersionMatch", ""), "resourceVersionMatch", []
    if wants_initial and match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(listing.forbidden(field, detail))
    if match and not wants_initial:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(listing.forbidden(field, detail))
    if match and match != "NotOlderThan":
        message = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        causes.append(Cause("FieldValueNotSupported", message, field))
    if match and query.get("continue"):
        detail = "resourceVersionMatch is forbidden when continue is provided"
        causes.append(listing.forbidden(field, detail))
    return causes


@dataclass(frozen=True, slots=True)
class Watch:
    """One client's view of the changes under a prefix."""

    store: Store
    resource: Resource
    prefix: str
    options: WatchOptions
    selection: Selection
    render: Render

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Event lines in batches; an ERROR event is the last word when the watch cannot go on."""
        try:
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (Compacted, SlowWatcher):
            version = self.options.version or 0
            yield error_line(statuses.expired(f"too old resource version: {version} ({self.store.revision})"))
        except StatusError as error:
            yield error_line(error)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        since = self.options.version or self.store.revision
        if since > self.store.revision:
            raise statuses.too_large_version(since, self.store.revision)
        if self.options.initial_events:
            listed = await listing.read(self.store, self.prefix, ListOptions(), self.selection)
            since = listed.revision
            for start in range(0, len(listed.entries), INITIAL_BATCH):
                entries = listed.entries[start : start + INITIAL_BATCH]
                yield b"".join([_line(b"ADDED", self.render(entry)) for entry in entries])
            if self.options.end_mark:
                yield bookmark_line(self.resource, since, initial_events_end=True)
        async with (
            self.store.watch(self.prefix, since=since) as batches,
            aclosing(self._live(batches, since)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def _live(self, batches: AsyncIterator[EventBatch], since: int) -> AsyncGenerator[bytes, None]:
        marked = since
        async for batch in batches:
            lines = [line for event in batch if (line := event_line(event, self.selection, self.render))]
            if lines:
                marked = batch[-1].entry.revision
                yield b"".join(lines)
            elif not batch and self.options.bookmarks and self.store.revision > marked:
                marked = self.store.revision
                yield bookmark_line(self.resource, marked)


def event_line(event: Event, selection: Selection, render: Render) -> bytes:
    """An event as the selector sees it: an object that stops matching is DELETED, one that starts is ADDED."""
    entry, kind = event.entry, event.type
    if selection.is_all:
        return _line(kind.value.encode(), render(entry))
    matches = kind is not EventType.DELETED and selection.matches(entry)
    before = entry if kind is EventType.DELETED and event.previous is None else event.previous
    matched = before is not None and selection.matches(before)
    if matches:
        return _line(b"MODIFIED" if matched else b"ADDED", render(entry))
    if matched and before is not None:
        # The last state that matched, at the revision of the change, as upstream's cacher sends it.
        last = Entry(before.key, before.value, entry.revision, before.created_revision)
        return _line(b"DELETED", render(last))
    return b""


def _line(kind: bytes, obj: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind, obj)


def bookmark_line(resource: Resource, revision: int, *, initial_events_end: bool = False) -> bytes:
    """Tells the client that it has seen everything up to a revision."""
    mark = ',"annotations":{"k8s.io/initial-events-end":"true"}' if initial_events_end else ""
    return (
        f'{{"type":"BOOKMARK","object":{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'
        f'"metadata":{{"resourceVersion":"{revision}","creationTimestamp":null{mark}}}}}}}\n'
    ).encode()


def error_line(error: StatusError) -> bytes:
    """A failure in the middle of a watch."""
    return _line(b"ERROR", msgspec.json.encode(error.as_json()))
