"""Records Events about objects: the same text again raises a count instead of making another object."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.clock import Clock, SystemClock, format_time
from sparsam.errors import NotFound, StatusError
from sparsam.objects.kinds import EVENTS

log = logging.getLogger(__name__)

Obj = dict[str, Any]

BACKLOG = 1000
QUIET = 50
REMEMBERED = 4096
MESSAGE_BYTES = 1024


class EventRecorder:
    """Queue events with `event`; `run` sends them. When the queue is full the newest are dropped and counted."""

    def __init__(self, client: ApiClient, component: str, *, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._source = {"component": component, **({"host": host} if host else {})}
        self._clock = clock or SystemClock()
        self._queue: asyncio.Queue[Obj] = asyncio.Queue(BACKLOG)
        self._known: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()
        self._dropped = 0

    def event(self, obj: Mapping[str, Any], kind: str, reason: str, message: str, *, when_quiet: bool = False) -> None:
        """Record an event of type Normal or Warning about an object (or an object reference).

        One that is wanted only `when_quiet` is left out while many wait.
        """
        if when_quiet and self._queue.qsize() > QUIET:
            return
        reference = reference_to(obj)
        now = self._clock.now()
        namespace = reference.get("namespace", "") or "default"
        name = f"{reference['name']}.{int(now.timestamp() * 1e9) & (1 << 64) - 1:x}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "reason": reason,
            "message": message[:MESSAGE_BYTES],
            "source": self._source,
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
            "type": kind,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            # A word for each would make a busy moment busier.
            self._dropped += 1

    async def run(self) -> None:
        """Send what is queued until cancelled."""
        while True:
            event = await self._queue.get()
            if self._dropped and self._queue.empty():
                log.warning("events dropped, too many waited count=%d", self._dropped)
                self._dropped = 0
            try:
                await self._send(event)
            except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("event not recorded reason=%s error=%s", event["reason"], error or type(error).__name__)

    async def _send(self, event: Obj) -> None:
        key = _identity(event)
        known = self._known.pop(key, None)
        if known is not None:
            name, count = known
            patch = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, name, patch, namespace=event["metadata"]["namespace"])
                self._known[key] = (name, count + 1)
                return
            except NotFound:
                pass  # it expired: start over
        await self._client.create(EVENTS, event)
        self._known[key] = (event["metadata"]["name"], 1)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def reference_to(obj: Mapping[str, Any]) -> dict[str, str]:
    """An ObjectReference; given one already, it is returned as it is."""
    metadata = obj.get("metadata")
    if metadata is None:
        return dict(obj)
    reference = {"kind": obj.get("kind", ""), "apiVersion": obj.get("apiVersion", "")}
    for name in ("namespace", "name", "uid", "resourceVersion"):
        reference[name] = metadata.get(name, "")
    return {name: value for name, value in reference.items() if value}


def _identity(event: Obj) -> tuple[str, ...]:
    about = event["involvedObject"]
    parts = [about.get(name, "") for name in ("kind", "namespace", "name", "uid", "fieldPath")]
    return (*parts, event["type"], event["reason"], event["message"])
