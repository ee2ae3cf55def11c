"""Forgets Events an hour after they were made or last seen."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sparsam.clock import parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import EVENTS

TTL_SECONDS = 3600.0
"""Upstream's --event-ttl."""


def last_seen(event: Obj, now: datetime) -> datetime:
    """When an event was made or, if it tells so, seen later; times that no clock could have told are passed over."""
    series = event.get("series") or {}
    told = filter(None, (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")))
    credible = [moment for moment in map(parse_time, told) if moment <= now + timedelta(seconds=TTL_SECONDS)]
    return max([parse_time(event["metadata"]["creationTimestamp"]), *credible])


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
        now = self._clock.now()
        left_seconds = self._ttl_seconds - (now - last_seen(event, now)).total_seconds()
        if left_seconds > 0:
            self.controller.queue.add_after(key, left_seconds)
            return
        try:
            await self._client.delete(EVENTS, name, namespace)
        except NotFound:
            return
        # Thousands may expire together; requests of users come first.
        await asyncio.sleep(0)
