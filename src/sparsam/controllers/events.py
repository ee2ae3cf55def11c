"""Forgets Events an hour after they were last seen."""

from __future__ import annotations

import asyncio

from sparsam.clock import parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import EVENTS

TTL_SECONDS = 3600.0
"""Upstream's --event-ttl."""


class EventExpiry:
    """Keyed by event; each key comes back when its time is over."""

    def __init__(self, context: Context, *, ttl_seconds: float = TTL_SECONDS) -> None:
        self._client, self._clock, self._ttl_seconds = context.client, context.clock, ttl_seconds
        self._events = context.informer(EVENTS)
        self.controller = Controller("event-expiry", context, self.sync, workers=1)
        self.controller.watch(self._events, own_key)

    async def sync(self, key: Key) -> None:
        """Delete an event whose time is over, else look again then."""
        namespace, name = key
        event = self._events.get(namespace, name)
        if event is None:
            return
        left_seconds = self._ttl_seconds - self._age_seconds(event)
        if left_seconds > 0:
            self.controller.queue.add_after(key, left_seconds)
            return
        try:
            await self._client.delete(EVENTS, name, namespace)
        except NotFound:
            return
        # Thousands may expire together; requests of users come first.
        await asyncio.sleep(0)

    def _age_seconds(self, event: Obj) -> float:
        series = event.get("series") or {}
        moments = (
            series.get("lastObservedTime"),
            event.get("lastTimestamp"),
            event.get("eventTime"),
            event["metadata"].get("creationTimestamp"),
        )
        last = next(moment for moment in moments if moment)
        return (self._clock.now() - parse_time(last)).total_seconds()
